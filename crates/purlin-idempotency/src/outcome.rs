use http::{HeaderMap, StatusCode, header::CONTENT_TYPE, response::Parts};
use purlin_problem::{PROBLEM_JSON, ProblemDetails, violation};

/// What becomes of an answer.
///
/// A handler that knows better than the table of the guide puts one into the extensions of its
/// response; [`with_outcome`](crate::IdempotencyLayer::with_outcome) does it for a whole route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is final: every retry gets it again. In a transaction the handler's writes are committed
    /// when the status is below 400, and rolled back when it is not.
    Keep,
    /// Nothing was done, and nothing is remembered: a retry begins anew.
    Forget,
    /// It is not known how far the work went. In a transaction, where rolling back settles that,
    /// it is the same as `Forget`; under a lease [`LeaseLost`](crate::LeaseLost) says what
    /// a retry gets.
    Uncertain,
}

impl Outcome {
    /// What the status, and for gRPC the trailers, say.
    pub(crate) fn of(head: &Parts, body: &[u8], trailers: Option<&HeaderMap>) -> Self {
        if let Some(code) = grpc_status(head, trailers) {
            return Self::of_grpc(code);
        }
        match head.status.as_u16() {
            400 | 422 if is_validation(head, body) => Self::Forget,
            // Who asks is not allowed to, asks too often, or in a form that was not even looked at.
            401 | 403 | 407 | 408 | 411 | 413 | 414 | 415 | 417 | 421 | 425 | 426 | 428 | 429
            | 431 => Self::Forget,
            500.. => Self::Uncertain,
            _ => Self::Keep,
        }
    }

    /// By the numbers of google.rpc.Code.
    fn of_grpc(code: u8) -> Self {
        match code {
            // OK, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, OUT_OF_RANGE
            0 | 3 | 5 | 6 | 9 | 11 => Self::Keep,
            // PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAUTHENTICATED
            7 | 8 | 12 | 16 => Self::Forget,
            _ => Self::Uncertain,
        }
    }
}

/// The status of a gRPC answer: in the trailers, or in the headers when there is no body.
fn grpc_status(head: &Parts, trailers: Option<&HeaderMap>) -> Option<u8> {
    let content_type = head.headers.get(CONTENT_TYPE)?.as_bytes();
    if !content_type.starts_with(b"application/grpc") || head.status != StatusCode::OK {
        return None;
    }
    let status = trailers
        .and_then(|trailers| trailers.get("grpc-status"))
        .or_else(|| head.headers.get("grpc-status"));
    // An answer without one is broken.
    const UNKNOWN: u8 = 2;
    Some(status.map_or(UNKNOWN, |status| {
        let code = status.to_str().ok().and_then(|code| code.parse().ok());
        code.unwrap_or(UNKNOWN)
    }))
}

/// Whether it is one of the problems by which this workspace's extractors refuse a request before
/// the handler sees it.
fn is_validation(head: &Parts, body: &[u8]) -> bool {
    let is_problem = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(PROBLEM_JSON.as_bytes()));
    is_problem
        && ProblemDetails::from_json(body).is_ok_and(|problem| {
            problem.is(&violation::VALIDATION) || problem.is(&violation::PARAMETERS)
        })
}
