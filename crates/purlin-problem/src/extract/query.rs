//! Query strings.

use axum::extract::FromRequestParts;
use http::{Uri, request::Parts};
use serde::de::DeserializeOwned;

use crate::Problem;

/// The query string: [`axum::extract::Query`] whose rejection is a [`Problem`](struct@Problem).
///
/// A query that does not fit the type is a 400 of the type
/// [`PARAMETERS`](crate::violation::PARAMETERS).
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<T>(pub T);

super::deref!(Query);

impl<T: DeserializeOwned> Query<T> {
    /// Reads the query of a URI.
    ///
    /// # Errors
    ///
    /// 400 when it does not fit the type.
    pub fn try_from_uri(uri: &Uri) -> Result<Self, Problem> {
        let axum::extract::Query(value) = axum::extract::Query::try_from_uri(uri)?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::try_from_uri(&parts.uri)
    }
}
