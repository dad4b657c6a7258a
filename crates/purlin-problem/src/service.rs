//! The service.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{ProblemBody, ResponseFuture, config::Config, context::Seen};

/// The service of [`ProblemLayer`](crate::ProblemLayer).
#[derive(Clone, Debug)]
pub struct Problems<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> Problems<S> {
    pub(crate) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Problems<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<ProblemBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let seen = Seen::of(&request, &self.config);
        let called = catch_unwind(AssertUnwindSafe(|| self.inner.call(request)));
        ResponseFuture::new(called, seen, Arc::clone(&self.config))
    }
}
