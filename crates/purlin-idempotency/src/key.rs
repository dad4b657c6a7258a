use std::{convert::Infallible, fmt};

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{
    BareItemFromInput, Parser,
    visitor::{Ignored, parameter_visitor_with},
};

use crate::KeyError;

/// The header field of draft-ietf-httpapi-idempotency-key-header.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key, in characters.
pub(crate) const MAX_KEY_CHARS: usize = 255;

/// An idempotency key: 1 to 255 characters of printable ASCII.
///
/// `"8e03978e-40d5"`, the quoted string of the draft, and `8e03978e-40d5`, which is what most clients
/// send, are one key. Its `Debug` does not show it: who knows a key and can act for its principal can
/// read the answer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Box<str>);

/// Which forms of the header are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeySyntax {
    /// A string in quotes (RFC 9651 section 3.3.3) or a bare key: visible ASCII without
    /// `"`, `\`, `,` and `;`.
    #[default]
    Lenient,
    /// A string in quotes only, as the draft has it.
    Strict,
}

impl Key {
    /// The key itself, for code that sends or compares it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key that a field value gives.
    ///
    /// # Errors
    ///
    /// Each [`KeyError`] but `Repeated`.
    pub fn parse(value: &[u8], syntax: KeySyntax) -> Result<Self, KeyError> {
        let text = str::from_utf8(value).map_err(|_| KeyError::Malformed)?;
        let text = text.trim_matches([' ', '\t']);
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        // What is longer cannot become a key, not even if each of its characters was escaped.
        if text.len() > 2 * MAX_KEY_CHARS + 2 {
            return Err(KeyError::TooLong);
        }
        let key = if text.starts_with('"') {
            quoted(text)?
        } else if syntax == KeySyntax::Lenient && text.bytes().all(is_bare) {
            text.into()
        } else {
            return Err(KeyError::Malformed);
        };
        match key.len() {
            0 => Err(KeyError::Empty),
            1..=MAX_KEY_CHARS => Ok(Self(key)),
            _ => Err(KeyError::TooLong),
        }
    }

    /// The key of a request; `None` when it has none.
    pub(crate) fn of(headers: &HeaderMap, syntax: KeySyntax) -> Option<Result<Self, KeyError>> {
        let mut values = headers
            .get_all(IDEMPOTENCY_KEY)
            .iter()
            .map(HeaderValue::as_bytes);
        let value = values.next()?;
        Some(match values.next() {
            None => Self::parse(value, syntax),
            Some(_) => Err(KeyError::Repeated),
        })
    }
}

/// Parameters of the item are ignored: the draft defines none.
fn quoted(text: &str) -> Result<Box<str>, KeyError> {
    let take = |item: BareItemFromInput<'_>| {
        let key: Option<Box<str>> = match item {
            BareItemFromInput::String(string) => Some(string.as_str().into()),
            _ => None,
        };
        Ok::<_, Infallible>(parameter_visitor_with(Ignored, move |_| Ok(key)))
    };
    let key = Parser::new(text).parse_item_with_visitor(take);
    key.ok().flatten().ok_or(KeyError::Malformed)
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b';')
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} characters)", self.0.len())
    }
}
