//! Challenges of `WWW-Authenticate`.

use http::{HeaderValue, header::InvalidHeaderValue};

/// A challenge of `WWW-Authenticate` (RFC 9110 §11.6.1), without which there is no 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(HeaderValue);

impl Challenge {
    /// `Bearer`, without parameters (RFC 6750 §3).
    #[must_use]
    pub const fn bearer() -> Self {
        Self(HeaderValue::from_static("Bearer"))
    }

    /// Any challenge, written out: `Basic realm="orders", charset="UTF-8"`.
    ///
    /// # Panics
    ///
    /// When the text is empty or not visible ASCII; in a `const` that is a compile error.
    #[must_use]
    #[track_caller]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(!text.is_empty(), "a challenge names a scheme");
        Self(HeaderValue::from_static(text))
    }

    /// A challenge made at run time, with its parameters quoted by the caller.
    ///
    /// # Errors
    ///
    /// When the text has characters that no header may have.
    pub fn parse(text: &str) -> Result<Self, InvalidHeaderValue> {
        HeaderValue::from_str(text).map(Self)
    }

    pub(crate) fn into_value(self) -> HeaderValue {
        self.0
    }
}
