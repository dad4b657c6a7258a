//! What is wrong with a request, point by point.

#[cfg(feature = "axum")]
pub(crate) mod frame;
#[cfg(feature = "garde")]
mod garde;
#[cfg(any(feature = "garde", feature = "validator"))]
mod names;
#[cfg(any(feature = "garde", feature = "validator"))]
mod place;
#[cfg(feature = "axum")]
pub(crate) mod serde_error;
#[cfg(feature = "validator")]
mod validator;

use std::borrow::Cow;

use http::{HeaderName, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Serialize, Serializer, ser::SerializeMap};

#[cfg(any(feature = "garde", feature = "validator"))]
pub use self::names::{Names, WireField, WireNames};
use crate::ProblemType;

/// The request is well-formed, and its content is not acceptable: `errors` says where and why.
pub static VALIDATION: ProblemType = ProblemType::slug(
    StatusCode::UNPROCESSABLE_ENTITY,
    "validation",
    "The request is not valid",
)
.with_description(
    "The request could be read, but values in it are missing, malformed or out of range. Each item \
     of `errors` names one of them: `pointer` is a JSON Pointer into the body, `parameter` a query, \
     path or form parameter, `header` a header field. Correct them and send the request again.",
);

/// The parameters in the query are not acceptable: `errors` says which and why.
pub static PARAMETERS: ProblemType = ProblemType::slug(
    StatusCode::BAD_REQUEST,
    "invalid-parameters",
    "The parameters are not valid",
)
.with_description(
    "Parameters in the query are missing, malformed, unknown or out of range. Each item of \
     `errors` names one of them as `parameter`. Correct them and send the request again.",
);

/// How many violations a problem lists when nothing else is said.
pub const DEFAULT_MAX_VIOLATIONS: usize = 100;

/// Several [`Violation`]s, capped, as the member `errors`.
///
/// ```
/// use purlin_problem::{JsonPointer, Problem, Violation, Violations};
///
/// let mut violations = Violations::new();
/// let items = JsonPointer::root().key("items");
/// violations.push(Violation::new("must be 1 or more").with_code("range").at_pointer(
///     items.index(0).key("quantity"),
/// ));
/// violations.push(Violation::new("must be a date").at_parameter("since"));
///
/// let json = Problem::invalid(violations).to_json();
/// assert!(String::from_utf8_lossy(&json).contains(r##""pointer":"#/items/0/quantity""##));
/// ```
#[derive(Clone, Debug)]
pub struct Violations {
    items: Vec<Violation>,
    max: usize,
    omitted: usize,
}

impl Violations {
    /// None yet; up to [`DEFAULT_MAX_VIOLATIONS`] are kept.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            max: DEFAULT_MAX_VIOLATIONS,
            omitted: 0,
        }
    }

    /// Keeps no more than `max`, so that a hostile request does not get a long answer.
    #[must_use]
    pub fn with_max(mut self, max: usize) -> Self {
        self.max = max;
        self.omitted += self.items.len().saturating_sub(max);
        self.items.truncate(max);
        self
    }

    /// Adds one; beyond the cap it is counted, not kept.
    pub fn push(&mut self, violation: Violation) {
        if self.items.len() < self.max {
            self.items.push(violation);
        } else {
            self.omitted += 1;
        }
    }

    /// As [`push`](Self::push), without making what is not kept.
    #[cfg(any(feature = "garde", feature = "validator"))]
    fn push_with(&mut self, violation: impl FnOnce() -> Violation) {
        if self.items.len() < self.max {
            self.items.push(violation());
        } else {
            self.omitted += 1;
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty() && self.omitted == 0
    }

    /// How many are kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// How many were beyond the cap.
    #[must_use]
    pub const fn omitted(&self) -> usize {
        self.omitted
    }

    /// Those that are kept, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.items.iter()
    }

    /// `Ok` when nothing is wrong, else the 422 that says all of it.
    ///
    /// # Errors
    ///
    /// A problem of the type [`VALIDATION`].
    pub fn into_result(self) -> Result<(), crate::Problem> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(crate::Problem::invalid(self))
        }
    }
}

