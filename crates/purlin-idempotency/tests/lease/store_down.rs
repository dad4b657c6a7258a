//! A store that does not answer, or whose answer is lost.

use std::time::Duration;

use http::StatusCode;
use purlin_idempotency::{LeaseLost, OnStoreError, Rejection, store::State};
use tokio::time::Instant;

use crate::{
    common::{Handler, post, reply, send},
    unruly::{Fault, Unruly},
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn what_cannot_be_claimed_is_503_and_leaves_nothing() {
    for fault in [Fault::Before, Fault::After, Fault::Held] {
        let (store, handler) = (Unruly::new(), Handler::counting());
        let layer = store.layer().with_store_timeout(2 * SECOND);
        store.fails("claim", fault, 1);
        let begun = Instant::now();
        let reply = send(&layer, &handler, post("k")).await;
        assert!(begun.elapsed() < 3 * SECOND, "the deadline is kept");
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(reply.problem(), "idempotency-store-unavailable");
        assert_eq!(reply.headers["retry-after"], "1");
        assert_eq!(handler.calls(), 0);
        layer.drain(60 * SECOND).await.expect("it is undone");
        assert_eq!(store.record().await, None, "{fault:?}");
        assert_eq!(
            send(&layer, &handler, post("k")).await.status,
            StatusCode::CREATED
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_undone_even_after_it_has_lapsed() {
    let (store, handler) = (Unruly::new(), Handler::counting());
    let layer = store.layer();
    store.fails("claim", Fault::After, 1);
    send(&layer, &handler, post("k")).await;
    store.fails("get", Fault::Before, 4);
    store.clock.advance(31 * SECOND);
    layer.drain(60 * SECOND).await.expect("it is undone");
    // It is looked for, and never claimed once more.
    assert_eq!((store.calls("claim"), store.calls("get")), (1, 5));
    assert_eq!(store.record().await, None);
}

#[tokio::test(start_paused = true)]
async fn undoing_forgets_no_earlier_attempt() {
    let store = Unruly::new();
    let layer = store.layer().with_lease_lost(LeaseLost::Reexecute);
    let failing = Handler::saying(|_| reply(StatusCode::BAD_GATEWAY, "x"));
    send(&layer, &failing, post("k")).await;
    store.fails("claim", Fault::After, 1);
    send(&layer, &failing, post("k")).await;
    layer.drain(60 * SECOND).await.expect("it is undone");
    let record = store.record().await.expect("is still there");
    assert_eq!((record.attempt, record.state), (2, State::Lapsed));
}

#[tokio::test(start_paused = true)]
async fn pass_through_executes_without_protection() {
    let (store, handler) = (Unruly::new(), Handler::counting());
    let layer = store.layer().with_on_store_error(OnStoreError::PassThrough);
    for call in ["1", "2"] {
        store.fails("claim", Fault::Before, 1);
        let reply = send(&layer, &handler, post("k")).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::CREATED, call));
    }
    layer.drain(60 * SECOND).await.expect("it is undone");
    assert_eq!(store.record().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_recorded_later_and_drain_waits_for_it() {
    for fault in [Fault::Before, Fault::After, Fault::Held] {
        let (store, handler) = (Unruly::new(), Handler::counting());
        let layer = store.layer().with_store_timeout(SECOND);
        store.fails("complete", fault, 3);
        let first = send(&layer, &handler, post("k")).await;
        assert_eq!((first.status, first.text()), (StatusCode::CREATED, "1"));
        let error = layer.drain(Duration::ZERO).await;
        assert_eq!(error.expect_err("it is not recorded").running, 1);
        let busy = send(&layer, &handler, post("k")).await;
        assert_eq!(busy.problem(), "idempotency-in-flight");
        layer.drain(60 * SECOND).await.expect("it is recorded");
        assert_eq!(store.calls("complete"), 4);
        let retry = send(&layer, &handler, post("k")).await;
        assert_eq!((retry.is_replay(), retry.text()), (true, "1"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_forgotten_even_if_that_fails_at_first() {
    for fault in [Fault::Before, Fault::After] {
        let store = Unruly::new();
        let layer = store.layer();
        let handler = Handler::saying(|_| reply(StatusCode::TOO_MANY_REQUESTS, "x"));
        store.fails("release", fault, 2);
        let first = send(&layer, &handler, post("k")).await;
        assert_eq!(first.status, StatusCode::TOO_MANY_REQUESTS);
        layer.drain(60 * SECOND).await.expect("it is released");
        assert_eq!(store.record().await, None, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_cannot_be_abandoned_lapses() {
    let store = Unruly::new();
    let layer = store.layer();
    let handler = Handler::saying(|_| reply(StatusCode::BAD_GATEWAY, "x"));
    store.fails("abandon", Fault::Before, 1);
    assert_eq!(
        send(&layer, &handler, post("k")).await.status,
        StatusCode::BAD_GATEWAY
    );
    let busy = send(&layer, &handler, post("k")).await;
    assert_eq!(busy.problem(), "idempotency-in-flight");
    store.clock.advance(30 * SECOND);
    let unknown = send(&layer, &handler, post("k")).await;
    assert_eq!(unknown.rejection, Some(Rejection::Indeterminate));
    assert_eq!(handler.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replay_from_memory_asks_the_store_nothing() {
    let (store, handler) = (Unruly::new(), Handler::counting());
    let layer = store.layer().with_replay_cache_bytes(1 << 20);
    send(&layer, &handler, post("k")).await;
    assert_eq!(store.all_calls(), 2, "claim and complete");
    for _ in 0..3 {
        assert!(send(&layer, &handler, post("k")).await.is_replay());
    }
    assert_eq!(store.all_calls(), 2);
    let asking = layer.with_replay_cache_bytes(0);
    assert!(send(&asking, &handler, post("k")).await.is_replay());
    assert_eq!(store.all_calls(), 3);
}

/// An answer that was on its way from the store while it was erased there.
#[tokio::test(start_paused = true)]
async fn what_is_erased_does_not_come_back_into_memory() {
    let (store, handler) = (Unruly::new(), Handler::counting());
    send(&store.layer(), &handler, post("k")).await;
    let layer = store.layer().with_replay_cache_bytes(1 << 20);
    store.fails("claim", Fault::Held, 1);
    let reading = {
        let (layer, handler) = (layer.clone(), handler.clone());
        tokio::spawn(async move { send(&layer, &handler, post("k")).await })
    };
    store.holding.acquire().await.expect("is open").forget();
    let erased = layer
        .erase_scope(&purlin_idempotency::Scope::single_tenant())
        .await;
    assert_eq!(erased.expect("does not fail"), 1);
    store.let_go.add_permits(1);
    assert!(
        reading.await.expect("does not panic").is_replay(),
        "it was read before"
    );
    let gone = send(&layer, &handler, post("k")).await;
    assert_eq!(gone.problem(), "idempotency-answer-unavailable");
}

/// The fencing token does not go backwards while the first attempt may still be at work.
#[tokio::test(start_paused = true)]
async fn what_is_forgotten_after_a_take_over_keeps_its_attempts() {
    let store = Unruly::new();
    let layer = store.layer().with_lease_lost(LeaseLost::Reexecute);
    for (status, attempt) in [(502, 1), (429, 2), (201, 3)] {
        let status = StatusCode::from_u16(status).expect("is a status");
        let handler = Handler::saying(move |_| reply(status, "x"));
        assert_eq!(send(&layer, &handler, post("k")).await.status, status);
        let record = store.record().await.expect("it is not forgotten");
        assert_eq!(record.attempt, attempt, "{status}");
    }
}
