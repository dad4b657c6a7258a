//! The client side: problems as they come from anybody.

use std::fmt;

use http::{HeaderMap, StatusCode, header};
use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::{ProblemType, ext_name::is_reserved, json::Members, status::phrase};

/// The largest document that [`ProblemDetails::parse`] reads, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// A problem details document as a client reads it, by the rules of RFC 9457 §3.1.
///
/// Reading is lenient, since the document may come from anybody: a member of the wrong JSON type
/// is ignored, a missing `type` is `about:blank`, unknown members are kept as extensions. A member
/// that is JSON by its grammar but cannot be held (a number beyond `f64`, a lone surrogate,
/// nesting beyond 128 levels) is ignored alone; of two members with one name the last counts; a
/// byte order mark is passed over (RFC 8259 §8.1).
///
/// ```
/// use purlin_problem::ProblemDetails;
///
/// let details = ProblemDetails::from_json(
///     br#"{"type": 42, "status": "403", "title": "No", "balance": 30}"#,
/// )?;
/// assert_eq!(details.type_uri(), "about:blank");
/// assert_eq!(details.status, None);
/// assert_eq!(details.title.as_deref(), Some("No"));
/// assert_eq!(details.extension::<u32>("balance"), Some(30));
/// # Ok::<_, purlin_problem::ParseProblemError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ProblemDetails {
    /// `type`, as it was sent; [`type_uri`](Self::type_uri) has the default.
    pub type_uri: Option<String>,
    /// `title`.
    pub title: Option<String>,
    /// `status`, which is advisory: the status line decides (RFC 9457 §3.1.2).
    pub status: Option<u16>,
    /// `detail`.
    pub detail: Option<String>,
    /// `instance`.
    pub instance: Option<String>,
    /// All other members.
    pub extensions: Map<String, Value>,
}

impl ProblemDetails {
    /// What a response that is no problem says by its status alone: `about:blank`.
    #[must_use]
    pub fn blank(status: StatusCode) -> Self {
        Self {
            type_uri: Some("about:blank".to_owned()),
            title: Some(phrase(status).to_owned()),
            status: Some(status.as_u16()),
            ..Self::default()
        }
    }

    /// Reads the body of a response whose content type is `application/problem+json`, with or
    /// without parameters.
    ///
    /// # Errors
    ///
    /// [`ParseProblemError`]: another content type, a body over [`MAX_DOCUMENT_BYTES`], or no JSON
    /// object.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, ParseProblemError> {
        if !is_media_type(headers, crate::PROBLEM_JSON) {
            return Err(ParseProblemError(Kind::ContentType));
        }
        Self::from_json(body)
    }

    /// Reads a document, whatever its content type was.
    ///
    /// # Errors
    ///
    /// [`ParseProblemError`]: over [`MAX_DOCUMENT_BYTES`], or no JSON object.
    pub fn from_json(document: &[u8]) -> Result<Self, ParseProblemError> {
        Self::read(document).map(|(details, _)| details)
    }

    /// The same, and whether the document is tidy: without a byte order mark, with every name once
    /// and with values that all could be read.
    pub(crate) fn read(document: &[u8]) -> Result<(Self, bool), ParseProblemError> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(ParseProblemError(Kind::TooLarge));
        }
        let text = without_mark(document);
        let read: Members<'_> =
            serde_json::from_slice(text).map_err(|error| ParseProblemError(Kind::Json(error)))?;
        let mut tidy = text.len() == document.len();
        let mut members = Map::new();
        for (name, value) in read.0 {
            if let Ok(value) = serde_json::from_str::<Value>(value.get()) {
                tidy &= members.insert(name, value).is_none();
            } else {
                members.remove(&name);
                tidy = false;
            }
        }
        // RFC 9457 §3.1: a value of the wrong type is as good as none.
        let mut text = |name| match members.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (type_uri, title) = (text("type"), text("title"));
        let (detail, instance) = (text("detail"), text("instance"));
        let status = members.remove("status").as_ref().and_then(status_number);
        let details = Self {
            type_uri,
            title,
            status,
            detail,
            instance,
            extensions: members,
        };
        Ok((details, tidy))
    }

    /// The type, `about:blank` when there is none (RFC 9457 §4.2.1). It may be relative to the
    /// URI of the request.
    #[must_use]
    pub fn type_uri(&self) -> &str {
        self.type_uri.as_deref().unwrap_or("about:blank")
    }

    /// Whether the problem is of that type.
    ///
    /// A type named by a slug matches under every base, as long as the slug is the last segment of
    /// the path, or the fragment. `about:blank` says nothing itself, so its status must be the same
    /// too. Otherwise the references must be equal to the letter: RFC 9457 §3.1.1 compares them
    /// after resolution, and this has no base to resolve against.
    #[must_use]
    pub fn is(&self, ty: &ProblemType) -> bool {
        match ty.slug_name() {
            Some(slug) => self.type_uri().rsplit(['/', '#']).next() == Some(slug),
            None => {
                self.type_uri() == ty.uri()
                    && (ty.uri() != "about:blank" || self.status == Some(ty.status().as_u16()))
            }
        }
    }

    /// An extension member, when it is there and of that Rust type.
    #[must_use]
    pub fn extension<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.extensions.get(name)?).ok()
    }

    /// All extension members as one Rust type, typically a struct.
    ///
    /// # Errors
    ///
    /// What the type's `Deserialize` says of them.
    pub fn extensions<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.extensions)
    }
}

