//! Forms in parts (RFC 7578).

use axum::extract::multipart::{MultipartError, MultipartRejection};
use http::StatusCode;

use crate::{Problem, blank};

impl From<MultipartRejection> for Problem {
    fn from(rejection: MultipartRejection) -> Self {
        match rejection {
            MultipartRejection::InvalidBoundary(_) => Self::new(&blank::BAD_REQUEST)
                .with_detail("the content type must be multipart/form-data with a boundary"),
            other => Self::internal(other),
        }
    }
}

/// What goes wrong while the fields are read: 413 over a limit, 400 when the body is malformed or
/// breaks off, 500 for what is not the client's doing.
impl From<MultipartError> for Problem {
    fn from(error: MultipartError) -> Self {
        match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(&blank::PAYLOAD_TOO_LARGE),
            status if status.is_client_error() => {
                Self::new(&blank::BAD_REQUEST).with_detail("the parts of the body are malformed")
            }
            _ => Self::internal(error),
        }
    }
}
