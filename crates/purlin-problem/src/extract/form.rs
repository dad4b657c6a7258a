//! URL-encoded forms.

use axum::{
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::Problem;

/// A URL-encoded form, from the body or, for GET and HEAD, from the query: [`axum::Form`] whose
/// rejection is a [`Problem`](struct@Problem).
///
/// As a response, a value that cannot be serialised is a 500 problem.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Form<T>(pub T);

super::deref!(Form);

impl<T> From<T> for Form<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let axum::Form(value) = axum::Form::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl<T: Serialize> IntoResponse for Form<T> {
    fn into_response(self) -> Response {
        let response = axum::Form(self.0).into_response();
        if response.status().is_server_error() {
            // axum's own answer is the text of the error.
            return Problem::internal("a value could not be written as a form").into_response();
        }
        response
    }
}
