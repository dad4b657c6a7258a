//! A handler that counts, requests and replies.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use purlin_idempotency::{IdempotencyLayer, Leased, MemoryStore, Rejection, RequestBody};
use tower::{Layer as _, Service, ServiceExt as _};

/// What bodies and services of these tests fail with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed(pub(crate) &'static str);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Failed {}

pub(crate) type Body = UnsyncBoxBody<Bytes, Failed>;
pub(crate) type Answered = Result<Response<Body>, Failed>;
pub(crate) type Handled = Pin<Box<dyn Future<Output = Answered> + Send>>;
type Respond = dyn Fn(Request<RequestBody<Body>>, usize) -> Handled + Send + Sync;

/// The service inside: counts its calls and answers by a closure, which gets the count.
#[derive(Clone)]
pub(crate) struct Handler {
    calls: Arc<AtomicUsize>,
    respond: Arc<Respond>,
}

impl Handler {
    pub(crate) fn new<F>(
        respond: impl Fn(Request<RequestBody<Body>>, usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answered> + Send + 'static,
    {
        Self {
            calls: Arc::default(),
            respond: Arc::new(move |request, call| Box::pin(respond(request, call))),
        }
    }

    /// Answers at once.
    pub(crate) fn saying(answer: impl Fn(usize) -> Response<Body> + Send + Sync + 'static) -> Self {
        Self::new(move |_, call| std::future::ready(Ok(answer(call))))
    }

    /// Answers 201 with the number of the call.
    pub(crate) fn counting() -> Self {
        Self::saying(|call| reply(StatusCode::CREATED, call.to_string()))
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<RequestBody<Body>>> for Handler {
    type Response = Response<Body>;
    type Error = Failed;
    type Future = Handled;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Body>>) -> Handled {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        (self.respond)(request, call)
    }
}

/// What a client has got.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) rejection: Option<Rejection>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("UTF-8")
    }

    /// The last part of the problem type, after checking that it is a problem.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(problem["status"], self.status.as_u16());
        let rejection = self.rejection.as_ref().expect("is in the extensions");
        assert_eq!(problem["type"], rejection.problem_type().uri());
        let slug = problem["type"]
            .as_str()
            .and_then(|uri| uri.rsplit_once('/'));
        slug.expect("is a path").1.to_owned()
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.headers
            .get("idempotent-replayed")
            .is_some_and(|value| value == "true")
    }
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

pub(crate) fn reply(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response
}

pub(crate) fn layer() -> IdempotencyLayer<Leased> {
    IdempotencyLayer::leased(MemoryStore::new()).single_tenant()
}

pub(crate) fn request(method: Method, key: Option<&str>, body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri("/orders?x=1");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(full(body.to_owned())).expect("is a request")
}

pub(crate) fn post(key: &str) -> Request<Body> {
    request(Method::POST, Some(key), "{}")
}

/// The whole exchange; what the service fails with is an error here too.
pub(crate) async fn try_send<M>(
    layer: &IdempotencyLayer<M>,
    handler: &Handler,
    request: Request<Body>,
) -> Result<Reply, Failed> {
    let response = layer.layer(handler.clone()).oneshot(request).await?;
    let (mut head, body) = response.into_parts();
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
        rejection: head.extensions.remove(),
    })
}

pub(crate) async fn send<M>(
    layer: &IdempotencyLayer<M>,
    handler: &Handler,
    request: Request<Body>,
) -> Reply {
    let reply = try_send(layer, handler, request).await;
    reply.expect("the service does not fail")
}
