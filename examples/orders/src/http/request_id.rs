use http::{HeaderName, HeaderValue, Request};
use tower_http::request_id::{MakeRequestId, RequestId};
use uuid::Uuid;

pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Drops a request id from outside unless it is alone and 1 to 128 of `A-Z a-z 0-9 - _ .`: it goes
/// into logs and answers. tower-http's layer then gives the request one of our own.
pub(super) fn drop_malformed<B>(mut request: Request<B>) -> Request<B> {
    let headers = request.headers_mut();
    let mut ids = headers.get_all(HEADER).iter();
    let keep = ids.next().is_some_and(is_plain) && ids.next().is_none();
    if !keep {
        headers.remove(HEADER);
    }
    request
}

fn is_plain(id: &HeaderValue) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)
}

/// Ids that sort by time (RFC 9562 §5.7); those of tower-http are random.
#[derive(Debug, Clone, Copy)]
pub(super) struct UuidV7;

impl MakeRequestId for UuidV7 {
    fn make_request_id<B>(&mut self, _request: &Request<B>) -> Option<RequestId> {
        let id = Uuid::now_v7().hyphenated().to_string();
        HeaderValue::from_str(&id).ok().map(RequestId::new)
    }
}
