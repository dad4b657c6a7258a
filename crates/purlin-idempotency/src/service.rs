use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use purlin_problem::{BoxError, Protocol};
use tower_service::Service;

use crate::{
    Event, Key, Rejection, RequestBody, ResponseBody, ResponseFuture,
    config::Config,
    layer::Shared,
    run::{self, refuse},
};

/// The service of [`IdempotencyLayer`](crate::IdempotencyLayer).
#[derive(Clone, Debug)]
pub struct Idempotency<S> {
    inner: S,
    config: Arc<Config>,
    shared: Arc<Shared>,
}

/// What to do with a request.
enum Concern {
    Pass,
    Refuse(Rejection),
    Execute(Key),
}

impl<S> Idempotency<S> {
    pub(crate) fn new(inner: S, config: Arc<Config>, shared: Arc<Shared>) -> Self {
        Self {
            inner,
            config,
            shared,
        }
    }

    fn concern<B>(&self, request: &Request<B>) -> Concern {
        let method = request.method();
        // A key on a request that changes nothing means nothing, and a tunnel has no answer.
        if method.is_safe() || method == Method::CONNECT {
            return Concern::Pass;
        }
        match Key::of(request.headers(), self.config.syntax) {
            Some(Ok(key)) => Concern::Execute(key),
            Some(Err(error)) => Concern::Refuse(Rejection::KeyInvalid(error)),
            // PUT and DELETE are idempotent by themselves (RFC 9110 section 9.2.2).
            None if self.config.required && (method == Method::POST || method == Method::PATCH) => {
                Concern::Refuse(Rejection::KeyMissing)
            }
            None => Concern::Pass,
        }
    }
}

impl<S, B, R> Service<Request<B>> for Idempotency<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.concern(&request) {
            Concern::Pass => {
                ResponseFuture::passed(self.inner.call(request.map(RequestBody::inner)))
            }
            Concern::Refuse(rejection) => {
                let protocol = Protocol::of(request.headers());
                let response = refuse(&self.config, &protocol, rejection, None);
                ResponseFuture::refused(response.map(|body| ResponseBody::whole(body, None)))
            }
            Concern::Execute(key) => {
                // The clone may be anything but ready; the one that was polled is called.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                let (config, shared) = (Arc::clone(&self.config), Arc::clone(&self.shared));
                let observer = self.config.observer.clone();
                let detach = move || {
                    tracing::debug!(idempotency.event = Event::Detached.name());
                    if let Some(observer) = &observer {
                        observer.on_event(&Event::Detached);
                    }
                };
                ResponseFuture::executing(detach, |working| {
                    run::run(ready, request, key, config, shared, working)
                })
            }
        }
    }
}
