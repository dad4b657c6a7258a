//! Bodies of requests that are read before the handler is called, and when an operation was first sent.

use std::{
    task::Poll,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Channel, StreamBody};
use purlin_idempotency::Rejection;
use purlin_store::testing::ManualClock;

use crate::common::{Body, Failed, Handler, full, layer, post, reply, send};

fn with_body(body: Body) -> Request<Body> {
    post("k").map(|_| body)
}

/// Answers with what it has read: data, and the names of trailers.
fn echo() -> Handler {
    Handler::new(|request, _| async {
        let collected = request.into_body().collect().await.expect("is whole");
        let mut said = collected.trailers().map_or_else(String::new, |trailers| {
            trailers.keys().map(HeaderName::as_str).collect()
        });
        said.insert_str(0, str::from_utf8(&collected.to_bytes()).expect("UTF-8"));
        Ok(reply(StatusCode::OK, said))
    })
}

#[tokio::test]
async fn the_handler_gets_the_body_as_it_was_with_its_trailers() {
    let (mut sender, body) = Channel::<Bytes, Failed>::new(8);
    for part in ["one ", "", "two"] {
        sender.send_data(part.into()).await.expect("is open");
    }
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("content-digest"),
        HeaderValue::from_static("x"),
    )]);
    sender.send_trailers(trailers).await.expect("is open");
    drop(sender);
    let (layer, handler) = (layer(), echo());
    let first = send(&layer, &handler, with_body(body.boxed_unsync())).await;
    assert_eq!(first.text(), "one twocontent-digest");
    // Other frames, the same content.
    let retry = send(&layer, &handler, with_body(full("one two"))).await;
    assert!(retry.is_replay());
}

#[tokio::test]
async fn the_limit_is_taken_and_one_byte_more_is_413() {
    let (layer, handler) = (layer().with_max_request_bytes(4), echo());
    let too_long = send(&layer, &handler, with_body(full("12345"))).await;
    assert_eq!(too_long.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(too_long.problem(), "idempotency-body-too-large");
    assert_eq!(
        too_long.rejection,
        Some(Rejection::BodyTooLarge { limit_bytes: 4 })
    );
    // Not said beforehand.
    let frames = ["123", "45"].map(|part| Ok::<_, Failed>(Frame::data(Bytes::from(part))));
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let too_long = send(&layer, &handler, with_body(body)).await;
    assert_eq!(too_long.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(handler.calls(), 0);
    // Nothing is remembered of them.
    let fits = send(&layer, &handler, with_body(full("1234"))).await;
    assert_eq!(fits.text(), "1234");
}

/// Says how long it is, and must not be read.
struct Announced(u64);

impl http_body::Body for Announced {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        panic!("it was read")
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn what_is_announced_as_too_long_is_not_read() {
    let (layer, handler) = (layer(), echo());
    let body = Announced((1 << 20) + 1).boxed_unsync();
    let reply = send(&layer, &handler, with_body(body)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400_and_nothing_is_claimed() {
    let (layer, handler) = (layer(), echo());
    let frames = [Ok(Frame::data(Bytes::from("half"))), Err(Failed("reset"))];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let broken = send(&layer, &handler, with_body(body)).await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert_eq!(broken.problem(), "idempotency-body-unreadable");
    assert_eq!(handler.calls(), 0);
    let retry = send(&layer, &handler, with_body(full("half and half"))).await;
    assert_eq!(retry.text(), "half and half");
}

#[tokio::test]
async fn who_comes_too_late_is_not_executed_again() {
    const FIRST_SENT: HeaderName = HeaderName::from_static("repeatability-first-sent");
    let sent_at = UNIX_EPOCH + Duration::from_secs(784_111_777);
    let clock = ManualClock::new(sent_at);
    let layer = layer()
        .with_first_sent(FIRST_SENT)
        .with_retention(Duration::from_secs(60))
        .with_clock(clock.clone());
    let handler = Handler::counting();
    let first_sent = |key: &str, value: &'static str| {
        let mut request = post(key);
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(FIRST_SENT, value);
        request
    };
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let at = |seconds| sent_at + Duration::from_secs(seconds);

    for (key, now) in [("a", at(0)), ("b", at(59))] {
        clock.set(now);
        let reply = send(&layer, &handler, first_sent(key, date)).await;
        assert_eq!(reply.status, StatusCode::CREATED);
    }
    clock.set(at(60));
    let late = send(&layer, &handler, first_sent("c", date)).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(late.problem(), "idempotency-window-elapsed");
    let wrong = send(&layer, &handler, first_sent("c", "yesterday")).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert_eq!(wrong.problem(), "idempotency-first-sent-invalid");
    assert_eq!(handler.calls(), 2);
    // A clock that is ahead, and no header at all.
    clock.set(sent_at - Duration::from_secs(1_000));
    send(&layer, &handler, first_sent("d", date)).await;
    send(&layer, &handler, post("e")).await;
    assert_eq!(handler.calls(), 4);
}