/// The document without the byte order mark that it may begin with.
pub(crate) fn without_mark(document: &[u8]) -> &[u8] {
    document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document)
}

/// Numbers such as `403.0` are numbers too; what is no status code is ignored.
fn status_number(value: &Value) -> Option<u16> {
    let number = value.as_f64()?;
    (number.fract() == 0.0 && (100.0..600.0).contains(&number)).then_some(number as u16)
}

/// Whether the content type is `essence`, parameters aside (RFC 9110 §8.3.1).
pub(crate) fn is_media_type(headers: &HeaderMap, essence: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(';')
                .next()
                .is_some_and(|found| found.trim().eq_ignore_ascii_case(essence))
        })
}

impl Serialize for ProblemDetails {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(value) = &self.type_uri {
            map.serialize_entry("type", value)?;
        }
        if let Some(value) = &self.title {
            map.serialize_entry("title", value)?;
        }
        if let Some(value) = &self.status {
            map.serialize_entry("status", value)?;
        }
        if let Some(value) = &self.detail {
            map.serialize_entry("detail", value)?;
        }
        if let Some(value) = &self.instance {
            map.serialize_entry("instance", value)?;
        }
        for (name, value) in self
            .extensions
            .iter()
            .filter(|(name, _)| !is_reserved(name))
        {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl fmt::Display for ProblemDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(status) = self.status {
            write!(f, "{status} ")?;
        }
        write!(
            f,
            "{}",
            self.title.as_deref().unwrap_or_else(|| self.type_uri())
        )?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ProblemDetails {}

/// The response is not a problem details document.
#[derive(Debug)]
pub struct ParseProblemError(Kind);

#[derive(Debug)]
enum Kind {
    ContentType,
    TooLarge,
    Json(serde_json::Error),
}

#[cfg(feature = "reqwest")]
impl ParseProblemError {
    pub(crate) const fn too_large() -> Self {
        Self(Kind::TooLarge)
    }
}

impl fmt::Display for ParseProblemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::ContentType => f.write_str("the content type is not application/problem+json"),
            Kind::TooLarge => write!(f, "the document is larger than {MAX_DOCUMENT_BYTES} bytes"),
            Kind::Json(_) => f.write_str("the document is not a JSON object"),
        }
    }
}

impl std::error::Error for ParseProblemError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Json(error) => Some(error),
            Kind::ContentType | Kind::TooLarge => None,
        }
    }
}
