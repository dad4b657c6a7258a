//! Refusals as gRPC says them.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What the client of a request speaks, and so how a refusal must be worded.
///
/// Take it from the request before the request is consumed:
///
/// ```
/// use http::Request;
/// use purlin_problem::{Problem, Protocol, blank};
///
/// let request = Request::post("/orders.v1.Orders/Get")
///     .header("content-type", "application/grpc")
///     .body(())?;
/// let protocol = Protocol::of(request.headers());
///
/// let response = Problem::new(&blank::FORBIDDEN).into_http_for(&protocol);
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.headers()["grpc-status"], "7");
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// Plain HTTP: refused with `application/problem+json`.
    #[default]
    Http,
    /// gRPC: refused with a trailers-only response, whose content type is that of the request.
    Grpc(HeaderValue),
}

impl Protocol {
    /// Looks at the content type: `application/grpc`, alone or with a `+` suffix, is gRPC.
    /// `application/grpc-web` is not, since its trailers travel in the body.
    #[must_use]
    pub fn of(request_headers: &HeaderMap) -> Self {
        match request_headers.get(header::CONTENT_TYPE) {
            Some(value) if is_grpc(value) => Self::Grpc(value.clone()),
            _ => Self::Http,
        }
    }
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let bytes = content_type.as_bytes();
    bytes.len() >= GRPC.len()
        && bytes[..GRPC.len()].eq_ignore_ascii_case(GRPC)
        && matches!(bytes.get(GRPC.len()), None | Some(b'+' | b';' | b' '))
}

/// A gRPC status code other than `OK`, numbered as in `google/rpc/code.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "gRPC's set of codes is closed")]
#[repr(u8)]
pub enum GrpcCode {
    /// The caller gave up.
    Cancelled = 1,
    /// No other code fits.
    Unknown = 2,
    /// The arguments are wrong, whatever the state of the system.
    InvalidArgument = 3,
    /// Time ran out before the work was done.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// What was to be made is there already.
    AlreadyExists = 6,
    /// The caller is known, and may not.
    PermissionDenied = 7,
    /// A quota or a resource is used up.
    ResourceExhausted = 8,
    /// The system is not in the state that the call needs.
    FailedPrecondition = 9,
    /// A conflict with a concurrent call; the caller may start over.
    Aborted = 10,
    /// Past the valid range.
    OutOfRange = 11,
    /// There is no such method.
    Unimplemented = 12,
    /// An invariant is broken.
    Internal = 13,
    /// The service is not there now; the call may be tried again.
    Unavailable = 14,
    /// Data is lost for good.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

impl GrpcCode {
    /// The code of a problem type that names none: the reverse of the HTTP mapping in
    /// `google/rpc/code.proto`, where that is one to one, and the nearest code elsewhere.
    pub(crate) const fn of_problem(status: StatusCode) -> Self {
        let code = status.as_u16();
        match code {
            401 => Self::Unauthenticated,
            402 | 412 | 423 | 424 | 426 | 428 => Self::FailedPrecondition,
            403 | 451 => Self::PermissionDenied,
            404 | 410 => Self::NotFound,
            405 | 501 => Self::Unimplemented,
            408 | 504 => Self::DeadlineExceeded,
            409 => Self::Aborted,
            413 | 429 | 431 | 507 => Self::ResourceExhausted,
            416 => Self::OutOfRange,
            499 => Self::Cancelled,
            425 | 502 | 503 => Self::Unavailable,
            _ if code < 500 => Self::InvalidArgument,
            _ => Self::Internal,
        }
    }

    /// The code of a response that is no problem: gRPC's `http-grpc-status-mapping`, by which a
    /// gRPC client would read it.
    pub(crate) const fn of_plain(status: StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";

/// Outside of these, `grpc-message` is percent-encoded (gRPC over HTTP/2, "Responses").
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// The longest `grpc-message`, in bytes as it is sent: a client refuses a head of some 8 KiB, and
/// would see its connection fail instead of the refusal.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Turns the head of a response into that of a trailers-only one. Other headers stay and
/// arrive as metadata; those that describe the body that is dropped go.
pub(crate) fn trailers_only(
    head: &mut http::response::Parts,
    content_type: HeaderValue,
    code: GrpcCode,
    message: &str,
) {
    head.status = StatusCode::OK;
    crate::render::remove_representation_headers(&mut head.headers);
    head.headers.remove(header::CONTENT_LANGUAGE);
    head.headers.insert(header::CONTENT_TYPE, content_type);
    head.headers
        .insert(GRPC_STATUS, HeaderValue::from(code as u16));
    let message = encoded(message);
    if let Ok(message) = HeaderValue::from_maybe_shared(Bytes::from(message)) {
        head.headers.insert(GRPC_MESSAGE, message);
    }
}

/// The message with its escapes, cut between two characters if it is too long.
fn encoded(message: &str) -> String {
    let mut encoded = String::new();
    let mut utf8 = [0; 4];
    for char in message.chars() {
        let before = encoded.len();
        encoded.extend(utf8_percent_encode(char.encode_utf8(&mut utf8), MESSAGE));
        if encoded.len() > MAX_MESSAGE_BYTES {
            encoded.truncate(before);
            break;
        }
    }
    encoded
}
