//! What a problem response needs to know of its request.

use std::fmt;

use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};

use crate::{
    Protocol,
    config::{Config, MAX_REQUEST_ID_BYTES},
};

/// The request that a problem answers, for [`ProblemLayer::with_edit`](crate::ProblemLayer::with_edit).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProblemContext<'a> {
    /// The request id, when there is one that is printable ASCII and at most 128 bytes long.
    pub request_id: Option<&'a str>,
    /// The trace id of a valid `traceparent`: 32 hexadecimal digits.
    pub trace_id: Option<&'a str>,
    /// `Accept-Language`, for translations of `title` and `detail`.
    pub accept_language: Option<&'a str>,
    /// The path of the request, without its query.
    pub path: &'a str,
}

/// Kept from the request until the response is there. Header values are reference counted, so
/// keeping them costs no allocation.
pub(crate) struct Seen {
    pub(crate) protocol: Protocol,
    pub(crate) is_head: bool,
    request_id: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
    /// Kept only where the configuration has a use for them.
    accept_language: Option<HeaderValue>,
    #[cfg(feature = "xml")]
    pub(crate) wants_xml: bool,
    uri: Option<Uri>,
}

impl Seen {
    pub(crate) fn of<B>(request: &Request<B>, config: &Config) -> Self {
        let headers = request.headers();
        let edits = config.edit.is_some();
        Self {
            protocol: Protocol::of(headers),
            is_head: request.method() == Method::HEAD,
            request_id: headers.get(&config.request_id).cloned(),
            traceparent: headers.get(TRACEPARENT).cloned(),
            accept_language: edits
                .then(|| headers.get(header::ACCEPT_LANGUAGE).cloned())
                .flatten(),
            #[cfg(feature = "xml")]
            wants_xml: config.xml && crate::xml::preferred(headers),
            uri: (edits || config.instance).then(|| request.uri().clone()),
        }
    }

    pub(crate) fn context(&self) -> ProblemContext<'_> {
        ProblemContext {
            request_id: self
                .request_id
                .as_ref()
                .filter(|id| (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()))
                .filter(|id| id.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')))
                .and_then(|id| id.to_str().ok()),
            trace_id: self.traceparent.as_ref().and_then(trace_id),
            accept_language: self
                .accept_language
                .as_ref()
                .and_then(|value| value.to_str().ok()),
            path: self.uri.as_ref().map_or("", Uri::path),
        }
    }
}

impl fmt::Debug for Seen {
    /// Without the target and the header values, where credentials may stand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen")
            .field("is_head", &self.is_head)
            .finish_non_exhaustive()
    }
}

const TRACEPARENT: &str = "traceparent";

/// The trace id of a `traceparent` (W3C Trace Context §3.2.2): `00-<32 hex>-<16 hex>-<2 hex>`,
/// where later versions may add fields and all zeros is no id.
fn trace_id(traceparent: &HeaderValue) -> Option<&str> {
    let mut fields = traceparent.to_str().ok()?.split('-');
    let hex = |text: &str, digits| {
        text.len() == digits
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let id = |text: &str, digits| hex(text, digits) && text.bytes().any(|byte| byte != b'0');
    let (version, trace) = (fields.next()?, fields.next()?);
    let (parent, flags) = (fields.next()?, fields.next()?);
    (hex(version, 2)
        && version != "ff"
        && id(trace, 32)
        && id(parent, 16)
        && hex(flags, 2)
        && (version != "00" || fields.next().is_none()))
    .then_some(trace)
}

/// Whether the body has a content coding, and so is no text as it stands.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_ENCODING)
}
