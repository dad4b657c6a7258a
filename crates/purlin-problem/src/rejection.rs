//! axum's rejections as problems.

#[cfg(feature = "axum-multipart")]
mod multipart;
#[cfg(feature = "axum-ws")]
mod ws;

use std::error::Error;

use axum::{
    extract::{
        path::ErrorKind,
        rejection::{
            BytesRejection, ExtensionRejection, FailedToBufferBody, FormRejection, JsonRejection,
            MatchedPathRejection, NestedPathRejection, PathRejection, QueryRejection,
            RawFormRejection, RawPathParamsRejection, StringRejection,
        },
    },
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde_path_to_error::Segment;

use crate::{
    Problem, Violation, Violations, blank,
    violation::{PARAMETERS, frame::Frame, serde_error},
};

/// The error of a path-tracking deserializer, as axum wraps it.
type JsonError = serde_path_to_error::Error<serde_json::Error>;
type FormError = serde_path_to_error::Error<serde::de::value::Error>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into_http().map(axum::body::Body::from)
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::JsonDataError(error) => json_data(&error, |_| Frame::Untold),
            JsonRejection::JsonSyntaxError(error) => json_syntax(&error),
            JsonRejection::MissingJsonContentType(_) => unsupported_media_type(JSON),
            JsonRejection::BytesRejection(rejection) => rejection.into(),
            other => Self::internal(other),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        match rejection {
            QueryRejection::FailedToDeserializeQueryString(error) => parameters(&error),
            other => Self::internal(other),
        }
    }
}

impl From<FormRejection> for Problem {
    fn from(rejection: FormRejection) -> Self {
        match rejection {
            FormRejection::InvalidFormContentType(_) => unsupported_media_type(FORM),
            FormRejection::FailedToDeserializeForm(error) => parameters(&error),
            FormRejection::FailedToDeserializeFormBody(error) => {
                Self::invalid(parameter_violation(&error).into())
            }
            FormRejection::BytesRejection(rejection) => rejection.into(),
            other => Self::internal(other),
        }
    }
}

impl From<RawFormRejection> for Problem {
    fn from(rejection: RawFormRejection) -> Self {
        match rejection {
            RawFormRejection::InvalidFormContentType(_) => unsupported_media_type(FORM),
            RawFormRejection::BytesRejection(rejection) => rejection.into(),
            other => Self::internal(other),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        match &rejection {
            PathRejection::FailedToDeserializePathParams(error) => match error.kind() {
                // The handler and its route do not fit together, whatever the client sends.
                ErrorKind::WrongNumberOfParameters { .. } | ErrorKind::UnsupportedType { .. } => {
                    Self::internal(rejection)
                }
                ErrorKind::Message(text)
                    if text.starts_with("missing field `")
                        || text.starts_with("unknown field `") =>
                {
                    Self::internal(rejection)
                }
                // No source: it holds the value.
                _ => Self::new(&blank::NOT_FOUND),
            },
            _ => Self::internal(rejection),
        }
    }
}

impl From<RawPathParamsRejection> for Problem {
    fn from(rejection: RawPathParamsRejection) -> Self {
        match rejection {
            RawPathParamsRejection::InvalidUtf8InPathParam(_) => Self::new(&blank::NOT_FOUND),
            other => Self::internal(other),
        }
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match rejection {
            BytesRejection::FailedToBufferBody(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

impl From<StringRejection> for Problem {
    fn from(rejection: StringRejection) -> Self {
        match rejection {
            StringRejection::FailedToBufferBody(error) => error.into(),
            StringRejection::InvalidUtf8(_) => {
                Self::new(&blank::BAD_REQUEST).with_detail("the body is not valid UTF-8")
            }
            other => Self::internal(other),
        }
    }
}

impl From<FailedToBufferBody> for Problem {
    fn from(error: FailedToBufferBody) -> Self {
        match error {
            FailedToBufferBody::LengthLimitError(_) => Self::new(&blank::PAYLOAD_TOO_LARGE),
            other => Self::new(&blank::BAD_REQUEST)
                .with_detail("the body could not be read to its end")
                .with_source(other),
        }
    }
}

/// Rejections that say that the server was put together wrongly.
macro_rules! internal {
    ($($rejection:ident)*) => {$(
        impl From<$rejection> for Problem {
            fn from(rejection: $rejection) -> Self {
                Self::internal(rejection)
            }
        }
    )*};
}

internal! { ExtensionRejection MatchedPathRejection NestedPathRejection }

/// The body was read, and its content does not fit the type; `frame` tells how the type reads the
/// place where it failed.
pub(crate) fn json_data(
    error: &(dyn Error + 'static),
    frame: impl FnOnce(&[&Segment]) -> Frame,
) -> Problem {
    let found = find::<JsonError>(error);
    let message = found.map_or_else(String::new, |error| json_message(error.inner()));
    let path = found.map(JsonError::path);
    Problem::invalid(serde_error::in_body(path, &message, frame).into())
}

/// The body is no JSON.
pub(crate) fn json_syntax(error: &(dyn Error + 'static)) -> Problem {
    let problem = Problem::new(&blank::BAD_REQUEST);
    match json_error(error) {
        None => problem.with_detail("the JSON is malformed"),
        Some(error) if is_too_deep(error) => problem.with_detail("the JSON is nested too deeply"),
        Some(error) => problem.with_detail(format_args!(
            "the JSON is malformed at line {}, column {}",
            error.line(),
            error.column()
        )),
    }
}

/// What `serde_json` said, with or without a path around it.
pub(crate) fn json_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a serde_json::Error> {
    find::<JsonError>(error)
        .map(JsonError::inner)
        .or_else(|| find(error))
}

/// Whether the parser gave up on the nesting of a document that may be well-formed.
pub(crate) fn is_too_deep(error: &serde_json::Error) -> bool {
    json_message(error) == "recursion limit exceeded"
}

/// 415 with what is accepted instead (RFC 9110 §15.5.16).
fn unsupported_media_type(accepted: HeaderValue) -> Problem {
    let name = accepted.to_str().unwrap_or_default();
    Problem::new(&blank::UNSUPPORTED_MEDIA_TYPE)
        .with_detail(format_args!("the content type must be {name}"))
        .with_header(header::ACCEPT, accepted)
}

pub(crate) fn not_json() -> Problem {
    unsupported_media_type(JSON)
}

fn parameters(error: &(dyn Error + 'static)) -> Problem {
    let violations = Violations::from(parameter_violation(error));
    Problem::new(&PARAMETERS).with_violations(violations)
}

fn parameter_violation(error: &(dyn Error + 'static)) -> Violation {
    let found = find::<FormError>(error);
    let message = found.map_or_else(String::new, |error| error.inner().to_string());
    serde_error::in_parameters(found.map(FormError::path), &message)
}

/// The message without the position, which `serde_json` appends.
fn json_message(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    if message.ends_with(&position) {
        message.truncate(message.len() - position.len());
    }
    message
}

/// The first error of type `E` in the chain of sources.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
