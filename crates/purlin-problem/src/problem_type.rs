//! Problem types: what kind of problem it is, written down once as a constant.

use std::fmt;

use http::StatusCode;

use crate::{
    grpc::GrpcCode,
    status::{is_error, phrase, required_header},
    uri_ref::is_uri_reference,
};

/// The longest document of a type alone, in bytes: URI, title, status and punctuation.
const DOCUMENT_BYTES: usize = 512;
const OPEN: &str = "{\"type\":\"";
const BEFORE_TITLE: &str = "\",\"title\":\"";
const BEFORE_STATUS: &str = "\",\"status\":";

/// Where types named by a slug live under the service itself, until a
/// [`ProblemLayer`](crate::ProblemLayer) is given an absolute base.
pub(crate) const SLUG_BASE: &str = "/problems/";

/// One kind of problem: its URI reference, title and status (RFC 9457 §4), as a constant.
///
/// The JSON document is put together at compile time, so a problem without further members
/// allocates nothing for its body. Declare types as `static`s:
///
/// ```
/// use http::StatusCode;
/// use purlin_problem::{Problem, ProblemType};
///
/// /// Named by a slug: `/problems/out-of-stock`, where the catalogue can be mounted.
/// static OUT_OF_STOCK: ProblemType =
///     ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock")
///         .with_description("Fewer items are in stock than were ordered.");
///
/// let problem = Problem::new(&OUT_OF_STOCK).with_detail("2 left, 3 ordered");
/// assert_eq!(problem.status(), 409);
/// ```
///
/// A status that is no error, a malformed reference, or a status that needs a header of its own
/// does not compile:
///
/// ```compile_fail
/// # use {http::StatusCode, purlin_problem::ProblemType};
/// static TYPE: ProblemType = ProblemType::new(StatusCode::OK, "https://example.com/a", "A");
/// ```
///
/// ```compile_fail
/// # use {http::StatusCode, purlin_problem::ProblemType};
/// static TYPE: ProblemType = ProblemType::new(StatusCode::CONFLICT, "not a uri", "A");
/// ```
///
/// ```compile_fail
/// # use {http::StatusCode, purlin_problem::ProblemType};
/// // 401 needs `WWW-Authenticate`: that is `UnauthorizedType`.
/// static TYPE: ProblemType = ProblemType::slug(StatusCode::UNAUTHORIZED, "who", "Who are you?");
/// ```
#[derive(Clone)]
pub struct ProblemType {
    document: [u8; DOCUMENT_BYTES],
    document_bytes: usize,
    uri_bytes: usize,
    is_slug: bool,
    title: &'static str,
    status: StatusCode,
    grpc: GrpcCode,
    description: &'static str,
    headers: &'static [&'static str],
}

impl ProblemType {
    /// A type identified by any URI reference. RFC 9457 §3.1.1 recommends an absolute one that
    /// leads to human-readable documentation.
    ///
    /// # Panics
    ///
    /// At compile time in a `const` or `static`, else at run time: when the status is not 400 to
    /// 599; when it is 401, 405, 407 or 426, which RFC 9110 allows only with a header (see
    /// [`UnauthorizedType`] and [`Problem::method_not_allowed`](crate::Problem::method_not_allowed));
    /// when `uri` is not a URI reference; when the title has control characters; when URI and
    /// title exceed some 450 bytes together.
    #[must_use]
    #[track_caller]
    pub const fn new(status: StatusCode, uri: &'static str, title: &'static str) -> Self {
        assert!(
            required_header(status).is_none(),
            "this status needs a header of its own"
        );
        Self::unchecked("", uri, title, status)
    }

    /// A type of the service itself, at `/problems/<slug>`; a
    /// [`ProblemLayer`](crate::ProblemLayer) with a base makes that absolute.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new), and when the slug has other characters than lower-case letters,
    /// digits and hyphens.
    #[must_use]
    #[track_caller]
    pub const fn slug(status: StatusCode, slug: &'static str, title: &'static str) -> Self {
        assert!(
            required_header(status).is_none(),
            "this status needs a header of its own"
        );
        Self::unchecked_slug(status, slug, title)
    }

