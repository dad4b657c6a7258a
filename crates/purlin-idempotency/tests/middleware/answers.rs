//! Bodies of answers: exact bytes, limits, ends that never come.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use purlin_idempotency::Rejection;
use tower::{Layer as _, ServiceExt as _};

use crate::common::{Body, Failed, Handler, full, layer, post, reply, send};

fn frames<const N: usize>(parts: [Result<&'static [u8], &'static str>; N]) -> Body {
    let frames = parts.map(|part| match part {
        Ok(data) => Ok(Frame::data(Bytes::from_static(data))),
        Err(error) => Err(Failed(error)),
    });
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

#[tokio::test]
async fn any_bytes_come_back_and_their_length_is_known() {
    let handler = Handler::saying(|_| {
        Response::new(frames([
            Ok(b"\n{\0"),
            Ok(b""),
            Ok(b"\xff\xfe"),
            Ok(b"\r\n"),
        ]))
    });
    for layer in [layer(), layer().with_replay_cache_bytes(0)] {
        let first = send(&layer, &handler, post("k")).await;
        assert_eq!(&first.body[..], b"\n{\0\xff\xfe\r\n");
        for _ in 0..2 {
            let service = layer.layer(handler.clone());
            let replay = service.oneshot(post("k")).await.expect("does not fail");
            assert_eq!(replay.body().size_hint().exact(), Some(7));
            assert!(!replay.body().is_end_stream());
            let body = replay.into_body().collect().await.expect("is whole");
            assert_eq!(body.to_bytes(), first.body);
        }
    }
}

#[tokio::test]
async fn without_a_body_it_ends_at_once() {
    for status in [
        StatusCode::NO_CONTENT,
        StatusCode::NOT_MODIFIED,
        StatusCode::OK,
    ] {
        let (layer, handler) = (layer(), Handler::saying(move |_| reply(status, "")));
        for _ in 0..2 {
            let service = layer.layer(handler.clone());
            let response = service.oneshot(post("k")).await.expect("does not fail");
            assert_eq!(response.status(), status);
            assert!(response.body().is_end_stream());
            assert_eq!(response.body().size_hint().exact(), Some(0));
        }
        assert_eq!(handler.calls(), 1);
    }
}

#[tokio::test]
async fn content_length_is_made_anew_on_replays() {
    let (layer, handler) = (
        layer(),
        Handler::saying(|_| {
            let mut response = reply(StatusCode::OK, "four");
            let length = HeaderValue::from_static("4");
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
            response
        }),
    );
    let first = send(&layer, &handler, post("k")).await;
    assert_eq!(first.headers[header::CONTENT_LENGTH], "4");
    let replay = send(&layer, &handler, post("k")).await;
    assert!(!replay.headers.contains_key(header::CONTENT_LENGTH));
}

#[tokio::test]
async fn the_limit_is_kept_and_one_byte_more_leaves_a_tombstone() {
    let layer = layer().with_max_answer_bytes(4);
    let at_limit = Handler::saying(|_| Response::new(frames([Ok(b"12"), Ok(b"34")])));
    send(&layer, &at_limit, post("fits")).await;
    assert!(send(&layer, &at_limit, post("fits")).await.is_replay());

    let over = Handler::saying(|_| {
        let mut response = Response::new(frames([Ok(b"12"), Ok(b"345"), Ok(b"678")]));
        *response.status_mut() = StatusCode::CREATED;
        let place = HeaderValue::from_static("/orders/7");
        response.headers_mut().insert(header::LOCATION, place);
        response
    });
    let first = send(&layer, &over, post("over")).await;
    assert_eq!(first.text(), "12345678", "it is sent as it comes");
    for layer in [&layer, &layer.clone().with_replay_cache_bytes(0)] {
        let retry = send(layer, &over, post("over")).await;
        assert_eq!(retry.status, StatusCode::CONFLICT);
        assert_eq!(retry.problem(), "idempotency-answer-unavailable");
        assert_eq!(retry.headers[header::LOCATION], "/orders/7");
        let problem: serde_json::Value = serde_json::from_slice(&retry.body).expect("JSON");
        assert_eq!(problem["original_status"], 201);
        assert!(!retry.is_replay());
    }
    assert_eq!(over.calls(), 1);
}

#[tokio::test]
async fn a_long_answer_may_still_break_off_after_it_was_remembered() {
    let layer = layer().with_max_answer_bytes(2);
    let handler = Handler::saying(|_| Response::new(frames([Ok(b"123"), Err("reset")])));
    let sent = crate::common::try_send(&layer, &handler, post("k")).await;
    assert_eq!(sent.expect_err("the client sees it").to_string(), "reset");
    let retry = send(&layer, &handler, post("k")).await;
    assert_eq!(retry.problem(), "idempotency-answer-unavailable");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_500_and_uncertain() {
    let handler = Handler::saying(|_| Response::new(frames([Ok(b"half"), Err("reset")])));
    let layer = layer();
    let first = send(&layer, &handler, post("k")).await;
    assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(first.problem(), "idempotency-answer-failed");
    assert!(!first.text().contains("half"));
    let retry = send(&layer, &handler, post("k")).await;
    assert_eq!(retry.rejection, Some(Rejection::Indeterminate));
    assert_eq!(handler.calls(), 1);
}

/// A body whose end does not come: who reads it to the end never answers.
fn endless(first: &'static str) -> Body {
    use futures_util::StreamExt as _;
    let frames = [Ok::<_, Failed>(Frame::data(Bytes::from(first)))];
    let frames = futures_util::stream::iter(frames).chain(futures_util::stream::pending());
    StreamBody::new(frames).boxed_unsync()
}

#[tokio::test]
async fn what_has_no_end_is_sent_at_once_and_executed_once() {
    for (status, content_type) in [
        (StatusCode::OK, Some("text/event-stream")),
        (StatusCode::OK, Some("Text/Event-Stream; charset=utf-8")),
        (StatusCode::SWITCHING_PROTOCOLS, None),
    ] {
        let handler = Handler::saying(move |_| {
            let mut response = Response::new(endless("data: 1"));
            *response.status_mut() = status;
            if let Some(value) = content_type {
                let value = HeaderValue::from_static(value);
                response.headers_mut().insert(header::CONTENT_TYPE, value);
            }
            response
        });
        let layer = layer();
        let service = layer.layer(handler.clone());
        let response = service.oneshot(post("k")).await.expect("does not fail");
        assert_eq!(response.status(), status);
        let mut body = response.into_body();
        let frame = body.frame().await.expect("is there").expect("is whole");
        assert_eq!(frame.into_data().expect("is data"), "data: 1");
        let retry = send(&layer, &handler, post("k")).await;
        assert_eq!(retry.problem(), "idempotency-answer-unavailable");
        assert_eq!(handler.calls(), 1);
    }
}

#[tokio::test]
async fn extensions_of_the_first_answer_stay() {
    #[derive(Clone, Debug, PartialEq)]
    struct Mark;
    let handler = Handler::saying(|_| {
        let mut response = Response::new(full("x"));
        response.extensions_mut().insert(Mark);
        response
    });
    let response = layer().layer(handler).oneshot(post("k")).await;
    let response = response.expect("does not fail");
    assert_eq!(response.extensions().get(), Some(&Mark));
}
