use purlin_store::{StoreError, StoreErrorKind};
use uuid::Uuid;

use crate::{
    database::{Connection, on_both},
    domain::{OrderId, Payment, PaymentId, PaymentStatus, Timestamp},
};

type Row = (
    Uuid,
    Uuid,
    i64,
    String,
    Option<String>,
    String,
    Option<String>,
    Timestamp,
);

const START: &str = "
    insert into payments (id, order_id, amount_cents, status, charge_key, created_at)
    values ($1, $2, $3, 'started', $4, $5)
    on conflict do nothing
    returning id";

const GET: &str = "
    select id, order_id, amount_cents, status, provider_ref, charge_key, settled_by, created_at
    from payments where id = $1";

const OF_ORDER: &str = "
    select id, order_id, amount_cents, status, provider_ref, charge_key, settled_by, created_at
    from payments where order_id = $1";

const SETTLE: &str = "
    update payments set status = $2, provider_ref = $3, settled_by = $4
    where id = $1 and status = 'started'
    returning id";

/// Whether it was written: of several payments of one order, one at a time is `started` or
/// `captured`.
pub(crate) async fn start(c: Connection<'_>, payment: &Payment) -> Result<bool, StoreError> {
    let started: Option<Uuid> = on_both!(c, c => sqlx::query_scalar(START)
        .bind(payment.id.0)
        .bind(payment.order_id.0)
        .bind(payment.amount_cents)
        .bind(&payment.charge_key)
        .bind(payment.created_at)
        .fetch_optional(c).await)?;
    Ok(started.is_some())
}

pub(crate) async fn get(c: Connection<'_>, id: PaymentId) -> Result<Option<Payment>, StoreError> {
    let row: Option<Row> =
        on_both!(c, c => sqlx::query_as(GET).bind(id.0).fetch_optional(c).await)?;
    row.map(payment).transpose()
}

/// All of one order, which are few.
pub(crate) async fn of_order(c: Connection<'_>, id: OrderId) -> Result<Vec<Payment>, StoreError> {
    let rows: Vec<Row> = on_both!(c, c => sqlx::query_as(OF_ORDER).bind(id.0).fetch_all(c).await)?;
    rows.into_iter().map(payment).collect()
}

/// Whether it was still `started`, and so now is in `status`. Of several who try at once, one
/// succeeds.
pub(crate) async fn settle(
    c: Connection<'_>,
    id: PaymentId,
    status: PaymentStatus,
    provider_ref: Option<&str>,
    settled_by: &str,
) -> Result<bool, StoreError> {
    let settled: Option<Uuid> = on_both!(c, c => sqlx::query_scalar(SETTLE)
        .bind(id.0)
        .bind(status.as_str())
        .bind(provider_ref)
        .bind(settled_by)
        .fetch_optional(c).await)?;
    Ok(settled.is_some())
}

fn payment(row: Row) -> Result<Payment, StoreError> {
    let (id, order_id, amount_cents, status, provider_ref, charge_key, settled_by, created_at) =
        row;
    Ok(Payment {
        id: PaymentId(id),
        order_id: OrderId(order_id),
        amount_cents,
        status: PaymentStatus::parse(&status)
            .ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt, "payments", "read status"))?,
        provider_ref,
        charge_key,
        settled_by,
        created_at,
    })
}
