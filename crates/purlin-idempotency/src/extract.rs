//! Extractors for axum.

use std::convert::Infallible;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use purlin_problem::Problem;

use crate::{Execution, key::IDEMPOTENCY_KEY, rejection::problems};

/// Without a key: 400 `idempotency-key-missing`. Where a key may be left out, take an `Option`.
impl<S: Sync> FromRequestParts<S> for Execution {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.extensions)
            .cloned()
            .ok_or_else(|| missing(parts))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Execution {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::of(&parts.extensions).cloned())
    }
}

/// Without a key: 400 `idempotency-key-missing`. Where a key may be left out, take an `Option`.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl<S: Sync, DB: sqlx::Database> FromRequestParts<S> for crate::RequestTransaction<DB> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::take(&parts.extensions).ok_or_else(|| missing(parts))
    }
}

/// `None` for a request without a key. When the layer is not transactional, or the transaction
/// is taken already, 500: a handler that went on without would write outside of it.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl<S: Sync, DB: sqlx::Database> OptionalFromRequestParts<S> for crate::RequestTransaction<DB> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        match Self::take(&parts.extensions) {
            None if Execution::of(&parts.extensions).is_some() => Err(missing(parts)),
            transaction => Ok(transaction),
        }
    }
}

fn missing(parts: &Parts) -> Problem {
    if parts.headers.contains_key(&IDEMPOTENCY_KEY) {
        let hint = "the route has no idempotency layer of the kind that its handler needs, or takes \
                    the transaction twice";
        return Problem::internal(hint);
    }
    Problem::new(&problems::KEY_MISSING)
}
