//! Path parameters.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::Problem;

/// Path parameters: [`axum::extract::Path`] whose rejection is a [`Problem`](struct@Problem).
///
/// A parameter that does not fit the type is a plain 404: no such resource can exist. A type that
/// does not fit the route is a 500, and the reason goes to the log. `Option<Path<T>>` is `None` on
/// a route without parameters.
#[derive(Debug)]
pub struct Path<T>(pub T);

super::deref!(Path);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Path(value) =
            <axum::extract::Path<T> as FromRequestParts<S>>::from_request_parts(parts, state)
                .await?;
        Ok(Self(value))
    }
}

impl<T, S> OptionalFromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send + 'static,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Problem> {
        let found = <axum::extract::Path<T> as OptionalFromRequestParts<S>>::from_request_parts(
            parts, state,
        )
        .await?;
        Ok(found.map(|axum::extract::Path(value)| Self(value)))
    }
}