impl Default for Violations {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        let mut violations = Self::new();
        violations.push(violation);
        violations
    }
}

impl FromIterator<Violation> for Violations {
    fn from_iter<I: IntoIterator<Item = Violation>>(items: I) -> Self {
        let mut violations = Self::new();
        violations.extend(items);
        violations
    }
}

impl Extend<Violation> for Violations {
    fn extend<I: IntoIterator<Item = Violation>>(&mut self, items: I) {
        items.into_iter().for_each(|violation| self.push(violation));
    }
}

impl Serialize for Violations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.items)
    }
}

/// One thing that is wrong, and where: an item of `errors`.
///
/// The members are those of RFC 9457's own example (`detail`, `pointer`) with the `code`,
/// `parameter` and `header` of `SmartBear`'s problem registry. The text must not repeat the value
/// that was sent, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    detail: Cow<'static, str>,
    code: Option<Cow<'static, str>>,
    at: At,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    Request,
    Pointer(JsonPointer),
    Parameter(Cow<'static, str>),
    Header(HeaderName),
}

impl Violation {
    /// Something is wrong with the request as a whole.
    #[must_use]
    pub fn new(detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            detail: detail.into(),
            code: None,
            at: At::Request,
        }
    }

    /// Names the rule that is broken, for programs.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// It is in the JSON body.
    #[must_use]
    pub fn at_pointer(mut self, pointer: JsonPointer) -> Self {
        self.at = At::Pointer(pointer);
        self
    }

    /// It is in a parameter of the query or the path.
    #[must_use]
    pub fn at_parameter(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.at = At::Parameter(name.into());
        self
    }

    /// It is in a header field.
    #[must_use]
    pub fn at_header(mut self, name: HeaderName) -> Self {
        self.at = At::Header(name);
        self
    }

    /// The text for people.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The name of the rule.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The place in the JSON body.
    #[must_use]
    pub const fn pointer(&self) -> Option<&JsonPointer> {
        match &self.at {
            At::Pointer(pointer) => Some(pointer),
            _ => None,
        }
    }

    /// The name of the parameter of the query, path or form.
    #[must_use]
    pub fn parameter(&self) -> Option<&str> {
        match &self.at {
            At::Parameter(name) => Some(name),
            _ => None,
        }
    }

    /// The header field.
    #[must_use]
    pub const fn header(&self) -> Option<&HeaderName> {
        match &self.at {
            At::Header(name) => Some(name),
            _ => None,
        }
    }
}

impl Serialize for Violation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("detail", &self.detail)?;
        if let Some(code) = &self.code {
            map.serialize_entry("code", code)?;
        }
        match &self.at {
            At::Request => {}
            At::Pointer(pointer) => map.serialize_entry("pointer", pointer.as_fragment())?,
            At::Parameter(name) => map.serialize_entry("parameter", name)?,
            At::Header(name) => map.serialize_entry("header", name.as_str())?,
        }
        map.end()
    }
}

/// What RFC 3986 §3.5 does not allow in a fragment, and `%` itself.
const FRAGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A JSON Pointer (RFC 6901) in its URI fragment form (§6), as the example of RFC 9457 has it:
/// `#/items/0/quantity`.
///
/// Keys are the names on the wire, not those of Rust fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JsonPointer(String);

impl JsonPointer {
    /// The whole document, `#`.
    #[must_use]
    pub fn root() -> Self {
        Self("#".to_owned())
    }

    /// A member of the object that `self` points to.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        let token = name.replace('~', "~0").replace('/', "~1");
        Self(format!(
            "{}/{}",
            self.0,
            utf8_percent_encode(&token, FRAGMENT)
        ))
    }

    /// An item of the array that `self` points to, from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }

    /// The text, beginning with `#`.
    #[must_use]
    pub fn as_fragment(&self) -> &str {
        &self.0
    }
}
