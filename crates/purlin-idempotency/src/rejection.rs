//! What the layer answers when it does not let a request through, or has no answer to repeat.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{LINK, LOCATION},
};
use purlin_problem::{BoxError, ExtName, GrpcCode, Problem, ProblemType, Protocol, UriRef};

use crate::KeyError;

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident: $status:ident $slug:literal $title:literal $grpc:ident, $description:literal;)*) => {
        /// The problem types of this crate's refusals, for catalogues and for tests of clients.
        pub mod problems {
            use super::*;
            $(
                $(#[$doc])*
                pub static $name: ProblemType =
                    ProblemType::slug(StatusCode::$status, $slug, $title)
                        .with_grpc_code(GrpcCode::$grpc)
                        .with_description($description);
            )*

            /// All of them.
            pub static ALL: &[&ProblemType] = &[$(&$name),*];
        }
    };
}

types! {
    /// 400: the operation requires a key.
    KEY_MISSING: BAD_REQUEST "idempotency-key-missing" "Idempotency-Key is missing" InvalidArgument,
        "This operation must be sent with an Idempotency-Key header, so that it can be repeated safely \
         when its answer gets lost. Make a new key for each operation, a UUID for instance, and use the \
         same key for all attempts of it.";
    /// 400: the header is not a key.
    KEY_INVALID: BAD_REQUEST "idempotency-key-invalid" "Idempotency-Key is not valid" InvalidArgument,
        "The Idempotency-Key header must be there once, and be a string of 1 to 255 printable ASCII \
         characters, in quotes or bare, such as a UUID. `detail` says what is wrong.";
    /// 403: there is nobody to whom the key could belong.
    SCOPE_MISSING: FORBIDDEN "idempotency-scope-missing" "Idempotency-Key needs a known caller" PermissionDenied,
        "Keys belong to the caller who made them, and this request does not say who that is. Send it \
         with credentials.";
    /// 409: the first request is still being worked on.
    IN_FLIGHT: CONFLICT "idempotency-in-flight" "A request with this Idempotency-Key is in progress" Aborted,
        "A request with the same key is being worked on. Nothing has to be changed: send the same \
         request again after the time in Retry-After, and it gets the answer.";
    /// 422: the key was used for another request.
    KEY_REUSED: UNPROCESSABLE_ENTITY "idempotency-key-reused" "Idempotency-Key is already used" FailedPrecondition,
        "The key was used before, for a request with another method, target, content type or body. \
         Nothing was done. A new operation needs a new key; a retry must repeat the request as it was.";
    /// 409: nobody knows how the first request ended.
    INDETERMINATE: CONFLICT "idempotency-indeterminate" "The outcome of the request is not known" FailedPrecondition,
        "A request with the same key was begun and has not come to an end that is known: its effect may \
         have taken place or not. It is not executed again. Look at the state of the resource, or ask \
         support, before the operation is sent with a new key.";
    /// 409: the effect is known, its answer is not there any more.
    ANSWER_UNAVAILABLE: CONFLICT "idempotency-answer-unavailable" "The answer is not available any more" AlreadyExists,
        "The request with this key was executed, once. Its answer was too long to be kept, was \
         erased, or cannot be read: `original_status` and the Location header, where they are there, are \
         those of the answer. It is not executed again.";
    /// 400: the time of the first attempt does not parse.
    FIRST_SENT_INVALID: BAD_REQUEST "idempotency-first-sent-invalid" "The time of the first attempt is not valid" InvalidArgument,
        "The header that says when the operation was first sent must be a date as in \
         `Sun, 06 Nov 1994 08:49:37 GMT`.";
    /// 412: too late to know whether the request was executed.
    WINDOW_ELAPSED: PRECONDITION_FAILED "idempotency-window-elapsed" "The time for retries is over" FailedPrecondition,
        "The operation was first sent so long ago that what became of it may be forgotten. It is not \
         executed, because it may have been. Look at the state of the resource before the operation is \
         sent with a new key.";
    /// 413: the body is longer than what is read for a fingerprint.
    BODY_TOO_LARGE: PAYLOAD_TOO_LARGE "idempotency-body-too-large" "The request is too large" ResourceExhausted,
        "A request with an Idempotency-Key is read whole before it is executed, and this one is longer \
         than the limit in `limit_bytes`. Nothing was done.";
    /// 400: the body ended early.
    BODY_UNREADABLE: BAD_REQUEST "idempotency-body-unreadable" "The request body could not be read" InvalidArgument,
        "The body of the request ended early. Nothing was done: send the request again, with the same key.";
    /// 500: the handler's answer broke off before it could be kept.
    ANSWER_FAILED: INTERNAL_SERVER_ERROR "idempotency-answer-failed" "The answer could not be completed" Internal,
        "The answer broke off while it was being made. Send the same request again, with the same key.";
    /// 500: the handler has kept the transaction.
    NOT_COMMITTED: INTERNAL_SERVER_ERROR "idempotency-not-committed" "The request was not completed" Internal,
        "The server could not complete the request, and what it has written for it is undone. Send the \
         same request again, with the same key, to learn what became of it.";
    /// 503: the store of the keys cannot be asked.
    STORE_UNAVAILABLE: SERVICE_UNAVAILABLE "idempotency-store-unavailable" "Idempotency-Key cannot be checked now" Unavailable,
        "Whether this request was executed before cannot be found out at the moment, so it was not \
         executed. Send the same request again, with the same key, after the time in Retry-After.";
    /// 503: the request was executed or undone, and which of the two is not known.
    OUTCOME_UNKNOWN: SERVICE_UNAVAILABLE "idempotency-outcome-unknown" "The outcome is not known yet" Unavailable,
        "The request was executed, and the server could not find out whether that lasts. Send the same \
         request again, with the same key, to learn what became of it.";
    /// 503: the work took too long and was stopped.
    TOO_SLOW: SERVICE_UNAVAILABLE "idempotency-too-slow" "The request took too long" DeadlineExceeded,
        "The request was stopped because it took too long. Send it again with the same key to learn \
         what became of it.";
}

