//! URI references (RFC 3986 §4.1), checked at compile time where the text is a literal.

use std::{borrow::Cow, fmt, str::FromStr};

/// A checked URI reference (RFC 3986 §4.1): an absolute URI, a URN, or a relative reference.
///
/// RFC 9457 §3.1.1 and §3.1.5 make `type` and `instance` URI *references*. The parser of the
/// `http` crate is made for request targets: it drops fragments and refuses URNs, so it is not used.
///
/// DIFFERENCE: user information and IP literals (`[::1]`) in the authority are refused, since
/// neither belongs in an identifier that is published.
///
/// ```
/// use purlin_problem::UriRef;
///
/// const QUOTA: UriRef = UriRef::from_static(
///     "https://iana.org/assignments/http-problem-types#quota-exceeded",
/// );
/// assert!(QUOTA.as_str().ends_with("#quota-exceeded"));
/// assert!(UriRef::parse("urn:uuid:0188cc4a-9d2c-7e0a-8000-000000000000").is_ok());
/// assert!(UriRef::parse("not a uri").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UriRef(Cow<'static, str>);

impl UriRef {
    /// Takes a literal; in a `const` or `static` a malformed one does not compile.
    ///
    /// # Panics
    ///
    /// When called at run time with text that is not a URI reference.
    #[must_use]
    #[track_caller]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(
            is_uri_reference(text),
            "this is not a URI reference (RFC 3986 section 4.1)"
        );
        Self(Cow::Borrowed(text))
    }

    /// Checks text from elsewhere.
    ///
    /// # Errors
    ///
    /// [`InvalidUriRef`] when the text is empty or not a URI reference.
    pub fn parse(text: impl Into<Cow<'static, str>>) -> Result<Self, InvalidUriRef> {
        let text = text.into();
        if is_uri_reference(&text) {
            Ok(Self(text))
        } else {
            Err(InvalidUriRef(()))
        }
    }

    /// The reference as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UriRef {
    type Err = InvalidUriRef;

    /// As [`parse`](Self::parse), for text that is borrowed, such as a setting.
    fn from_str(text: &str) -> Result<Self, InvalidUriRef> {
        Self::parse(text.to_owned())
    }
}

impl fmt::Display for UriRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a URI reference (RFC 3986 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUriRef(());

impl fmt::Display for InvalidUriRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a URI reference (RFC 3986 section 4.1)")
    }
}

impl std::error::Error for InvalidUriRef {}

/// Whether `text` is a non-empty URI reference. It is a `const fn` because problem types are
/// constants; `tests/spec.rs` holds it against a full RFC 3986 parser.
pub(crate) const fn is_uri_reference(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return false;
    }
    let fragment = find(bytes, 0, bytes.len(), b'#');
    let query = find(bytes, 0, fragment, b'?');
    let after_hash = if fragment < bytes.len() {
        fragment + 1
    } else {
        fragment
    };
    let after_mark = if query < fragment { query + 1 } else { query };
    is_chars(bytes, after_hash, bytes.len(), b"/?:@")
        && is_chars(bytes, after_mark, fragment, b"/?:@")
        && is_hierarchy(bytes, query)
}

/// `bytes[..end]`: optional scheme, optional authority, path.
const fn is_hierarchy(bytes: &[u8], end: usize) -> bool {
    let slash = find(bytes, 0, end, b'/');
    let colon = find(bytes, 0, slash, b':');
    let start = if colon < slash {
        // A colon in the first segment can only end a scheme (RFC 3986 §4.2).
        if !is_scheme(bytes, colon) {
            return false;
        }
        colon + 1
    } else {
        0
    };
    if start + 1 < end && bytes[start] == b'/' && bytes[start + 1] == b'/' {
        let host = start + 2;
        let path = find(bytes, host, end, b'/');
        let port = find(bytes, host, path, b':');
        let mut digit = port + 1;
        while digit < path {
            if !bytes[digit].is_ascii_digit() {
                return false;
            }
            digit += 1;
        }
        is_chars(bytes, host, port, b"") && is_chars(bytes, path, end, b"/:@")
    } else {
        is_chars(bytes, start, end, b"/:@")
    }
}

const fn is_scheme(bytes: &[u8], end: usize) -> bool {
    if end == 0 || !bytes[0].is_ascii_alphabetic() {
        return false;
    }
    let mut at = 1;
    while at < end {
        if !(bytes[at].is_ascii_alphanumeric() || contains(b"+-.", bytes[at])) {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether `bytes[from..to]` holds unreserved characters, sub-delimiters, percent triplets and
/// the characters of `extra` only.
const fn is_chars(bytes: &[u8], from: usize, to: usize, extra: &[u8]) -> bool {
    let mut at = from;
    while at < to {
        let byte = bytes[at];
        if byte == b'%' {
            if at + 2 >= to
                || !bytes[at + 1].is_ascii_hexdigit()
                || !bytes[at + 2].is_ascii_hexdigit()
            {
                return false;
            }
            at += 3;
        } else if byte.is_ascii_alphanumeric()
            || contains(b"-._~!$&'()*+,;=", byte)
            || contains(extra, byte)
        {
            at += 1;
        } else {
            return false;
        }
    }
    true
}

const fn contains(set: &[u8], byte: u8) -> bool {
    find(set, 0, set.len(), byte) < set.len()
}

/// The first place of `byte` in `bytes[from..to]`, or `to`.
const fn find(bytes: &[u8], from: usize, to: usize, byte: u8) -> usize {
    let mut at = from;
    while at < to && bytes[at] != byte {
        at += 1;
    }
    at
}
