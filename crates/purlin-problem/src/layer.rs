//! The layer.

use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use crate::{ProblemContext, ProblemDetails, Problems, UriRef, config::Config};

/// Makes every error response of a service a problem, without replacing responses.
///
/// A response below 400 passes untouched, without an allocation. An error response
///
/// 1. that is a problem already gets `request_id`, `trace_id` and, if asked for, `instance`. Its
///    other members stay as they are to the byte, but for a `status` that is not that of the line
///    and a name that stands there twice, of which the last counts;
/// 2. that has no body, or plain text, becomes a problem of its status. All its header fields
///    stay but those that describe the old body. The text of a 4xx becomes `detail`; that of a
///    5xx is dropped, and so is text in another charset than UTF-8;
/// 3. that has another content type, a content coding, or a body too large to be a message is
///    left alone;
///
/// and its report is logged: 5xx as errors, 4xx at debug level, each once however many layers
/// are stacked. A gRPC request is answered with a trailers-only response instead. The answer to
/// `HEAD` has the header of the answer to `GET`, but for `Content-Length` where the inner service
/// has dropped the body.
///
/// A panic of the service, of its future, or of a body that the layer reads becomes a 500, or the
/// status that the response has already; its text is in the log only. Not caught are panics of
/// `poll_ready`, where there is no request to answer, and of a body that is passed on, whose head
/// has been sent by then.
///
/// The request id is read from the request, so tower-http's `SetRequestIdLayer` stands outside.
///
/// | Log event (target `purlin_problem`) | Level | Fields |
/// |---|---|---|
/// | `problem` | error for 5xx, debug for 4xx | `status`, `type`, `request_id`, `trace_id`, `error` (the chain of sources) |
/// | `panic` | error | `request_id`, `trace_id`, `panic` (the text) |
///
/// # Cancel safety
///
/// The future holds nothing but the response; dropping it drops the inner future.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::{BodyExt, Full};
/// use purlin_problem::ProblemLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let service = ServiceBuilder::new().layer(ProblemLayer::new()).service(service_fn(
///     async |_: Request<Full<Bytes>>| {
///         Response::builder().status(503).header("retry-after", "7").body(Full::<Bytes>::default())
///     },
/// ));
/// let request = Request::get("/").header("x-request-id", "r-1").body(Full::default())?;
/// let response = service.oneshot(request).await?;
/// assert_eq!(response.headers()["retry-after"], "7");
/// let body = response.into_body().collect().await?.to_bytes();
/// assert_eq!(
///     body,
///     r#"{"type":"about:blank","title":"Service Unavailable","status":503,"request_id":"r-1"}"#,
/// );
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProblemLayer {
    config: Arc<Config>,
}

impl ProblemLayer {
    /// With the defaults: types of slugs under `/problems/`, the request id from `x-request-id`,
    /// no `instance`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the types of slugs under this reference instead of `/problems/`, typically an absolute
    /// one (RFC 9457 §3.1.1 recommends it): `https://errors.example.com/`.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a builder takes its parts")]
    pub fn with_base(self, base: UriRef) -> Self {
        let slash = if base.as_str().ends_with(['/', '#']) {
            ""
        } else {
            "/"
        };
        self.edit_config(|config| config.base = Some(format!("{base}{slash}")))
    }

    /// Reads the request id from another header field than `x-request-id`.
    #[must_use]
    pub fn with_request_id_header(self, name: HeaderName) -> Self {
        self.edit_config(|config| config.request_id = name)
    }

    /// Sets `instance` to the path of the request where a problem has none. Off by default, since
    /// it tells the client nothing new and paths may hold names of customers.
    #[must_use]
    pub fn with_path_as_instance(self) -> Self {
        self.edit_config(|config| config.instance = true)
    }

    /// Changes every problem before it is written: translations by
    /// [`accept_language`](ProblemContext::accept_language), further members, other texts.
    ///
    /// The status stays that of the status line, whatever the function does to it. A changed `title`
    /// or `detail` takes the `Content-Language` of the response with it. Of a gRPC refusal, the
    /// message is what this leaves as `detail`, or else as `title`.
    ///
    /// If the function panics, the problem is sent as it was before, and the text of the panic is
    /// logged.
    #[must_use]
    pub fn with_edit(
        self,
        edit: impl Fn(&ProblemContext<'_>, &mut ProblemDetails) + Send + Sync + 'static,
    ) -> Self {
        self.edit_config(|config| config.edit = Some(Arc::new(edit)))
    }

    /// Answers clients that prefer it with `application/problem+xml` (RFC 9457 Appendix B). All
    /// others, and those that accept neither, get JSON: an error is never answered with 406.
    /// `Vary: Accept` is added to every problem then.
    #[cfg(feature = "xml")]
    #[must_use]
    pub fn with_xml(self) -> Self {
        self.edit_config(|config| config.xml = true)
    }

    fn edit_config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<S> Layer<S> for ProblemLayer {
    type Service = Problems<S>;

    fn layer(&self, inner: S) -> Problems<S> {
        Problems::new(inner, Arc::clone(&self.config))
    }
}
