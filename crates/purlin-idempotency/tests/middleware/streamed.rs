//! Requests that the handler reads as they come.

use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Channel, StreamBody};
use purlin_idempotency::{IdempotencyLayer, LeaseLost, Leased, MemoryStore, Rejection};

use crate::common::{Body, Failed, Handler, full, layer, post, reply, send};

fn streaming() -> IdempotencyLayer<Leased> {
    layer().with_streamed_requests().with_max_request_bytes(1)
}

fn with_body(body: Body) -> Request<Body> {
    post("k").map(|_| body)
}

/// Reads at most `limit` frames and answers with them.
fn reading(limit: usize) -> Handler {
    Handler::new(move |request, _| async move {
        let (mut body, mut read) = (request.into_body(), Vec::new());
        for _ in 0..limit {
            match body.frame().await {
                None => break,
                Some(Err(_)) => return Ok(reply(StatusCode::BAD_REQUEST, "broken off")),
                Some(Ok(frame)) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        }
        Ok(reply(StatusCode::CREATED, read))
    })
}

fn frames<const N: usize>(parts: [Result<&'static str, &'static str>; N]) -> Body {
    let frames = parts.map(|part| match part {
        Ok(data) => Ok(Frame::data(Bytes::from(data))),
        Err(error) => Err(Failed(error)),
    });
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

#[tokio::test]
async fn the_handler_is_called_before_the_body_is_there() {
    let (sender, body) = Channel::<Bytes, Failed>::new(1);
    let sender = Mutex::new(Some(sender));
    let handler = Handler::new(move |request, _| {
        let sender = sender.lock().expect("nobody panics").take();
        async move {
            let mut sender = sender.expect("is called once");
            sender
                .send_data(Bytes::from("later"))
                .await
                .expect("is read");
            drop(sender);
            let read = request
                .into_body()
                .collect()
                .await
                .expect("is whole")
                .to_bytes();
            Ok(reply(StatusCode::CREATED, read))
        }
    });
    let layer = streaming();
    let first = send(&layer, &handler, with_body(body.boxed_unsync())).await;
    assert_eq!(first.text(), "later");
    let retry = send(&layer, &handler, with_body(frames([Ok("la"), Ok("ter")]))).await;
    assert!(retry.is_replay());
}

#[tokio::test]
async fn what_was_read_to_its_end_is_compared_to_its_end() {
    for layer in [streaming(), streaming().with_replay_cache_bytes(0)] {
        let handler = reading(usize::MAX);
        let first = send(&layer, &handler, with_body(frames([Ok("ab"), Ok("cd")]))).await;
        assert_eq!(first.text(), "abcd");
        let same = send(
            &layer,
            &handler,
            with_body(frames([Ok("a"), Ok(""), Ok("bcd")])),
        )
        .await;
        assert!(same.is_replay());
        for other in ["abc", "abcde", "abcx", ""] {
            let other = send(&layer, &handler, with_body(full(other))).await;
            assert_eq!(other.rejection, Some(Rejection::KeyReused));
        }
        assert_eq!(handler.calls(), 1);
    }
}

#[tokio::test]
async fn what_was_read_in_part_is_compared_in_part() {
    let (layer, handler) = (streaming(), reading(1));
    send(
        &layer,
        &handler,
        with_body(frames([Ok("head"), Ok("rest")])),
    )
    .await;
    // What the handler did not see had no effect, and need not come at all.
    for same in [
        frames([Ok("headrest")]),
        frames([Ok("he"), Ok("ad"), Err("reset")]),
        full("head"),
    ] {
        assert!(send(&layer, &handler, with_body(same)).await.is_replay());
    }
    let other = send(&layer, &handler, with_body(full("hea"))).await;
    assert_eq!(other.rejection, Some(Rejection::KeyReused));
    let broken = send(
        &layer,
        &handler,
        with_body(frames([Ok("he"), Err("reset")])),
    )
    .await;
    assert_eq!(broken.problem(), "idempotency-body-unreadable");
    assert_eq!(handler.calls(), 1);
}

#[tokio::test]
async fn a_handler_that_reads_nothing_has_one_request_for_all_bodies() {
    let (layer, handler) = (streaming(), reading(0));
    send(&layer, &handler, with_body(full("one"))).await;
    assert!(
        send(&layer, &handler, with_body(full("two")))
            .await
            .is_replay()
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_in_the_handler_is_forgotten() {
    let (layer, handler) = (streaming(), reading(usize::MAX));
    let broken = send(
        &layer,
        &handler,
        with_body(frames([Ok("ha"), Err("reset")])),
    )
    .await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    let whole = send(&layer, &handler, with_body(full("half and half"))).await;
    assert_eq!(whole.text(), "half and half");
}

#[tokio::test]
async fn it_is_also_compared_with_what_other_routes_have_read() {
    let store = MemoryStore::new();
    let buffered = IdempotencyLayer::leased(store).single_tenant();
    let streamed = buffered.clone().with_streamed_requests();
    let handler = reading(usize::MAX);
    send(&buffered, &handler, with_body(full("whole"))).await;
    assert!(
        send(&streamed, &handler, with_body(full("whole")))
            .await
            .is_replay()
    );
    let other = send(&streamed, &handler, with_body(full("whole and more"))).await;
    assert_eq!(other.rejection, Some(Rejection::KeyReused));

    let in_part = reading(1);
    let streamed = streamed.with_namespace("b");
    send(
        &streamed,
        &in_part,
        with_body(frames([Ok("head"), Ok("rest")])),
    )
    .await;
    let buffered = buffered.with_namespace("b");
    assert!(
        send(&buffered, &in_part, with_body(full("headrest")))
            .await
            .is_replay()
    );
    for other in ["hea", "heady"] {
        let reply = send(&buffered, &in_part, with_body(full(other))).await;
        assert_eq!(reply.is_replay(), other == "heady", "{other}");
    }
}

/// The fingerprint of work under way must not use up the body that is still to be executed.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_buffered_request_still_has_its_body() {
    let store = MemoryStore::new();
    let layer = IdempotencyLayer::leased(store.clone()).single_tenant();
    let (begun, go) = (
        tokio::sync::Semaphore::new(0),
        tokio::sync::Semaphore::new(0),
    );
    let gates = std::sync::Arc::new((begun, go));
    let inside = std::sync::Arc::clone(&gates);
    let slow = Handler::new(move |_, _| {
        let gates = std::sync::Arc::clone(&inside);
        async move {
            gates.0.add_permits(1);
            gates.1.acquire().await.expect("is open").forget();
            Ok(reply(StatusCode::TOO_MANY_REQUESTS, "forgotten"))
        }
    });
    let first = tokio::spawn(async move { send(&layer, &slow, with_body(full("body"))).await });
    gates.0.acquire().await.expect("is open").forget();
    let elsewhere = IdempotencyLayer::leased(store)
        .single_tenant()
        .with_streamed_requests()
        .with_in_flight(purlin_idempotency::InFlight::Wait {
            timeout: std::time::Duration::from_secs(60),
        });
    let handler = reading(usize::MAX);
    let counted = handler.clone();
    let second =
        tokio::spawn(async move { send(&elsewhere, &counted, with_body(full("body"))).await });
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    gates.1.add_permits(1);
    first.await.expect("does not panic");
    let second = second.await.expect("does not panic");
    assert_eq!((second.text(), handler.calls()), ("body", 1));
}

/// A body that is made as it is read, so that what is kept of it shows in the allocations.
fn long_body(frames: usize) -> Body {
    static FRAME: [u8; 65_536] = [7; 65_536];
    let frames = (0..frames).map(|_| Ok::<_, Failed>(Frame::data(Bytes::from_static(&FRAME))));
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

#[test]
fn a_long_upload_is_compared_without_being_held() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("there is a runtime");
    let handler = Handler::new(|request, _| async {
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            frame.expect("is whole");
        }
        Ok(reply(StatusCode::CREATED, "read"))
    });
    let layer = streaming();
    let mut measured = Vec::new();
    for is_replay in [false, true] {
        let allocated = allocation_counter::measure(|| {
            let sent = send(&layer, &handler, with_body(long_body(256)));
            assert_eq!(runtime.block_on(sent).is_replay(), is_replay);
        });
        measured.push(allocated.bytes_max);
    }
    // 16 MiB went by.
    assert!(measured.iter().all(|bytes| *bytes < 65_536), "{measured:?}");
}

#[tokio::test]
async fn a_lapsed_upload_is_executed_again_whatever_it_holds() {
    let layer = streaming().with_lease_lost(LeaseLost::Reexecute);
    let handler = Handler::saying(|_| reply(StatusCode::BAD_GATEWAY, "x"));
    send(&layer, &handler, with_body(full("a"))).await;
    send(&layer, &handler, with_body(full("a"))).await;
    assert_eq!(handler.calls(), 2);
}
