//! Header fields of a request, and the response of a handler, through the layer: the answer is
//! one JSON object or XML, of the same status, whatever came in.
#![no_main]

use std::convert::Infallible;

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use purlin_problem::{ProblemLayer, UriRef};
use tower::{Layer, Service, service_fn};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    request_id: &'a [u8],
    traceparent: &'a [u8],
    accept: &'a [u8],
    accept_language: &'a [u8],
    status: u16,
    content_type: Option<bool>,
    body: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let mut request = Request::new(());
    for (name, value) in [
        ("x-request-id", input.request_id),
        ("traceparent", input.traceparent),
        ("accept", input.accept),
        ("accept-language", input.accept_language),
    ] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().insert(name, value);
        }
    }
    let status = 400 + input.status % 200;
    let mut response = Response::builder().status(status);
    if let Some(is_problem) = input.content_type {
        let value = if is_problem {
            "application/problem+json"
        } else {
            "text/plain"
        };
        response = response.header("content-type", value);
    }
    let mut response = Some(
        response
            .body(Full::new(Bytes::copy_from_slice(input.body)))
            .unwrap(),
    );
    let was_document = serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(input.body);

    let mut service = ProblemLayer::new()
        .with_base(UriRef::from_static("https://errors.example.com/"))
        .with_path_as_instance()
        .with_xml()
        .layer(service_fn(move |_: Request<()>| {
            std::future::ready(Ok::<_, Infallible>(response.take().unwrap()))
        }));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut future = std::pin::pin!(service.call(request));
    let std::task::Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else {
        panic!("the answer is there at once");
    };
    assert_eq!(response.status().as_u16(), status);
    let is_json = response.headers()["content-type"] == "application/problem+json";
    let mut body = std::pin::pin!(http_body_util::BodyExt::collect(response.into_body()));
    let std::task::Poll::Ready(Ok(body)) = body.as_mut().poll(&mut cx) else {
        panic!("the body is there at once");
    };
    if is_json && (input.content_type != Some(true) || was_document.is_ok()) {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&body.to_bytes())
            .expect("one JSON object");
    }
});