    /// `about:blank`: no more than the status says, with its phrase as the title (RFC 9457 §4.2.1).
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    #[must_use]
    #[track_caller]
    pub const fn blank(status: StatusCode) -> Self {
        Self::new(status, "about:blank", phrase(status))
    }

    /// Says in prose what happened and what a client can do, for the catalogue and OpenAPI.
    #[must_use]
    pub const fn with_description(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Declares the header fields that responses of this type carry, such as `Retry-After`, for
    /// OpenAPI. Those that RFC 9110 demands of the status need no declaration.
    #[must_use]
    pub const fn with_headers(mut self, headers: &'static [&'static str]) -> Self {
        self.headers = headers;
        self
    }

    /// Names the gRPC code, where the one that follows from the status is not the right one.
    #[must_use]
    pub const fn with_grpc_code(mut self, code: GrpcCode) -> Self {
        self.grpc = code;
        self
    }

    #[track_caller]
    pub(crate) const fn unchecked_slug(
        status: StatusCode,
        slug: &'static str,
        title: &'static str,
    ) -> Self {
        let bytes = slug.as_bytes();
        assert!(!bytes.is_empty(), "a slug is not empty");
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                bytes[at].is_ascii_lowercase() || bytes[at].is_ascii_digit() || bytes[at] == b'-',
                "a slug has lower-case letters, digits and hyphens only"
            );
            at += 1;
        }
        Self::unchecked(SLUG_BASE, slug, title, status)
    }

    /// Without the check for statuses that need a header.
    #[track_caller]
    pub(crate) const fn unchecked(
        base: &'static str,
        uri: &'static str,
        title: &'static str,
        status: StatusCode,
    ) -> Self {
        assert!(
            is_error(status),
            "a problem has an error status, 400 to 599"
        );
        assert!(
            is_uri_reference(uri),
            "this is not a URI reference (RFC 3986 section 4.1)"
        );
        assert!(!title.is_empty(), "a problem type has a title");
        let mut text = ConstText {
            bytes: [0; DOCUMENT_BYTES],
            len: 0,
        };
        text = text
            .push(OPEN)
            .push(base)
            .push(uri)
            .push(BEFORE_TITLE)
            .push_escaped(title);
        text = text.push(BEFORE_STATUS).push_status(status).push("}");
        Self {
            document: text.bytes,
            document_bytes: text.len,
            uri_bytes: base.len() + uri.len(),
            is_slug: !base.is_empty(),
            title,
            status,
            grpc: GrpcCode::of_problem(status),
            description: "",
            headers: &[],
        }
    }

    /// The URI reference, as it stands in `type`.
    #[must_use]
    pub fn uri(&self) -> &str {
        let bytes = &self.document[OPEN.len()..OPEN.len() + self.uri_bytes];
        std::str::from_utf8(bytes).expect("a checked URI reference is ASCII")
    }

    /// The slug, when the type was made by [`slug`](Self::slug).
    #[must_use]
    pub fn slug_name(&self) -> Option<&str> {
        self.is_slug.then(|| &self.uri()[SLUG_BASE.len()..])
    }

    /// The title, the same for every occurrence.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// The status, on the line and in the document.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The gRPC code of a refusal by this type.
    #[must_use]
    pub const fn grpc_code(&self) -> GrpcCode {
        self.grpc
    }

    /// The prose given by [`with_description`](Self::with_description), or nothing.
    #[must_use]
    pub const fn description(&self) -> &'static str {
        self.description
    }

    /// The header fields given by [`with_headers`](Self::with_headers).
    #[must_use]
    pub const fn headers(&self) -> &'static [&'static str] {
        self.headers
    }

    /// The whole document of a problem that has nothing but this type.
    #[inline]
    pub(crate) fn document(&self) -> &[u8] {
        &self.document[..self.document_bytes]
    }
}

impl fmt::Debug for ProblemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProblemType")
            .field("uri", &self.uri())
            .field("title", &self.title)
            .field("status", &self.status.as_u16())
            .finish_non_exhaustive()
    }
}

