//! A problem: one occurrence of a problem type, ready to be answered.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use crate::{
    BoxError, Challenge, ExtName, ProblemReport, ProblemType, Protocol, UnauthorizedType, UriRef,
    Violations, blank,
    grpc::{GrpcCode, trailers_only},
    json::{OpenObject, Text},
    render::json_response,
    report::Chain,
    status::required_header,
    violation,
};

/// One occurrence of a [`ProblemType`] (RFC 9457 §3), two words long.
///
/// What the client reads and what the log says are two things: [`with_detail`](Self::with_detail)
/// is for the client, [`with_source`](Self::with_source) for the log, and neither becomes the
/// other.
///
/// Any error that derives [`ToProblem`](crate::ToProblem) becomes a problem by `?`. Another one
/// does so only when it is said aloud, by [`internal`](crate::ResultExt::internal) or
/// [`problem`](crate::ResultExt::problem): nothing leaks by accident.
///
/// ```
/// use purlin_problem::{Problem, ResultExt, blank};
///
/// fn read_rate(text: &str) -> Result<u32, Problem> {
///     if text.is_empty() {
///         return Err(Problem::new(&blank::UNPROCESSABLE_ENTITY).with_detail("the rate is empty"));
///     }
///     text.parse::<u32>().internal() // 500; the reason goes to the log only
/// }
///
/// assert_eq!(read_rate("").unwrap_err().status(), 422);
/// assert_eq!(read_rate("x").unwrap_err().status(), 500);
/// ```
#[must_use = "a problem does nothing until it is returned"]
pub struct Problem(Repr);

enum Repr {
    Static(&'static ProblemType),
    Boxed(Box<Inner>),
}

struct Inner {
    ty: &'static ProblemType,
    document: OpenObject,
    // Most problems have none, and a map is most of what would be moved into the box.
    headers: Option<Box<HeaderMap>>,
    source: Option<BoxError>,
}

impl Problem {
    /// A problem that says what its type says. Allocates nothing.
    ///
    /// # Panics
    ///
    /// When the type is of status 401 or 405, whose header it could not have. Such types are to be
    /// had from [`UnauthorizedType::as_type`] and from lists of types only; a problem of them is
    /// made by [`unauthorized`](Self::unauthorized) and
    /// [`method_not_allowed`](Self::method_not_allowed).
    #[track_caller]
    pub const fn new(ty: &'static ProblemType) -> Self {
        assert!(
            required_header(ty.status()).is_none(),
            "this status needs a header of its own"
        );
        Self::with_header_to_come(ty)
    }

    /// Without the check for statuses that need a header: the caller adds it.
    pub(crate) const fn with_header_to_come(ty: &'static ProblemType) -> Self {
        Self(Repr::Static(ty))
    }

    /// 401 with the challenge that it must carry (RFC 9110 §15.5.2).
    pub fn unauthorized(ty: &'static UnauthorizedType, challenge: Challenge) -> Self {
        Self::with_header_to_come(ty.as_type()).with_challenge(challenge)
    }

    /// 405 with the methods that the resource does allow (RFC 9110 §15.5.6); none is an empty
    /// `Allow`, which the RFC permits.
    pub fn method_not_allowed<'a>(allow: impl IntoIterator<Item = &'a Method>) -> Self {
        let methods: Vec<&str> = allow.into_iter().map(Method::as_str).collect();
        let allow = HeaderValue::from_str(&methods.join(", "))
            .expect("a method is a token, and so fit for a header");
        Self::with_header_to_come(&blank::METHOD_NOT_ALLOWED).with_header(ALLOW, allow)
    }

    /// 500 that tells the client nothing; the error is for the log.
    pub fn internal(source: impl Into<BoxError>) -> Self {
        Self::new(&blank::INTERNAL_SERVER_ERROR).with_source(source)
    }

    /// 422 with what is wrong with the request, by the type [`violation::VALIDATION`].
    pub fn invalid(violations: Violations) -> Self {
        Self::new(&violation::VALIDATION).with_violations(violations)
    }

