//! Reading problems with `reqwest`.

use std::{error::Error, fmt, future::Future};

use http::{HeaderMap, HeaderValue, StatusCode, header::ACCEPT};
use reqwest::{RequestBuilder, Response, Url};

use crate::{
    BoxError, MAX_DOCUMENT_BYTES, PROBLEM_JSON, ParseProblemError, ProblemDetails, ProblemType,
    details::is_media_type, render::PROBLEM_JSON_VALUE, report::Chain,
};

/// Beside a problem anything will do, but a problem is better than another answer.
const PROBLEM_OR_ANYTHING: HeaderValue =
    HeaderValue::from_static("application/problem+json, */*;q=0.9");

/// What a request says so that it is answered with problems.
pub trait RequestBuilderExt: sealed::Sealed {
    /// Adds `application/problem+json` to `Accept`, without which some servers and proxies answer
    /// with an error page for people.
    ///
    /// What was asked for before stays. Without an `Accept` so far, everything else is accepted
    /// too, with less weight. `reqwest` shows neither the headers that are added later nor the
    /// default headers of the client, and none of a request whose body is a stream: name the other
    /// media types before this, on the request itself.
    #[must_use]
    fn accept_problem(self) -> Self;
}

impl RequestBuilderExt for RequestBuilder {
    fn accept_problem(self) -> Self {
        // A builder shows its headers only once it is built.
        let asks = self
            .try_clone()
            .and_then(|builder| builder.build().ok())
            .is_some_and(|request| request.headers().contains_key(ACCEPT));
        let value = if asks {
            PROBLEM_JSON_VALUE
        } else {
            PROBLEM_OR_ANYTHING
        };
        self.header(ACCEPT, value)
    }
}

/// How a response becomes a problem.
pub trait ResponseExt: sealed::Sealed {
    /// Gives back a response below 400 untouched, and makes an error of every other one.
    ///
    /// The document is read when the content type says that there is one, up to
    /// [`MAX_DOCUMENT_BYTES`]. An error response without a document that can be read becomes a
    /// problem of its status, `about:blank`, so that the status is never lost.
    ///
    /// # Errors
    ///
    /// [`ResponseError::Problem`] for a status of 400 and above.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the response; the connection may have to be closed.
    fn error_for_problem(self) -> impl Future<Output = Result<Response, ResponseError>> + Send;
}

impl ResponseExt for Response {
    async fn error_for_problem(self) -> Result<Response, ResponseError> {
        if !(self.status().is_client_error() || self.status().is_server_error()) {
            return Ok(self);
        }
        Err(ResponseError::Problem(Box::new(
            ResponseProblem::read(self).await,
        )))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for reqwest::RequestBuilder {}
    impl Sealed for reqwest::Response {}
}

/// Why there is no successful response. `?` makes it of the errors of `reqwest` too:
///
/// ```no_run
/// use purlin_problem::{RequestBuilderExt, ResponseError, ResponseExt, violation};
///
/// async fn order(client: &reqwest::Client, id: &str) -> Result<Option<String>, ResponseError> {
///     let url = format!("https://orders.example.com/orders/{id}");
///     let response = client.get(url).accept_problem().send().await?;
///     match response.error_for_problem().await {
///         Ok(response) => Ok(Some(response.text().await?)),
///         Err(ResponseError::Problem(problem)) if problem.status() == 404 => Ok(None),
///         Err(error) => Err(error),
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ResponseError {
    /// The server answered that it will not or cannot.
    Problem(Box<ResponseProblem>),
    /// There is no answer, or none that could be read.
    Transport(reqwest::Error),
}

impl From<reqwest::Error> for ResponseError {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(error)
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(problem) => problem.fmt(f),
            Self::Transport(_) => f.write_str("the request failed"),
        }
    }
}

impl Error for ResponseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Problem(problem) => problem.source(),
            Self::Transport(error) => Some(error),
        }
    }
}

/// An error response: its head, and the problem in it.
pub struct ResponseProblem {
    status: StatusCode,
    headers: HeaderMap,
    url: Url,
    details: ProblemDetails,
    unread: Option<BoxError>,
}

impl ResponseProblem {
    async fn read(response: Response) -> Self {
        let (status, url) = (response.status(), response.url().clone());
        let headers = response.headers().clone();
        let (details, unread) = if is_media_type(&headers, PROBLEM_JSON) {
            match read_document(response).await {
                Ok(details) => (details, None),
                Err(error) => (ProblemDetails::blank(status), Some(error)),
            }
        } else {
            (ProblemDetails::blank(status), None)
        };
        Self {
            status,
            headers,
            url,
            details,
            unread,
        }
    }

    /// The status on the line, which counts more than the one in the document (RFC 9457 §3.1.2).
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The header fields, such as `Retry-After`.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The problem as the server describes it, or `about:blank`.
    #[must_use]
    pub const fn details(&self) -> &ProblemDetails {
        &self.details
    }

    /// The problem by itself.
    #[must_use]
    pub fn into_details(self) -> ProblemDetails {
        self.details
    }

    /// The type as an absolute URL, resolved against the URL of the response.
    #[must_use]
    pub fn resolved_type(&self) -> Option<Url> {
        self.details.resolved_type(&self.url)
    }

    /// Whether the problem is of that type, compared after resolution (RFC 9457 §3.1.1). A type
    /// named by a slug matches under every base, and `about:blank` by the status on the line, as in
    /// [`ProblemDetails::is`].
    #[must_use]
    pub fn is(&self, ty: &ProblemType) -> bool {
        if ty.slug_name().is_some() {
            return self.details.is(ty);
        }
        let (ours, theirs) = (
            self.url.join(ty.uri()),
            self.url.join(self.details.type_uri()),
        );
        matches!((ours, theirs), (Ok(ours), Ok(theirs)) if ours == theirs)
            && (ty.uri() != "about:blank" || self.status == ty.status())
    }
}

/// The document, chunk by chunk, since its length may be announced wrongly or not at all.
async fn read_document(mut response: Response) -> Result<ProblemDetails, BoxError> {
    let mut document = Vec::new();
    // The URL is in the response already, and its query may hold a credential.
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(reqwest::Error::without_url)?
    {
        if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
            return Err(ParseProblemError::too_large().into());
        }
        document.extend_from_slice(&chunk);
    }
    Ok(ProblemDetails::from_json(&document)?)
}

impl fmt::Debug for ResponseProblem {
    /// Header fields by their names only, and the URL without user, password, query and fragment:
    /// they may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        f.debug_struct("ResponseProblem")
            .field("status", &self.status)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("host", &host)
            .field("path", &self.url.path())
            .field("details", &self.details)
            .field(
                "unread",
                &self.unread.as_deref().map(|error| Chain(error).to_string()),
            )
            .finish()
    }
}

impl fmt::Display for ResponseProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = &self.details;
        let title = details.title.as_deref().unwrap_or(details.type_uri());
        write!(f, "the server answered {} {title}", self.status.as_u16())?;
        match &details.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl Error for ResponseProblem {
    /// Why the document could not be read, when there seemed to be one.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.unread
            .as_deref()
            .map(|error| error as &(dyn Error + 'static))
    }
}

impl ProblemDetails {
    /// The type as an absolute URL: a relative reference is resolved against `base`, the URL from
    /// which the document was read (RFC 9457 §3.1.1, RFC 3986 §5). `None` when `type` is no URI
    /// reference.
    ///
    /// It identifies the problem; RFC 9457 advises against fetching it automatically.
    #[must_use]
    pub fn resolved_type(&self, base: &Url) -> Option<Url> {
        base.join(self.type_uri()).ok()
    }
}
