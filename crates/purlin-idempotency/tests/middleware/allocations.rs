//! What a request costs that the layer does not concern.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Empty;
use purlin_idempotency::{Idempotency, RequestBody, ResponseBody, ResponseFuture};
use tower::{Layer as _, Service};

use crate::common::layer;

type Body = Empty<Bytes>;
type Answer = Result<Response<Body>, Infallible>;

#[derive(Clone)]
struct Inner;

impl Service<Request<RequestBody<Body>>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<Body>>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

#[test]
fn a_request_without_a_key_allocates_nothing() {
    let mut service: Idempotency<Inner> = layer().layer(Inner);
    for method in [Method::POST, Method::GET] {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method;
        request
            .headers_mut()
            .insert("accept", http::HeaderValue::from_static("*/*"));
        let mut request = Some(request);
        let allocated = allocation_counter::measure(|| {
            let request = request.take().expect("is sent once");
            // A future that can be named.
            let future: ResponseFuture<Ready<Answer>, Body, Infallible> = service.call(request);
            let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Ok(response)) = polled else {
                panic!("it is ready at once");
            };
            let _: ResponseBody<Body> = response.into_body();
        });
        assert_eq!((allocated.count_total, allocated.bytes_total), (0, 0));
    }
}
