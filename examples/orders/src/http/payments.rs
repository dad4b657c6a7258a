use axum::{
    extract::{FromRequestParts, State},
    http::StatusCode,
    response::IntoResponse,
};
use http::{HeaderName, request::Parts};
use purlin_problem::{
    Problem, Violation, Violations,
    extract::{Json, Path},
};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    domain::{Customer, OrderId},
    http::{App, customer::INVALID_HEADER},
};

pub(super) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_KEY_BYTES: usize = 128;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreatePayment {
    amount_cents: i64,
}

/// What the client names its request by, or something that no other request has.
#[derive(Debug)]
pub(super) struct Key(String);

pub(super) async fn create(
    State(app): State<App>,
    customer: Customer,
    Path(id): Path<OrderId>,
    Key(key): Key,
    Json(new): Json<CreatePayment>,
) -> Result<impl IntoResponse, Problem> {
    // With the id of the order, since two customers may well choose the same key.
    let key = format!("{id}-{key}");
    let payment = app
        .payments
        .pay(&customer, id, new.amount_cents, &key)
        .await?;
    Ok((StatusCode::CREATED, axum::Json(payment)))
}

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(KEY_HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(Self(Uuid::now_v7().to_string()));
        };
        let key = value.to_str().ok();
        let key = key.filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
        match (key, values.next()) {
            (Some(key), None) => Ok(Self(key.to_owned())),
            _ => {
                let violation =
                    Violation::new("must have 1 to 128 ASCII characters and stand once")
                        .with_code("format")
                        .at_header(KEY_HEADER);
                Err(Problem::new(&INVALID_HEADER).with_violations(Violations::from(violation)))
            }
        }
    }
}
