//! What the code that `#[derive(Problem)]` writes calls. Not for use by hand: names and signatures
//! follow the derive of the same version.

use std::{fmt, time::Duration};

pub use std::vec::Vec;

use http::header::RETRY_AFTER;
pub use http::{HeaderName, HeaderValue, Method, StatusCode};
pub use serde::Serialize;

use crate::{Challenge, ExtName, Problem, ProblemType, UnauthorizedType, blank, status::phrase};

/// The status of a literal that the derive has checked.
#[must_use]
pub const fn status(code: u16) -> StatusCode {
    match StatusCode::from_u16(code) {
        Ok(status) => status,
        Err(_) => panic!("a status has three digits"),
    }
}

/// `about:blank` with the status 401.
#[must_use]
pub const fn unauthorized() -> UnauthorizedType {
    UnauthorizedType::new("about:blank", phrase(StatusCode::UNAUTHORIZED))
}

/// The type of every [`Problem::method_not_allowed`].
#[must_use]
pub fn method_not_allowed_type() -> &'static ProblemType {
    &blank::METHOD_NOT_ALLOWED
}

/// A type that the user named, of either kind.
pub trait NamedType {
    /// The type as others see it.
    fn named(&'static self) -> &'static ProblemType;
}

impl NamedType for ProblemType {
    fn named(&'static self) -> &'static ProblemType {
        self
    }
}

impl NamedType for UnauthorizedType {
    fn named(&'static self) -> &'static ProblemType {
        self.as_type()
    }
}

/// A type that the user named and that needs no challenge.
#[diagnostic::on_unimplemented(
    message = "`{Self}` alone does not make a problem",
    label = "a type for 401 needs a challenge: add `challenge = \"Bearer\"`; any other is a `ProblemType`"
)]
pub trait CompleteType {
    /// The type itself.
    fn complete(&'static self) -> &'static ProblemType;
}

impl CompleteType for ProblemType {
    fn complete(&'static self) -> &'static ProblemType {
        self
    }
}

/// A field under `#[problem(allow)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the methods that are allowed",
    label = "make this a `Vec<Method>`, an array or a slice of methods"
)]
pub trait AllowField {
    /// The methods.
    fn methods(&self) -> &[Method];
}

impl AllowField for [Method] {
    fn methods(&self) -> &[Method] {
        self
    }
}

impl<const N: usize> AllowField for [Method; N] {
    fn methods(&self) -> &[Method] {
        self
    }
}

impl AllowField for Vec<Method> {
    fn methods(&self) -> &[Method] {
        self
    }
}

impl<T: AllowField + ?Sized> AllowField for &T {
    fn methods(&self) -> &[Method] {
        (*self).methods()
    }
}

/// A problem of the type. The derive has checked that the header that the status needs is added.
pub const fn of_type(ty: &'static ProblemType) -> Problem {
    Problem::with_header_to_come(ty)
}

/// Adds the detail. The derive gives at most one, so nothing is looked up.
#[inline]
pub fn with_detail(problem: Problem, detail: fmt::Arguments<'_>) -> Problem {
    match detail.as_str() {
        Some(text) => problem.push_member("detail", text),
        None => problem.push_text("detail", detail),
    }
}

/// Adds an extension. The derive gives each name once, so nothing is looked up.
pub fn with_ext<T: Serialize + ?Sized>(problem: Problem, name: ExtName, value: &T) -> Problem {
    problem.push_member(name.as_str(), value)
}

/// Adds a copy of the challenge in a field.
pub fn with_challenge(problem: Problem, challenge: &Challenge) -> Problem {
    problem.with_challenge(challenge.clone())
}

/// A field under `#[problem(header = "…")]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a header field of a problem",
    label = "make this a `HeaderValue` or an `Option<HeaderValue>`"
)]
pub trait HeaderField {
    /// Adds the header, or nothing for `None`.
    fn add_to(&self, problem: Problem, name: HeaderName) -> Problem;
}

impl HeaderField for HeaderValue {
    fn add_to(&self, problem: Problem, name: HeaderName) -> Problem {
        problem.with_header(name, self.clone())
    }
}

impl<T: HeaderField> HeaderField for Option<T> {
    fn add_to(&self, problem: Problem, name: HeaderName) -> Problem {
        match self {
            Some(value) => value.add_to(problem, name),
            None => problem,
        }
    }
}

/// A field under `#[problem(header = "retry-after")]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the `Retry-After` of a problem",
    label = "make this a `Duration`, a `HeaderValue` or an `Option` of one of them"
)]
pub trait RetryAfterField {
    /// Adds the header, or nothing for `None`.
    fn add_to(&self, problem: Problem) -> Problem;
}

impl RetryAfterField for Duration {
    fn add_to(&self, problem: Problem) -> Problem {
        problem.with_retry_after(*self)
    }
}

impl RetryAfterField for HeaderValue {
    fn add_to(&self, problem: Problem) -> Problem {
        problem.with_header(RETRY_AFTER, self.clone())
    }
}

impl<T: RetryAfterField> RetryAfterField for Option<T> {
    fn add_to(&self, problem: Problem) -> Problem {
        match self {
            Some(delay) => delay.add_to(problem),
            None => problem,
        }
    }
}

/// Lists each type once: two paths may name one static, and two transparent variants may hold
/// errors that share a type.
pub fn add_types(
    list: &mut Vec<&'static ProblemType>,
    more: impl IntoIterator<Item = &'static ProblemType>,
) {
    for ty in more {
        if !list.iter().any(|listed| std::ptr::eq(*listed, ty)) {
            list.push(ty);
        }
    }
}
