//! A duplicate while the first is at work, and another request under the same key.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};
use purlin_idempotency::{IdempotencyLayer, InFlight, Leased, MemoryStore, Rejection};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

use crate::common::{Body, Handler, Reply, full, layer, post, reply, request, send};

/// A handler that says that it has begun, and answers when it is let go.
struct Held {
    handler: Handler,
    begun: Arc<Notify>,
    go: Arc<Notify>,
}

impl Held {
    fn new(status: StatusCode) -> Self {
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let inside = (Arc::clone(&begun), Arc::clone(&go));
        let handler = Handler::new(move |_, call| {
            let (begun, go) = (Arc::clone(&inside.0), Arc::clone(&inside.1));
            async move {
                begun.notify_one();
                go.notified().await;
                Ok(reply(status, call.to_string()))
            }
        });
        Self { handler, begun, go }
    }

    /// Sends the first request and returns when it is being worked on.
    async fn start(&self, layer: &IdempotencyLayer<Leased>) -> JoinHandle<Reply> {
        let first = spawn(layer, &self.handler, post("k"));
        self.begun.notified().await;
        first
    }
}

fn spawn(
    layer: &IdempotencyLayer<Leased>,
    handler: &Handler,
    request: Request<Body>,
) -> JoinHandle<Reply> {
    let (layer, handler) = (layer.clone(), handler.clone());
    tokio::spawn(async move { send(&layer, &handler, request).await })
}

/// A layer on the same store that shares nothing else, as in another process.
fn elsewhere(store: &MemoryStore) -> IdempotencyLayer<Leased> {
    IdempotencyLayer::leased(store.clone()).single_tenant()
}

fn waiting(layer: IdempotencyLayer<Leased>, seconds: u64) -> IdempotencyLayer<Leased> {
    let timeout = Duration::from_secs(seconds);
    layer.with_in_flight(InFlight::Wait { timeout })
}

#[tokio::test]
async fn a_duplicate_gets_409_and_when_to_ask_again() {
    let store = MemoryStore::new();
    let here = elsewhere(&store);
    let held = Held::new(StatusCode::CREATED);
    let first = held.start(&here).await;
    for layer in [here.clone(), elsewhere(&store)] {
        let layer = layer.with_retry_after(Duration::from_millis(2_500));
        let reply = send(&layer, &held.handler, post("k")).await;
        assert_eq!(reply.status, StatusCode::CONFLICT);
        assert_eq!(reply.problem(), "idempotency-in-flight");
        assert_eq!(reply.headers["retry-after"], "3");
    }
    held.go.notify_one();
    let first = first.await.expect("does not panic");
    assert_eq!(send(&here, &held.handler, post("k")).await.body, first.body);
    assert_eq!(held.handler.calls(), 1);
}

