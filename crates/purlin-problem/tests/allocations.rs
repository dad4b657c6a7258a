//! What a problem costs in allocations, counted and not timed.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use purlin_problem::{Problem, ProblemLayer, ProblemType, catch_error::CatchErrorLayer};
use tower::{Layer, Service, service_fn};

static OUT_OF_STOCK: ProblemType =
    ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock");

fn ok(_: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::new(Bytes::from_static(b"fine")))))
}

fn run<S>(service: &mut S, request: Request<()>) -> S::Response
where
    S: Service<Request<()>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(Ok(response)) => response,
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => panic!("the service answers at once"),
    }
}

#[test]
fn a_static_problem_allocates_nothing_and_its_response_two_times() {
    assert_eq!(measure(|| drop(Problem::new(&OUT_OF_STOCK))).count_total, 0);
    assert_eq!(
        measure(|| drop(Problem::new(&OUT_OF_STOCK).into_http())).count_total,
        2
    );
}

#[test]
fn a_document_with_members_is_allocated_once() {
    let problem = Problem::new(&OUT_OF_STOCK)
        .with_detail("2 left")
        .with_detail("3 left");
    let with_detail = measure(|| drop(Problem::new(&OUT_OF_STOCK).with_detail("2 left")));
    // The box and the document in it.
    assert_eq!(with_detail.count_total, 2);
    assert_eq!(measure(|| drop(problem.to_json())).count_total, 1);
}

#[test]
fn a_success_passes_the_layers_without_an_allocation() {
    let mut service = ProblemLayer::new().layer(CatchErrorLayer::new().layer(service_fn(ok)));
    let mut request = Request::new(());
    // As hyper and tower-http leave them: values that share their buffer.
    for (name, value) in [
        ("x-request-id", "req-1"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("content-type", "application/json"),
    ] {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let added = measure(|| drop(run(&mut service, request)));
    assert_eq!(added.count_total, 0);
}
