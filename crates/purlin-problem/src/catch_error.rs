//! Errors of tower middleware become problems.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{BoxError, Problem, ProblemBody, ProblemType, Protocol};

/// The server gave up on the request after its own time limit.
pub static TIMEOUT: ProblemType = ProblemType::slug(
    StatusCode::GATEWAY_TIMEOUT,
    "timeout",
    "The request took too long",
)
.with_description(
    "The service did not finish in the time it allows for a request. Whether the request \
             had an effect is not known; repeat it only if that does no harm.",
);

/// The service has as much to do as it can take.
pub static OVERLOADED: ProblemType = ProblemType::slug(
    StatusCode::SERVICE_UNAVAILABLE,
    "overloaded",
    "The service is overloaded",
)
.with_description(
    "The service has as many requests as it can take, and did not begin with this one. Repeat it \
     after the time in `Retry-After`.",
);

/// The part of the service that does the work is gone.
pub static CLOSED: ProblemType = ProblemType::slug(
    StatusCode::SERVICE_UNAVAILABLE,
    "unavailable",
    "The service is not available",
)
.with_description(
    "The service is starting, stopping or has failed, and did not begin with the request. Repeat \
     it after the time in `Retry-After`.",
);

type Mapping = dyn Fn(BoxError) -> Result<Problem, BoxError> + Send + Sync;

/// Turns the errors of the services inside into problem responses, and its own error type into
/// [`Infallible`], as axum wants it.
///
/// With the feature `tower`, the errors of tower's own middleware are known:
///
/// | Error | Problem |
/// |---|---|
/// | `timeout::error::Elapsed` | 504 [`TIMEOUT`] |
/// | `load_shed::error::Overloaded` | 503 [`OVERLOADED`], `Retry-After` |
/// | `buffer::error::Closed` | 503 [`CLOSED`], `Retry-After` |
/// | `buffer::error::ServiceError` | 503 [`CLOSED`], `Retry-After` |
///
/// Others are given by [`with_mapping`](Self::with_mapping). Any other error is a 500 that tells
/// the client nothing. Errors are kept as the source of their problem, for a
/// [`ProblemLayer`](crate::ProblemLayer) outside of this layer to log.
///
/// An error of `poll_ready` is answered too: the service takes the request, and refuses it.
///
/// DIFFERENCE: tower-http's timeout answers 408 by default, which says that the *client* was slow
/// (RFC 9110 §15.5.9).
#[derive(Clone)]
pub struct CatchErrorLayer {
    mappings: Arc<Vec<Arc<Mapping>>>,
}

impl CatchErrorLayer {
    /// Knows the errors of tower when the feature `tower` is on; 1 second as `Retry-After`.
    #[must_use]
    pub fn new() -> Self {
        let layer = Self {
            mappings: Arc::new(Vec::new()),
        };
        #[cfg(feature = "tower")]
        let layer = layer
            .with_mapping(|_: &tower::timeout::error::Elapsed| Problem::new(&TIMEOUT))
            .with_mapping(|_: &tower::load_shed::error::Overloaded| busy(&OVERLOADED))
            .with_mapping(|_: &tower::buffer::error::Closed| busy(&CLOSED))
            .with_mapping(|_: &tower::buffer::error::ServiceError| busy(&CLOSED));
        layer
    }

    /// Makes a problem of errors of the type `E`. The mapping that is given last comes first, so
    /// the defaults can be replaced.
    ///
    /// The type is that of the error itself: an error that merely has an `E` among its sources,
    /// such as a failed call to another service that timed out, is another error.
    #[must_use]
    pub fn with_mapping<E: std::error::Error + 'static>(
        mut self,
        problem: impl Fn(&E) -> Problem + Send + Sync + 'static,
    ) -> Self {
        let mapping = move |error: BoxError| match error.downcast_ref::<E>() {
            Some(known) => Ok(problem(known).with_source(error)),
            None => Err(error),
        };
        Arc::make_mut(&mut self.mappings).push(Arc::new(mapping));
        self
    }

    fn problem(&self, error: BoxError) -> Problem {
        let found = self
            .mappings
            .iter()
            .rev()
            .try_fold(error, |error, mapping| match mapping(error) {
                Ok(problem) => Err(problem),
                Err(error) => Ok(error),
            });
        match found {
            Ok(error) => Problem::internal(error),
            Err(problem) => problem,
        }
    }
}

impl Default for CatchErrorLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CatchErrorLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatchErrorLayer")
            .field("mappings", &self.mappings.len())
            .finish()
    }
}

/// How long a client that was turned away waits at least.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg_attr(
    not(feature = "tower"),
    expect(dead_code, reason = "used by the mappings of tower")
)]
fn busy(ty: &'static ProblemType) -> Problem {
    Problem::new(ty).with_retry_after(RETRY_AFTER)
}

impl<S> Layer<S> for CatchErrorLayer {
    type Service = CatchError<S>;

    fn layer(&self, inner: S) -> CatchError<S> {
        CatchError {
            inner,
            layer: self.clone(),
            failed: None,
        }
    }
}

/// The service of [`CatchErrorLayer`].
#[derive(Debug)]
pub struct CatchError<S> {
    inner: S,
    layer: CatchErrorLayer,
    /// What `poll_ready` failed with, until the next call answers it.
    failed: Option<BoxError>,
}

impl<S: Clone> Clone for CatchError<S> {
    /// The error of `poll_ready` stays with the service that met it.
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: self.layer.clone(),
            failed: None,
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for CatchError<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<ProblemBody<ResBody>>;
    type Error = Infallible;
    type Future = CatchErrorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.failed.is_none()
            && let Err(error) = ready!(self.inner.poll_ready(cx))
        {
            self.failed = Some(error.into());
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let protocol = Protocol::of(request.headers());
        let state = match self.failed.take() {
            Some(error) => State::Failed { error: Some(error) },
            None => State::Calling {
                future: self.inner.call(request),
            },
        };
        CatchErrorFuture {
            state,
            protocol,
            layer: self.layer.clone(),
        }
    }
}

pin_project! {
    /// The future of [`CatchError`].
    #[derive(Debug)]
    pub struct CatchErrorFuture<F> {
        #[pin]
        state: State<F>,
        protocol: Protocol,
        layer: CatchErrorLayer,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Calling { #[pin] future: F },
        Failed { error: Option<BoxError> },
    }
}

impl<F, B, E> Future for CatchErrorFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<ProblemBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let error = match this.state.project() {
            StateProj::Calling { future } => match ready!(future.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response.map(ProblemBody::inner))),
                Err(error) => error.into(),
            },
            StateProj::Failed { error } => error
                .take()
                .expect("a future is not polled after it is ready"),
        };
        let response = this.layer.problem(error).into_http_for(this.protocol);
        Poll::Ready(Ok(response.map(ProblemBody::document)))
    }
}