fn others() -> [(&'static str, Request<Body>); 5] {
    let mut target = post("k");
    *target.uri_mut() = "/orders?x=2".parse().expect("is a URI");
    let mut content_type = post("k");
    let value = HeaderValue::from_static("application/json");
    content_type.headers_mut().insert(CONTENT_TYPE, value);
    [
        ("body", post("k").map(|_| full("{} "))),
        ("no body", post("k").map(|_| full(""))),
        ("method", request(Method::PUT, Some("k"), "{}")),
        ("target", target),
        ("content type", content_type),
    ]
}

#[tokio::test]
async fn another_request_under_the_key_is_422_at_any_time() {
    let store = MemoryStore::new();
    let here = elsewhere(&store);
    let held = Held::new(StatusCode::CREATED);
    let layers = || {
        [
            here.clone(),
            here.clone().with_replay_cache_bytes(0),
            elsewhere(&store),
        ]
    };
    let first = held.start(&here).await;
    for layer in layers() {
        for (what, other) in others() {
            let reply = send(&waiting(layer.clone(), 60), &held.handler, other).await;
            assert_eq!(reply.problem(), "idempotency-key-reused", "{what}");
        }
    }
    held.go.notify_one();
    first.await.expect("does not panic");
    for layer in layers() {
        for (what, other) in others() {
            let reply = send(&layer, &held.handler, other).await;
            assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{what}");
            assert_eq!(reply.problem(), "idempotency-key-reused", "{what}");
        }
    }
    assert_eq!(held.handler.calls(), 1);
}

#[tokio::test]
async fn also_against_work_whose_outcome_is_not_known() {
    let (layer, handler) = (
        layer(),
        Handler::saying(|_| reply(StatusCode::BAD_GATEWAY, "x")),
    );
    send(&layer, &handler, post("k")).await;
    for lease_lost in [Default::default(), purlin_idempotency::LeaseLost::Reexecute] {
        let layer = layer.clone().with_lease_lost(lease_lost);
        for (what, other) in others() {
            let reply = send(&layer, &handler, other).await;
            assert_eq!(reply.problem(), "idempotency-key-reused", "{what}");
        }
    }
    assert_eq!(handler.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_answer_here_and_elsewhere() {
    let store = MemoryStore::new();
    let here = elsewhere(&store);
    let held = Held::new(StatusCode::CREATED);
    let first = held.start(&here).await;
    let layers = [here.clone(), elsewhere(&store)];
    let waiters = layers.map(|layer| spawn(&waiting(layer, 60), &held.handler, post("k")));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    held.go.notify_one();
    assert!(!first.await.expect("does not panic").is_replay());
    for waiter in waiters {
        let reply = waiter.await.expect("does not panic");
        assert_eq!((reply.is_replay(), reply.text()), (true, "1"));
    }
    assert_eq!(held.handler.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_gets_409_in_time() {
    let store = MemoryStore::new();
    let here = elsewhere(&store);
    let held = Held::new(StatusCode::CREATED);
    let _first = held.start(&here).await;
    for layer in [here.clone(), elsewhere(&store)] {
        let begun = Instant::now();
        let reply = send(&waiting(layer, 7), &held.handler, post("k")).await;
        assert_eq!(reply.problem(), "idempotency-in-flight");
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(7) && waited < Duration::from_millis(7_010));
    }
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_for_ever_waits() {
    let store = MemoryStore::new();
    let here = elsewhere(&store).with_in_flight(InFlight::Wait {
        timeout: Duration::MAX,
    });
    let held = Held::new(StatusCode::CREATED);
    let _first = held.start(&here).await;
    let waiter = spawn(&here, &held.handler, post("k"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!waiter.is_finished());
    held.go.notify_one();
    assert_eq!(waiter.await.expect("does not panic").text(), "1");
}

#[tokio::test(start_paused = true)]
async fn who_waits_executes_what_was_forgotten() {
    let store = MemoryStore::new();
    let here = elsewhere(&store);
    let held = Held::new(StatusCode::TOO_MANY_REQUESTS);
    let first = held.start(&here).await;
    let waiter = spawn(&waiting(elsewhere(&store), 60), &held.handler, post("k"));
    held.go.notify_one();
    assert_eq!(first.await.expect("does not panic").text(), "1");
    held.begun.notified().await;
    held.go.notify_one();
    assert_eq!(waiter.await.expect("does not panic").text(), "2");
}

#[tokio::test(start_paused = true)]
async fn who_waits_learns_that_the_outcome_is_not_known() {
    let store = MemoryStore::new();
    let here = elsewhere(&store);
    let held = Held::new(StatusCode::BAD_GATEWAY);
    let first = held.start(&here).await;
    let layers = [here.clone(), elsewhere(&store)];
    let waiters = layers.map(|layer| spawn(&waiting(layer, 60), &held.handler, post("k")));
    held.go.notify_one();
    first.await.expect("does not panic");
    for waiter in waiters {
        let reply = waiter.await.expect("does not panic");
        assert_eq!(reply.rejection, Some(Rejection::Indeterminate));
    }
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_all_of_them_and_says_how_many_there_are() {
    let here = layer();
    here.drain(Duration::ZERO)
        .await
        .expect("nothing is at work");
    let held = Held::new(StatusCode::CREATED);
    let first = held.start(&here).await;
    let error = here.drain(Duration::from_secs(3)).await;
    assert_eq!(error.expect_err("one is at work").running, 1);
    let draining = here.clone();
    let drained = tokio::spawn(async move { draining.drain(Duration::MAX).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!drained.is_finished());
    held.go.notify_one();
    drained
        .await
        .expect("does not panic")
        .expect("it has ended");
    first.await.expect("does not panic");
}