    /// What the client reads about this occurrence: help to put it right, not debugging
    /// information (RFC 9457 §3.1.4).
    ///
    /// Takes anything that can be displayed, also `format_args!`, and writes it without building
    /// a `String`.
    pub fn with_detail(self, detail: impl fmt::Display) -> Self {
        self.with_member("detail", &Text(detail))
    }

    /// Identifies this occurrence (RFC 9457 §3.1.5).
    #[expect(clippy::needless_pass_by_value, reason = "a builder takes its parts")]
    pub fn with_instance(self, instance: UriRef) -> Self {
        self.with_member("instance", instance.as_str())
    }

    /// Adds an extension member (RFC 9457 §3.2) beside the standard ones; a second value under
    /// the same name replaces the first.
    ///
    /// A value that cannot be written as JSON, such as a map with keys that are no strings, is
    /// left out, and an error is logged.
    pub fn with_ext<T: Serialize + ?Sized>(self, name: ExtName, value: &T) -> Self {
        self.with_member(name.as_str(), value)
    }

    /// Adds the violations as `errors`, and their number beyond the cap as `errors_omitted`.
    #[expect(clippy::needless_pass_by_value, reason = "a builder takes its parts")]
    pub fn with_violations(self, violations: Violations) -> Self {
        let problem = self.with_member("errors", &violations);
        match violations.omitted() {
            0 => problem,
            omitted => problem.with_member("errors_omitted", &omitted),
        }
    }