/// A problem type of status 401, which no response may have without `WWW-Authenticate`
/// (RFC 9110 §15.5.2): it becomes a [`Problem`](struct@crate::Problem) only together with a
/// [`Challenge`](crate::Challenge), by [`Problem::unauthorized`](crate::Problem::unauthorized).
///
/// ```
/// use purlin_problem::{Challenge, Problem, UnauthorizedType};
///
/// static TOKEN_EXPIRED: UnauthorizedType =
///     UnauthorizedType::slug("token-expired", "The token has expired");
///
/// let problem = Problem::unauthorized(&TOKEN_EXPIRED, Challenge::bearer());
/// assert_eq!(problem.into_http().headers()["www-authenticate"], "Bearer");
/// ```
#[derive(Clone, Debug)]
pub struct UnauthorizedType(ProblemType);

impl UnauthorizedType {
    /// As [`ProblemType::new`], with status 401.
    ///
    /// # Panics
    ///
    /// As [`ProblemType::new`].
    #[must_use]
    #[track_caller]
    pub const fn new(uri: &'static str, title: &'static str) -> Self {
        Self(ProblemType::unchecked(
            "",
            uri,
            title,
            StatusCode::UNAUTHORIZED,
        ))
    }

    /// As [`ProblemType::slug`], with status 401.
    ///
    /// # Panics
    ///
    /// As [`ProblemType::slug`].
    #[must_use]
    #[track_caller]
    pub const fn slug(slug: &'static str, title: &'static str) -> Self {
        Self(ProblemType::unchecked_slug(
            StatusCode::UNAUTHORIZED,
            slug,
            title,
        ))
    }

    /// As [`ProblemType::with_description`].
    #[must_use]
    pub const fn with_description(self, description: &'static str) -> Self {
        Self(self.into_inner().with_description(description))
    }

    /// As [`ProblemType::with_grpc_code`].
    #[must_use]
    pub const fn with_grpc_code(self, code: GrpcCode) -> Self {
        Self(self.into_inner().with_grpc_code(code))
    }

    /// As [`ProblemType::with_headers`]; `WWW-Authenticate` goes without saying.
    #[must_use]
    pub const fn with_headers(self, headers: &'static [&'static str]) -> Self {
        Self(self.into_inner().with_headers(headers))
    }

    /// The type as others see it, for catalogues and comparisons.
    #[must_use]
    pub const fn as_type(&self) -> &ProblemType {
        &self.0
    }

    const fn into_inner(self) -> ProblemType {
        self.0
    }
}

/// Text put together at compile time.
#[derive(Clone, Copy)]
struct ConstText {
    bytes: [u8; DOCUMENT_BYTES],
    len: usize,
}

impl ConstText {
    #[track_caller]
    const fn push_byte(mut self, byte: u8) -> Self {
        assert!(
            self.len < DOCUMENT_BYTES,
            "the URI and title of a problem type are too long"
        );
        self.bytes[self.len] = byte;
        self.len += 1;
        self
    }

    #[track_caller]
    const fn push(mut self, text: &str) -> Self {
        let mut at = 0;
        while at < text.len() {
            self = self.push_byte(text.as_bytes()[at]);
            at += 1;
        }
        self
    }

    /// The inside of a JSON string (RFC 8259 §7), for text without control characters.
    #[track_caller]
    const fn push_escaped(mut self, text: &str) -> Self {
        let mut at = 0;
        while at < text.len() {
            let byte = text.as_bytes()[at];
            assert!(byte >= 0x20, "a title has no control characters");
            if byte == b'"' || byte == b'\\' {
                self = self.push_byte(b'\\');
            }
            self = self.push_byte(byte);
            at += 1;
        }
        self
    }

    #[expect(clippy::cast_possible_truncation, reason = "a digit is below ten")]
    #[track_caller]
    const fn push_status(self, status: StatusCode) -> Self {
        let code = status.as_u16();
        self.push_byte(b'0' + (code / 100) as u8)
            .push_byte(b'0' + (code / 10 % 10) as u8)
            .push_byte(b'0' + (code % 10) as u8)
    }
}
