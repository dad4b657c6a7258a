//! Handlers that panic or fail, and refusals that look otherwise.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use purlin_idempotency::{LeaseLost, Rejection};
use purlin_problem::Protocol;

use crate::common::{Answered, Failed, Handler, layer, post, reply, send, try_send};

fn panicking_body() -> Answered {
    let frames = futures_util::stream::poll_fn(
        |_| -> std::task::Poll<Option<Result<Frame<Bytes>, Failed>>> { panic!("in the body") },
    );
    Ok(Response::new(StreamBody::new(frames).boxed_unsync()))
}

#[expect(clippy::panic, reason = "a handler that panics")]
fn panicking() -> [(&'static str, Handler); 3] {
    [
        (
            "when called",
            Handler::new(|_, _| -> std::future::Ready<Answered> { panic!("when called") }),
        ),
        ("at work", Handler::new(|_, _| async { panic!("at work") })),
        (
            "in the body",
            Handler::new(|_, _| async { panicking_body() }),
        ),
    ]
}

#[tokio::test]
async fn a_panic_is_settled_and_thrown_on() {
    for (place, handler) in panicking() {
        let layer = layer();
        let sent = AssertUnwindSafe(try_send(&layer, &handler, post("k")))
            .catch_unwind()
            .await;
        let payload = sent.expect_err("it is thrown on");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&place));
        let retry = send(&layer, &handler, post("k")).await;
        assert_eq!(retry.rejection, Some(Rejection::Indeterminate), "{place}");
        assert_eq!(handler.calls(), 1);
        layer
            .drain(std::time::Duration::ZERO)
            .await
            .expect("nothing runs on");

        let layer = layer
            .with_namespace("again")
            .with_lease_lost(LeaseLost::Reexecute);
        for _ in 0..2 {
            let sent = AssertUnwindSafe(try_send(&layer, &handler, post("k")));
            assert!(sent.catch_unwind().await.is_err(), "it is executed again");
        }
        assert_eq!(handler.calls(), 3);
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_handed_on_and_uncertain() {
    let handler = Handler::new(|_, _| async { Err(Failed("broken")) });
    let layer = layer();
    let error = try_send(&layer, &handler, post("k")).await;
    assert_eq!(error.expect_err("as it came").to_string(), "broken");
    let retry = send(&layer, &handler, post("k")).await;
    assert_eq!(retry.rejection, Some(Rejection::Indeterminate));
    assert_eq!(handler.calls(), 1);
}

#[tokio::test]
async fn refusals_may_look_otherwise_and_say_in_extensions_what_they_are() {
    let layer = layer().with_rejection_response(|rejection, protocol| {
        assert_eq!(*protocol, Protocol::Http);
        let status = rejection
            .problem_type()
            .slug_name()
            .unwrap_or_default()
            .to_owned();
        let mut response = Response::new(Bytes::from(status));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    });
    let handler = Handler::saying(|_| reply(StatusCode::INTERNAL_SERVER_ERROR, "x"));
    let invalid = send(&layer, &handler, post("")).await;
    assert_eq!(
        (invalid.status, invalid.text()),
        (StatusCode::IM_A_TEAPOT, "idempotency-key-invalid")
    );
    assert!(matches!(invalid.rejection, Some(Rejection::KeyInvalid(_))));
    send(&layer, &handler, post("k")).await;
    let unknown = send(&layer, &handler, post("k")).await;
    assert_eq!(unknown.text(), "idempotency-indeterminate");
    assert_eq!(unknown.rejection, Some(Rejection::Indeterminate));
}