    /// Adds a header field to the response, after those that it has under that name.
    ///
    /// `Content-Type` stays what the problem is; `Cache-Control` replaces the default `no-store`.
    pub fn with_header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.edit(|inner| {
            inner.headers.get_or_insert_default().append(name, value);
        })
    }

    /// Adds a further challenge to a 401, or one to a problem of another status
    /// (RFC 9110 §11.6.1 allows it).
    pub fn with_challenge(self, challenge: Challenge) -> Self {
        self.with_header(WWW_AUTHENTICATE, challenge.into_value())
    }

    /// Says when to come back, in whole seconds, rounded up (RFC 9110 §10.2.3).
    pub fn with_retry_after(self, delay: Duration) -> Self {
        let seconds = delay
            .as_secs()
            .saturating_add(u64::from(delay.subsec_nanos() > 0));
        self.edit(|inner| {
            inner
                .headers
                .get_or_insert_default()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        })
    }

    /// Keeps the error behind the problem for the log. It is never serialised.
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        self.edit(|inner| inner.source = Some(source.into()))
    }

    /// The type.
    #[must_use]
    pub fn problem_type(&self) -> &'static ProblemType {
        match &self.0 {
            Repr::Static(ty) => ty,
            Repr::Boxed(inner) => inner.ty,
        }
    }

    /// The status, 400 to 599.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.problem_type().status()
    }

    /// The header fields given so far, without `Content-Type` and the default `Cache-Control`.
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        match &self.0 {
            Repr::Static(_) => None,
            Repr::Boxed(inner) => inner.headers.as_deref(),
        }
    }

    /// The error behind the problem.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &self.0 {
            Repr::Static(_) => None,
            Repr::Boxed(inner) => inner.source.as_deref(),
        }
    }

    /// The document in JSON (RFC 9457 §3).
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        match &self.0 {
            Repr::Static(ty) => ty.document().to_vec(),
            Repr::Boxed(inner) => inner.document.closed(),
        }
    }

    /// The document in JSON, as [`to_json`](Self::to_json) gives it but without a copy.
    #[must_use]
    #[inline]
    pub fn into_json(self) -> Vec<u8> {
        match self.0 {
            Repr::Static(ty) => ty.document().to_vec(),
            Repr::Boxed(inner) => inner.document.close(),
        }
    }

    /// The response: status line, headers and the document as `application/problem+json`.
    ///
    /// `Cache-Control: no-store` is set unless the problem has a `Cache-Control` of its own. For a
    /// problem that is nothing but its type this takes two allocations, both of the header map.
    #[must_use]
    pub fn into_http(self) -> http::Response<Bytes> {
        let (ty, headers, document, source) = match self.0 {
            Repr::Static(ty) => (
                ty,
                HeaderMap::with_capacity(2),
                Bytes::from_static(ty.document()),
                None,
            ),
            Repr::Boxed(inner) => {
                let Inner {
                    ty,
                    document,
                    headers,
                    source,
                } = *inner;
                (
                    ty,
                    headers.map_or_else(|| HeaderMap::with_capacity(2), |headers| *headers),
                    Bytes::from(document.close()),
                    source,
                )
            }
        };
        let mut response = json_response(ty.status(), headers, document);
        // Without a report a layer would take the usual gRPC code of the status.
        if source.is_some() || ty.grpc_code() != GrpcCode::of_problem(ty.status()) {
            response
                .extensions_mut()
                .insert(ProblemReport::new(ty, source));
        }
        response
    }

    /// The response in the words of the client: for gRPC a trailers-only one with the code of the
    /// type and the detail, or else the title, as its message.
    #[must_use]
    pub fn into_http_for(self, protocol: &Protocol) -> http::Response<Bytes> {
        let Protocol::Grpc(content_type) = protocol else {
            return self.into_http();
        };
        let code = self.problem_type().grpc_code();
        let message = self.message();
        let (mut head, _) = self.into_http().into_parts();
        trailers_only(&mut head, content_type.clone(), code, &message);
        http::Response::from_parts(head, Bytes::new())
    }

    /// The detail, or else the title.
    pub(crate) fn message(&self) -> String {
        crate::ProblemDetails::from_json(&self.to_json())
            .ok()
            .and_then(|document| document.detail)
            .unwrap_or_else(|| self.problem_type().title().to_owned())
    }

    /// What is left of the problem beside its type and message.
    #[cfg(feature = "tonic")]
    pub(crate) fn into_headers_and_source(self) -> (HeaderMap, Option<BoxError>) {
        match self.0 {
            Repr::Static(_) => (HeaderMap::new(), None),
            Repr::Boxed(inner) => (
                inner.headers.map(|headers| *headers).unwrap_or_default(),
                inner.source,
            ),
        }
    }

    fn with_member<T: Serialize + ?Sized>(self, name: &str, value: &T) -> Self {
        self.edit(|inner| inner.document.put(name, value))
    }

    /// As [`push_member`](Self::push_member), for text that is yet to be formatted.
    #[cfg(feature = "derive")]
    pub(crate) fn push_text(self, name: &'static str, text: fmt::Arguments<'_>) -> Self {
        self.edit(|inner| inner.document.push_text(name, text))
    }

    /// As [`with_member`](Self::with_member), for a name that is known not to stand there yet.
    #[cfg(feature = "derive")]
    pub(crate) fn push_member<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Self {
        self.edit(|inner| inner.document.push(name, value))
    }

    #[inline]
    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Repr::Static(ty) = self.0 {
            self.0 = Repr::Boxed(Box::new(Inner {
                ty,
                document: OpenObject::of(ty),
                headers: None,
                source: None,
            }));
        }
        if let Repr::Boxed(inner) = &mut self.0 {
            change(inner);
        }
        self
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Problem");
        out.field("document", &String::from_utf8_lossy(&self.to_json()));
        if let Some(headers) = self.headers() {
            // Names only: values may be credentials.
            out.field("headers", &headers.keys().collect::<Vec<_>>());
        }
        if let Some(source) = self.source() {
            out.field("source", &Chain(source).to_string());
        }
        out.finish()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ty = self.problem_type();
        write!(f, "{} {}", ty.status().as_u16(), ty.title())
    }
}

const _: () = assert!(size_of::<Problem>() <= 16, "a problem is two words");
