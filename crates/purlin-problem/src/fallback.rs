//! Handlers for requests that no route takes.
//!
//! ```
//! use axum::{Router, routing::get};
//! use purlin_problem::fallback;
//!
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .fallback(fallback::not_found)
//!     .method_not_allowed_fallback(fallback::method_not_allowed);
//! ```
//!
//! A [`ProblemLayer`](crate::ProblemLayer) fills axum's own empty 404 and 405 answers with the
//! same documents; the handlers are for routers without one.

use axum::response::{IntoResponse, Response};

use crate::{Problem, blank};

/// 404, for [`Router::fallback`](axum::Router::fallback).
pub async fn not_found() -> Problem {
    Problem::new(&blank::NOT_FOUND)
}

/// 405, for [`Router::method_not_allowed_fallback`](axum::Router::method_not_allowed_fallback) and
/// nothing else: axum adds the `Allow` field that RFC 9110 §15.5.6 demands, and only there.
/// Elsewhere use [`Problem::method_not_allowed`].
pub async fn method_not_allowed() -> Response {
    Problem::with_header_to_come(&blank::METHOD_NOT_ALLOWED).into_response()
}
