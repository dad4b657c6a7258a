use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE, response::Parts};
use purlin_problem::{PROBLEM_JSON, ProblemDetails, violation};

/// What becomes of an answer.
///
/// A handler that knows better than the table of the guide puts one into the extensions of its
/// response; [`with_outcome`](crate::IdempotencyLayer::with_outcome) does it for a whole route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is final: every retry gets it again. In a transaction the handler's writes are committed
    /// when the status is below 400 (for gRPC: `OK`), and rolled back when it is not.
    Keep,
    /// Nothing was done, and nothing is remembered: a retry begins anew.
    Forget,
    /// It is not known how far the work went. In a transaction, where rolling back settles that,
    /// it is the same as `Forget`; under a lease [`LeaseLost`](crate::LeaseLost) says what
    /// a retry gets.
    Uncertain,
}

/// An answer, as far as it was read.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) head: &'a Parts,
    /// Body and trailers; `None` when it goes on.
    pub(crate) end: Option<(&'a [u8], Option<&'a HeaderMap>)>,
}

impl Outcome {
    /// What the status, and for gRPC the trailers, say.
    pub(crate) fn of(said: &Said<'_>) -> Self {
        if let Some(code) = said.grpc_status() {
            return Self::of_grpc(code);
        }
        match said.head.status.as_u16() {
            400 | 422 if said.is_validation() => Self::Forget,
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

impl Said<'_> {
    /// Whether it says that the work was done.
    pub(crate) fn has_succeeded(&self) -> bool {
        match self.grpc_status() {
            Some(code) => code == 0,
            None => self.head.status.as_u16() < 400,
        }
    }

    /// The status of a gRPC answer: in the trailers, or in the headers when there is no body.
    fn grpc_status(&self) -> Option<u8> {
        const OK: u8 = 0;
        const UNKNOWN: u8 = 2;
        let content_type = self.head.headers.get(CONTENT_TYPE)?.as_bytes();
        if !content_type.starts_with(b"application/grpc") || self.head.status != StatusCode::OK {
            return None;
        }
        let in_head = self.head.headers.get("grpc-status");
        let Some((body, trailers)) = self.end else {
            // So many messages, and no failure so far: it was at work.
            return Some(in_head.map_or(OK, code));
        };
        if content_type.starts_with(b"application/grpc-web") {
            let in_body = || {
                if content_type.starts_with(b"application/grpc-web-text") {
                    web_status(&web_text(body)?)
                } else {
                    web_status(body)
                }
            };
            return Some(in_head.map_or_else(|| in_body().unwrap_or(UNKNOWN), code));
        }
        let in_trailers = trailers.and_then(|trailers| trailers.get("grpc-status"));
        // An answer without one is broken.
        Some(in_trailers.or(in_head).map_or(UNKNOWN, code))
    }

    /// Whether it is one of the problems by which this workspace's extractors refuse a request
    /// before the handler sees it.
    fn is_validation(&self) -> bool {
        let content_type = self.head.headers.get(CONTENT_TYPE);
        let is_problem =
            content_type.is_some_and(|value| value.as_bytes().starts_with(PROBLEM_JSON.as_bytes()));
        let body = self.end.map_or(&[][..], |(body, _)| body);
        is_problem
            && ProblemDetails::from_json(body).is_ok_and(|problem| {
                problem.is(&violation::VALIDATION) || problem.is(&violation::PARAMETERS)
            })
    }
}

/// What does not parse is `UNKNOWN`.
fn code(value: &HeaderValue) -> u8 {
    const UNKNOWN: u8 = 2;
    let code = value.to_str().ok().and_then(|code| code.parse().ok());
    code.unwrap_or(UNKNOWN)
}

/// The status in the last frame of a gRPC-Web answer, which holds what gRPC has in its trailers.
fn web_status(mut body: &[u8]) -> Option<u8> {
    const TRAILERS: u8 = 0x80;
    while let Some((head, rest)) = body.split_first_chunk::<5>() {
        let [flags, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        let (frame, rest) = rest.split_at_checked(length)?;
        if flags & TRAILERS != 0 {
            let lines = frame.split(|byte| *byte == b'\n');
            return lines
                .filter_map(|line| str::from_utf8(line).ok())
                .find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    let is_status = name.trim().eq_ignore_ascii_case("grpc-status");
                    is_status.then(|| value.trim().parse().ok())?
                });
        }
        body = rest;
    }
    None
}

/// What stands in a gRPC-Web answer that is text: Base64, in pieces that end with padding of their own.
fn web_text(body: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(body.len());
    for piece in body.split(|byte| *byte == b'=') {
        STANDARD_NO_PAD.decode_vec(piece, &mut bytes).ok()?;
    }
    Some(bytes)
}
