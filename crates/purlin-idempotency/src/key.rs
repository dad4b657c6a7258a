use std::{convert::Infallible, fmt};

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{
    BareItemFromInput, Parser,
    visitor::{Ignored, parameter_visitor_with},
};

use crate::KeyError;

/// The header field of draft-ietf-httpapi-idempotency-key-header.
pub(crate) static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

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
            .get_all(&IDEMPOTENCY_KEY)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<String, KeyError> {
        let key = Key::parse(value.as_bytes(), KeySyntax::Lenient);
        // What is in quotes is the same key for the strict.
        if value.contains('"') {
            assert_eq!(Key::parse(value.as_bytes(), KeySyntax::Strict), key);
        }
        key.map(|key| key.as_str().to_owned())
    }

    #[test]
    fn strings_of_rfc_9651() {
        for (value, key) in [
            (r#""a""#, "a"),
            (
                r#""8e03978e-40d5-43e8-bc93-6894a57f9324""#,
                "8e03978e-40d5-43e8-bc93-6894a57f9324",
            ),
            (r#""with space""#, "with space"),
            (r#"" ""#, " "),
            (r#"" padded ""#, " padded "),
            (r#""a\"b""#, "a\"b"),
            (r#""a\\b""#, "a\\b"),
            (r#""\\\"""#, "\\\""),
            (r#""a,b;c=d""#, "a,b;c=d"),
            (r#""~!@#$%^&*()[]{}<>/?|`'""#, "~!@#$%^&*()[]{}<>/?|`'"),
            // Around it, and what the draft does not define.
            (" \t\"a\"\t ", "a"),
            (r#""a";v=1"#, "a"),
            (r#""a"; v="x"; w"#, "a"),
            (r#""a";v=1.5;v=:aGk=:"#, "a"),
        ] {
            assert_eq!(parse(value).as_deref(), Ok(key), "{value}");
        }
    }

    #[test]
    fn what_is_not_a_string_in_quotes() {
        for value in [
            r#"""#,
            r#""unterminated"#,
            r#""a\"#,
            r#""a\""#,
            r#""a\n""#,
            r#""a\u0041""#,
            r#""a""b""#,
            r#""a" "b""#,
            r#""a", "b""#,
            r#""a"b"#,
            r#"a"b""#,
            r#""a";"#,
            r#""a";V=1"#,
            "\"a\tb\"",
            "\"a\0b\"",
            "\"a\nb\"",
            "\"a\x7fb\"",
            "\"ä\"",
            "\"a\u{a0}b\"",
            r#"'a"'"#,
        ] {
            assert_eq!(parse(value), Err(KeyError::Malformed), "{value:?}");
        }
        for value in [&b"\"\xff\""[..], b"\xc3\x28", b"\x80", b"\xed\xa0\x80"] {
            for syntax in [KeySyntax::Lenient, KeySyntax::Strict] {
                assert_eq!(Key::parse(value, syntax), Err(KeyError::Malformed));
            }
        }
    }

    #[test]
    fn bare_keys_are_for_the_lenient() {
        for value in [
            "8e03978e-40d5",
            "A.b_c:d/e+f=",
            "42",
            "?1",
            ":aGk=:",
            "(a)",
            "@1700000000",
            "*",
            "'quoted'",
            "\t a \t",
        ] {
            assert_eq!(parse(value).as_deref(), Ok(value.trim_ascii()), "{value}");
            let strict = Key::parse(value.as_bytes(), KeySyntax::Strict);
            assert_eq!(strict, Err(KeyError::Malformed), "{value}");
        }
        for value in [
            "a b", "a,b", "a;b", "a\\b", "a\"b", "ä", "a\tb", "a\0", "\x7f", "\n", "a\r\nb",
        ] {
            assert_eq!(parse(value), Err(KeyError::Malformed), "{value:?}");
        }
    }

    #[test]
    fn both_forms_are_one_key() {
        let parse = |value: &[u8]| Key::parse(value, KeySyntax::Lenient).unwrap();
        assert_eq!(parse(b"8e03978e"), parse(b"\"8e03978e\""));
        assert_ne!(parse(b"8e03978e"), parse(b"8E03978E"));
    }

    #[test]
    fn empty_is_said_to_be_empty() {
        for value in ["", " ", "\t \t", "\"\"", " \"\" ", "\"\";a=1"] {
            assert_eq!(parse(value), Err(KeyError::Empty), "{value:?}");
        }
    }

    #[test]
    fn the_length_counts_characters_of_the_key() {
        let a = |n: usize| "a".repeat(n);
        let quotes = |n: usize| format!("\"{}\"", "\\\"".repeat(n));
        assert_eq!(parse(&a(255)), Ok(a(255)));
        assert_eq!(parse(&format!("\"{}\"", a(255))), Ok(a(255)));
        // Each character of it escaped.
        assert_eq!(parse(&quotes(255)), Ok("\"".repeat(255)));
        for long in [
            a(256),
            format!("\"{}\"", a(256)),
            quotes(256),
            a(10_240),
            format!("\"{}\"", a(10_240)),
            format!("\"{}", a(10_240)),
            format!("\"{}\"", "\\".repeat(10_240)),
        ] {
            assert_eq!(parse(&long), Err(KeyError::TooLong), "{} bytes", long.len());
        }
        assert_eq!(parse(&format!("{}ä", a(254))), Err(KeyError::Malformed));
    }

    #[test]
    fn a_request_has_one_key_or_none() {
        let of = |values: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("Idempotency-Key", HeaderValue::from_bytes(value).unwrap());
            }
            Key::of(&headers, KeySyntax::Lenient)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[b"a"]).unwrap().unwrap().as_str(), "a");
        assert_eq!(of(&[b""]), Some(Err(KeyError::Empty)));
        assert_eq!(of(&[b"\xe4"]), Some(Err(KeyError::Malformed)));
        // Even when they are equal.
        for two in [[&b"a"[..], b"a"], [b"a", b""], [b"\"", b"\""]] {
            assert_eq!(of(&two), Some(Err(KeyError::Repeated)));
        }
    }

    #[test]
    fn debug_does_not_show_it() {
        let key = Key::parse(b"secret", KeySyntax::Lenient).unwrap();
        assert_eq!(format!("{key:?}"), "Key(6 characters)");
    }
}
