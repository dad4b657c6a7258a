//! Which headers of an answer are kept, and which are made anew.

use http::{
    HeaderMap, HeaderName,
    header::{
        AGE, ALT_SVC, CONNECTION, CONTENT_LENGTH, DATE, PROXY_AUTHENTICATE, SERVER, SET_COOKIE, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE, VIA, WWW_AUTHENTICATE,
    },
};

/// What belongs to one exchange and not to its answer: secrets of a session, what describes one
/// connection (RFC 9110 section 7.6.1) or one moment, and what outer layers and the server add.
const NOT_KEPT: [HeaderName; 14] = [
    SET_COOKIE,
    WWW_AUTHENTICATE,
    PROXY_AUTHENTICATE,
    CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    // Made anew from the body and the trailers.
    CONTENT_LENGTH,
    TRAILER,
    DATE,
    AGE,
    SERVER,
    VIA,
    ALT_SVC,
];

const ALSO_NOT_KEPT: [&str; 10] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authentication-info",
    "authentication-info",
    "ratelimit",
    "ratelimit-policy",
    "server-timing",
    "traceparent",
    "tracestate",
    "x-request-id",
];

/// The headers of an answer that are sent again, in their order.
pub(crate) fn kept(headers: &HeaderMap, more: &[HeaderName]) -> HeaderMap {
    let nominated: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect();
    let is_kept = |name: &HeaderName| {
        let text = name.as_str();
        !NOT_KEPT.contains(name)
            && !ALSO_NOT_KEPT.contains(&text)
            && !text.starts_with("ratelimit-")
            && !text.starts_with("x-ratelimit-")
            && !more.contains(name)
            && !nominated.iter().any(|nominated| nominated == text)
    };
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| is_kept(name)) {
        kept.append(name.clone(), value.clone());
    }
    kept
}

/// Names the trailers that follow. In HTTP/1.1 those that are not named are not sent, nor are any after
/// a body of known length.
pub(crate) fn announce(headers: &mut HeaderMap, trailers: &HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRAILER);
    for name in trailers.keys() {
        headers.append(TRAILER, name.clone().into());
    }
}
