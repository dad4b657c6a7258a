//! JSON bodies.

use axum::{
    extract::{
        FromRequest, OptionalFromRequest, Request,
        rejection::{JsonRejection, JsonSyntaxError},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, header};
use serde::{Serialize, de::DeserializeOwned, de::IgnoredAny};

use crate::{
    Problem,
    rejection::{is_too_deep, json_data, json_error, json_syntax, not_json},
    violation::frame::Frame,
};

/// A JSON body, or a JSON response: [`axum::Json`] whose rejection is a [`Problem`](struct@Problem).
///
/// As there, the content type must be `application/json` or `application/…+json`, an
/// `Option<Json<T>>` is `None` when the request has no `Content-Type` at all, and the body is
/// limited by [`DefaultBodyLimit`](axum::extract::DefaultBodyLimit). The refusals are listed in
/// the [module](super).
///
/// As a response, a value that cannot be serialised is a 500 problem which keeps the reason for
/// the log.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Json<T>(pub T);

super::deref!(Json);

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: DeserializeOwned> Json<T> {
    /// Reads a body that is already in memory, for handlers that take [`Bytes`] or a [`Request`].
    ///
    /// # Errors
    ///
    /// 400 when it is no JSON, 422 when it does not fit the type; see the [module](super).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Problem> {
        axum::Json::from_bytes(bytes)
            .map(|axum::Json(value)| Self(value))
            .map_err(|rejection| match rejection {
                JsonRejection::JsonDataError(error) => json_data(&error, Frame::of::<T>),
                // serde_json calls some values a syntax error: a number where an enum is due, a key
                // that is no number, a number beyond `f64`. The document decides.
                JsonRejection::JsonSyntaxError(error) if is_well_formed(bytes, &error) => {
                    json_data(&error, Frame::of::<T>)
                }
                JsonRejection::JsonSyntaxError(error) => json_syntax(&error),
                other => other.into(),
            })
    }
}

/// Whether it is JSON (RFC 8259 §8.1: in UTF-8) that this parser did not give up on.
fn is_well_formed(bytes: &[u8], error: &JsonSyntaxError) -> bool {
    !json_error(error).is_some_and(is_too_deep)
        && std::str::from_utf8(bytes)
            .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(not_json());
        }
        Self::from_bytes(&Bytes::from_request(request, state).await?)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if request.headers().contains_key(header::CONTENT_TYPE) {
            <Self as FromRequest<S>>::from_request(request, state)
                .await
                .map(Some)
        } else {
            Ok(None)
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

/// `application/json`, or any subtype of `application` with the suffix `+json` (RFC 6838 §4.2.8).
fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .and_then(|essence| essence.trim().split_once('/'))
        .is_some_and(|(ty, subtype)| {
            ty.eq_ignore_ascii_case("application")
                && (subtype.eq_ignore_ascii_case("json")
                    || subtype.rsplit_once('+').is_some_and(|(name, suffix)| {
                        !name.is_empty() && suffix.eq_ignore_ascii_case("json")
                    }))
        })
}
