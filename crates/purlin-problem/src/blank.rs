//! `about:blank` problems: those that say no more than their status does (RFC 9457 §4.2.1).
//!
//! 401, 405, 407 and 426 are absent, since they need a header: see
//! [`Problem::unauthorized`](crate::Problem::unauthorized) and
//! [`Problem::method_not_allowed`](crate::Problem::method_not_allowed).

use http::StatusCode;

use crate::{ProblemType, UnauthorizedType, status::phrase};

macro_rules! blank {
    ($($name:ident)*) => {$(
        #[doc = concat!("`about:blank` with the status `", stringify!($name), "`.")]
        pub static $name: ProblemType = ProblemType::blank(StatusCode::$name);
    )*};
}

blank! {
    BAD_REQUEST PAYMENT_REQUIRED FORBIDDEN NOT_FOUND NOT_ACCEPTABLE REQUEST_TIMEOUT CONFLICT GONE
    LENGTH_REQUIRED PRECONDITION_FAILED PAYLOAD_TOO_LARGE URI_TOO_LONG UNSUPPORTED_MEDIA_TYPE
    RANGE_NOT_SATISFIABLE EXPECTATION_FAILED MISDIRECTED_REQUEST UNPROCESSABLE_ENTITY LOCKED
    FAILED_DEPENDENCY PRECONDITION_REQUIRED TOO_MANY_REQUESTS REQUEST_HEADER_FIELDS_TOO_LARGE
    UNAVAILABLE_FOR_LEGAL_REASONS INTERNAL_SERVER_ERROR NOT_IMPLEMENTED BAD_GATEWAY
    SERVICE_UNAVAILABLE GATEWAY_TIMEOUT INSUFFICIENT_STORAGE LOOP_DETECTED
}

/// `about:blank` with the status 401, for [`Problem::unauthorized`](crate::Problem::unauthorized).
pub static UNAUTHORIZED: UnauthorizedType =
    UnauthorizedType::new("about:blank", phrase(StatusCode::UNAUTHORIZED));

pub(crate) static METHOD_NOT_ALLOWED: ProblemType = ProblemType::unchecked(
    "",
    "about:blank",
    phrase(StatusCode::METHOD_NOT_ALLOWED),
    StatusCode::METHOD_NOT_ALLOWED,
);

#[cfg(feature = "axum-ws")]
pub(crate) static UPGRADE_REQUIRED: ProblemType = ProblemType::unchecked(
    "",
    "about:blank",
    phrase(StatusCode::UPGRADE_REQUIRED),
    StatusCode::UPGRADE_REQUIRED,
);