const ORIGINAL_STATUS: ExtName = ExtName::new("original_status");
const LIMIT_BYTES: ExtName = ExtName::new("limit_bytes");

/// Why a request did not get the answer of its handler.
///
/// It is in the extensions of every answer that this layer gives itself, but for replays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// [`problems::KEY_MISSING`]
    KeyMissing,
    /// [`problems::KEY_INVALID`]
    KeyInvalid(KeyError),
    /// [`problems::SCOPE_MISSING`]
    ScopeMissing,
    /// [`problems::IN_FLIGHT`]
    InFlight {
        /// When to ask again.
        retry_after: Duration,
    },
    /// [`problems::KEY_REUSED`]
    KeyReused,
    /// [`problems::INDETERMINATE`]
    Indeterminate,
    /// [`problems::ANSWER_UNAVAILABLE`]
    AnswerUnavailable {
        /// What the answer's status was, if that is known.
        original_status: Option<StatusCode>,
        /// Its `Location`.
        location: Option<HeaderValue>,
    },
    /// [`problems::FIRST_SENT_INVALID`]
    FirstSentInvalid,
    /// [`problems::WINDOW_ELAPSED`]
    WindowElapsed,
    /// [`problems::BODY_TOO_LARGE`]
    BodyTooLarge {
        /// The limit that it exceeds.
        limit_bytes: usize,
    },
    /// [`problems::BODY_UNREADABLE`]
    BodyUnreadable,
    /// [`problems::ANSWER_FAILED`]
    AnswerFailed,
    /// [`problems::NOT_COMMITTED`]
    NotCommitted,
    /// [`problems::STORE_UNAVAILABLE`]
    StoreUnavailable {
        /// When to ask again.
        retry_after: Duration,
    },
    /// [`problems::OUTCOME_UNKNOWN`]
    OutcomeUnknown {
        /// When to ask again.
        retry_after: Duration,
    },
    /// [`problems::TOO_SLOW`]
    TooSlow {
        /// When to ask again.
        retry_after: Duration,
    },
}

impl Rejection {
    /// Its problem type.
    #[must_use]
    pub fn problem_type(&self) -> &'static ProblemType {
        match self {
            Self::KeyMissing => &problems::KEY_MISSING,
            Self::KeyInvalid(_) => &problems::KEY_INVALID,
            Self::ScopeMissing => &problems::SCOPE_MISSING,
            Self::InFlight { .. } => &problems::IN_FLIGHT,
            Self::KeyReused => &problems::KEY_REUSED,
            Self::Indeterminate => &problems::INDETERMINATE,
            Self::AnswerUnavailable { .. } => &problems::ANSWER_UNAVAILABLE,
            Self::FirstSentInvalid => &problems::FIRST_SENT_INVALID,
            Self::WindowElapsed => &problems::WINDOW_ELAPSED,
            Self::BodyTooLarge { .. } => &problems::BODY_TOO_LARGE,
            Self::BodyUnreadable => &problems::BODY_UNREADABLE,
            Self::AnswerFailed => &problems::ANSWER_FAILED,
            Self::NotCommitted => &problems::NOT_COMMITTED,
            Self::StoreUnavailable { .. } => &problems::STORE_UNAVAILABLE,
            Self::OutcomeUnknown { .. } => &problems::OUTCOME_UNKNOWN,
            Self::TooSlow { .. } => &problems::TOO_SLOW,
        }
    }

    /// The problem that it is answered with, without its `Link`.
    pub fn to_problem(&self) -> Problem {
        let problem = Problem::new(self.problem_type());
        match self {
            Self::KeyInvalid(error) => problem.with_detail(error),
            Self::InFlight { retry_after }
            | Self::StoreUnavailable { retry_after }
            | Self::OutcomeUnknown { retry_after }
            | Self::TooSlow { retry_after } => problem.with_retry_after(*retry_after),
            Self::BodyTooLarge { limit_bytes } => problem.with_ext(LIMIT_BYTES, limit_bytes),
            Self::AnswerUnavailable {
                original_status,
                location,
            } => {
                let mut problem = problem;
                if let Some(status) = original_status {
                    problem = problem.with_ext(ORIGINAL_STATUS, &status.as_u16());
                }
                if let Some(location) = location {
                    problem = problem.with_header(LOCATION, location.clone());
                }
                problem
            }
            _ => problem,
        }
    }

    /// The answer, with a `Link` to what describes it (draft-ietf-httpapi-idempotency-key-header,
    /// section 2.7): `described_by`, or the problem type.
    pub(crate) fn into_response(
        self,
        protocol: &Protocol,
        described_by: Option<&UriRef>,
        source: Option<BoxError>,
    ) -> Response<Bytes> {
        let uri = described_by.map_or_else(|| self.problem_type().uri(), UriRef::as_str);
        let link = HeaderValue::try_from(format!("<{uri}>; rel=\"describedby\""))
            .expect("a URI reference has no character that a field value cannot have");
        let mut problem = self.to_problem().with_header(LINK, link);
        if let Some(source) = source {
            problem = problem.with_source(source);
        }
        let mut response = problem.into_http_for(protocol);
        response.extensions_mut().insert(self);
        response
    }
}
