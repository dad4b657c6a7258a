use purlin_store::{StoreError, StoreErrorKind};
use uuid::Uuid;

use crate::{
    database::{Connection, on_both},
    domain::{
        Customer, Delivery, DeliveryId, Endpoint, EndpointId, EndpointUrl, Message, Secret,
        Timestamp,
    },
};

/// Unless the customer has `$6` already. Two at once may make it one more.
const INSERT_ENDPOINT: &str = "
    insert into webhook_endpoints (id, customer, url, secret, created_at)
    select $1, $2, $3, $4, $5
    where (select count(*) from webhook_endpoints where customer = $2) < $6
    returning id";

const ENDPOINTS: &str = "
    select id, url, created_at from webhook_endpoints where customer = $1 order by id";

const ROTATE: &str = "
    update webhook_endpoints
    set previous_secret = secret, previous_until = $4, secret = $3
    where id = $1 and customer = $2
    returning id";

const ENDPOINT_IDS: &str = "select id from webhook_endpoints where customer = $1 order by id";

const INSERT_DELIVERY: &str = "
    insert into webhook_deliveries (id, endpoint_id, payload, created_at)
    values ($1, $2, $3, $4)";

const DELIVERIES: &str = "
    select d.id, d.endpoint_id, d.created_at, d.delivered_at
    from webhook_endpoints e join webhook_deliveries d on d.endpoint_id = e.id
    where e.customer = $1
    order by d.created_at desc, d.id desc limit $2";

const DELIVERY: &str = "
    select d.id, d.endpoint_id, d.created_at, d.delivered_at
    from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id
    where d.id = $1 and e.customer = $2";

const MESSAGE: &str = "
    select e.url, d.payload, e.secret,
        case when e.previous_until > $2 then e.previous_secret end, d.delivered_at
    from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id
    where d.id = $1";

const DELIVERED: &str = "update webhook_deliveries set delivered_at = $2 where id = $1";

type DeliveryRow = (Uuid, Uuid, Timestamp, Option<Timestamp>);
type MessageRow = (String, String, String, Option<String>, Option<Timestamp>);

/// Whether it was written: not when the customer has `at_most` already.
pub(crate) async fn insert_endpoint(
    c: Connection<'_>,
    customer: &Customer,
    endpoint: &Endpoint,
    secret: &Secret,
    at_most: i64,
) -> Result<bool, StoreError> {
    let inserted: Option<Uuid> = on_both!(c, c => sqlx::query_scalar(INSERT_ENDPOINT)
        .bind(endpoint.id.0)
        .bind(customer.as_str())
        .bind(endpoint.url.uri().to_string())
        .bind(secret.reveal())
        .bind(endpoint.created_at)
        .bind(at_most)
        .fetch_optional(c).await)?;
    Ok(inserted.is_some())
}

pub(crate) async fn endpoints(
    c: Connection<'_>,
    customer: &Customer,
) -> Result<Vec<Endpoint>, StoreError> {
    let rows: Vec<(Uuid, String, Timestamp)> = on_both!(c, c => sqlx::query_as(ENDPOINTS)
        .bind(customer.as_str())
        .fetch_all(c).await)?;
    let endpoint = |(id, text, created_at): (Uuid, String, Timestamp)| {
        Ok(Endpoint {
            id: EndpointId(id),
            url: url(&text)?,
            created_at,
        })
    };
    rows.into_iter().map(endpoint).collect()
}

/// Whether there is such an endpoint. The secret that it had signs too until then.
pub(crate) async fn rotate(
    c: Connection<'_>,
    customer: &Customer,
    id: EndpointId,
    secret: &Secret,
    previous_until: Timestamp,
) -> Result<bool, StoreError> {
    let rotated: Option<Uuid> = on_both!(c, c => sqlx::query_scalar(ROTATE)
        .bind(id.0)
        .bind(customer.as_str())
        .bind(secret.reveal())
        .bind(previous_until)
        .fetch_optional(c).await)?;
    Ok(rotated.is_some())
}

/// One delivery of this payload for each endpoint of the customer, and which they are.
pub(crate) async fn insert_deliveries(
    mut c: Connection<'_>,
    customer: &Customer,
    payload: &str,
    at: Timestamp,
) -> Result<Vec<DeliveryId>, StoreError> {
    let endpoints: Vec<Uuid> = on_both!(c.reborrow(), c => sqlx::query_scalar(ENDPOINT_IDS)
        .bind(customer.as_str())
        .fetch_all(c).await)?;
    let mut deliveries = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let id = DeliveryId::new();
        on_both!(c.reborrow(), c => sqlx::query(INSERT_DELIVERY)
            .bind(id.0)
            .bind(endpoint)
            .bind(payload)
            .bind(at)
            .execute(c).await.map(drop))?;
        deliveries.push(id);
    }
    Ok(deliveries)
}

/// The newest `limit` of the customer.
pub(crate) async fn deliveries(
    c: Connection<'_>,
    customer: &Customer,
    limit: i64,
) -> Result<Vec<Delivery>, StoreError> {
    let rows: Vec<DeliveryRow> = on_both!(c, c => sqlx::query_as(DELIVERIES)
        .bind(customer.as_str())
        .bind(limit)
        .fetch_all(c).await)?;
    Ok(rows.into_iter().map(delivery).collect())
}

pub(crate) async fn get_delivery(
    c: Connection<'_>,
    customer: &Customer,
    id: DeliveryId,
) -> Result<Option<Delivery>, StoreError> {
    let row: Option<DeliveryRow> = on_both!(c, c => sqlx::query_as(DELIVERY)
        .bind(id.0)
        .bind(customer.as_str())
        .fetch_optional(c).await)?;
    Ok(row.map(delivery))
}

/// What is to be sent, with the secrets that hold at that time.
pub(crate) async fn message(
    c: Connection<'_>,
    id: DeliveryId,
    at: Timestamp,
) -> Result<Option<Message>, StoreError> {
    let row: Option<MessageRow> = on_both!(c, c => sqlx::query_as(MESSAGE)
        .bind(id.0)
        .bind(at)
        .fetch_optional(c).await)?;
    let message = |(text, payload, secret, previous, delivered_at): MessageRow| {
        let secrets = [Some(secret), previous].into_iter().flatten();
        let secrets: Option<_> = secrets.map(|secret| Secret::parse(&secret)).collect();
        Ok(Message {
            id,
            url: url(&text)?,
            payload,
            secrets: secrets.ok_or_else(|| corrupt("read secret"))?,
            is_delivered: delivered_at.is_some(),
        })
    };
    row.map(message).transpose()
}

pub(crate) async fn set_delivered(
    c: Connection<'_>,
    id: DeliveryId,
    at: Timestamp,
) -> Result<(), StoreError> {
    on_both!(c, c => sqlx::query(DELIVERED).bind(id.0).bind(at).execute(c).await.map(drop))?;
    Ok(())
}

fn delivery((id, endpoint_id, created_at, delivered_at): DeliveryRow) -> Delivery {
    Delivery {
        id: DeliveryId(id),
        endpoint_id: EndpointId(endpoint_id),
        created_at,
        delivered_at,
    }
}

fn url(text: &str) -> Result<EndpointUrl, StoreError> {
    EndpointUrl::parse(text).map_err(|_| corrupt("read url"))
}

fn corrupt(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "webhooks", operation)
}
