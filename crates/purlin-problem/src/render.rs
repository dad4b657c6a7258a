//! What every problem response has in common.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The media type of a problem in JSON (RFC 9457 §6.1).
pub const PROBLEM_JSON: &str = "application/problem+json";

pub(crate) const PROBLEM_JSON_VALUE: HeaderValue = HeaderValue::from_static(PROBLEM_JSON);
#[cfg(feature = "xml")]
pub(crate) const PROBLEM_XML_VALUE: HeaderValue =
    HeaderValue::from_static("application/problem+xml");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Drops the fields that describe a body which is about to be replaced. Everything else stays,
/// also `Content-Language`, since the new body may say the same in the same language.
pub(crate) fn remove_representation_headers(headers: &mut HeaderMap) {
    for name in [
        header::ACCEPT_RANGES,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::ETAG,
        header::LAST_MODIFIED,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        // RFC 9530, and the fields that it and RFC 7231 obsoleted.
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("content-md5"),
    ] {
        headers.remove(name);
    }
}

/// A JSON problem response with the given fields, which win over the defaults.
pub(crate) fn json_response(
    status: http::StatusCode,
    mut headers: HeaderMap,
    document: Bytes,
) -> http::Response<Bytes> {
    headers.insert(header::CONTENT_TYPE, PROBLEM_JSON_VALUE);
    headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
    let mut response = http::Response::new(document);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
