use axum::{extract::State, http::StatusCode, response::IntoResponse};
use purlin_idempotency::Execution;
use purlin_problem::{
    Problem,
    extract::{Json, Path},
};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    domain::{Customer, OrderId},
    http::App,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreatePayment {
    amount_cents: i64,
}

pub(super) async fn create(
    State(app): State<App>,
    customer: Customer,
    Path(id): Path<OrderId>,
    execution: Option<Execution>,
    Json(new): Json<CreatePayment>,
) -> Result<impl IntoResponse, Problem> {
    // The same in every attempt of a request with a key: the provider charges once. With the order,
    // since a client may use its key again for another one when this one is forgotten.
    let key = match execution {
        Some(execution) => execution.child_key(&format!("charge {id}")),
        None => Uuid::now_v7().to_string(),
    };
    let payment = app
        .payments
        .pay(&customer, id, new.amount_cents, &key)
        .await?;
    Ok((StatusCode::CREATED, axum::Json(payment)))
}
