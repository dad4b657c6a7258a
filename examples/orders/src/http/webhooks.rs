use axum::{
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
};
use purlin_problem::{
    JsonPointer, Problem, Violation, Violations,
    extract::{Json, Path},
};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{Customer, Delivery, DeliveryId, Endpoint, EndpointId, EndpointUrl, Progress, Secret},
    http::{
        App,
        list::{List, MAX_ITEMS},
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateEndpoint {
    url: String,
    secret: Option<String>,
}

/// The one answer that shows the secret.
#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    endpoint: Endpoint,
    secret: String,
}

#[derive(Serialize)]
struct Rotated {
    secret: String,
}

pub(super) async fn create(
    State(app): State<App>,
    customer: Customer,
    Json(new): Json<CreateEndpoint>,
) -> Result<impl IntoResponse, Problem> {
    let (url, secret) = new.check()?;
    let (endpoint, secret) = app.webhooks.add(&customer, &url, secret).await?;
    let location = format!("/v1/webhook-endpoints/{}", endpoint.id);
    let created = Created {
        endpoint,
        secret: secret.reveal().to_owned(),
    };
    Ok((
        StatusCode::CREATED,
        [(LOCATION, location)],
        axum::Json(created),
    ))
}

pub(super) async fn list(
    State(app): State<App>,
    customer: Customer,
) -> Result<axum::Json<List<Endpoint>>, Problem> {
    Ok(axum::Json(app.webhooks.endpoints(&customer).await?.into()))
}

pub(super) async fn rotate(
    State(app): State<App>,
    customer: Customer,
    Path(id): Path<EndpointId>,
) -> Result<impl IntoResponse, Problem> {
    let secret = app.webhooks.rotate(&customer, id).await?;
    Ok(axum::Json(Rotated {
        secret: secret.reveal().to_owned(),
    }))
}

pub(super) async fn deliveries(
    State(app): State<App>,
    customer: Customer,
) -> Result<axum::Json<List<Delivery>>, Problem> {
    let deliveries = app.webhooks.deliveries(&customer, MAX_ITEMS).await?;
    Ok(axum::Json(deliveries.into()))
}

pub(super) async fn show(
    State(app): State<App>,
    customer: Customer,
    Path(id): Path<DeliveryId>,
) -> Result<axum::Json<Progress>, Problem> {
    Ok(axum::Json(app.webhooks.progress(&customer, id).await?))
}

pub(super) async fn replay(
    State(app): State<App>,
    customer: Customer,
    Path(id): Path<DeliveryId>,
) -> Result<impl IntoResponse, Problem> {
    let progress = app.webhooks.replay(&customer, id).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(progress)))
}

impl CreateEndpoint {
    /// What was meant, or everything that is wrong with it.
    fn check(self) -> Result<(EndpointUrl, Option<Secret>), Problem> {
        let mut violations = Violations::new();
        let mut refuse = |member: &str, detail: &'static str| {
            let at = JsonPointer::root().key(member);
            violations.push(Violation::new(detail).with_code("format").at_pointer(at));
        };
        let url = EndpointUrl::parse(&self.url);
        if let Err(detail) = url {
            refuse("url", detail);
        }
        let secret = self.secret.as_deref().map(Secret::parse);
        if let Some(None) = secret {
            refuse("secret", "must be whsec_ and 24 to 64 bytes in base64");
        }
        violations.into_result()?;
        let url = url.expect("it was refused otherwise");
        Ok((url, secret.flatten()))
    }
}
