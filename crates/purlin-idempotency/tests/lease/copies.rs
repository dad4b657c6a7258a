//! Copies of one request that arrive at one process together.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode};
use purlin_idempotency::{IdempotencyLayer, InFlight, LeaseLost, Leased, OnStoreError, Rejection};
use purlin_store::testing::drop_at_every_await;
use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};

use crate::{
    common::{Body, Handler, Reply, full, post, reply, send},
    unruly::{Fault, Unruly},
};

const COPIES: usize = 100;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn spawn(
    layer: &IdempotencyLayer<Leased>,
    handler: &Handler,
    request: Request<Body>,
) -> JoinHandle<Reply> {
    let (layer, handler) = (layer.clone(), handler.clone());
    tokio::spawn(async move { send(&layer, &handler, request).await })
}

fn spawn_copies(layer: &IdempotencyLayer<Leased>, handler: &Handler) -> JoinSet<Reply> {
    let mut copies = JoinSet::new();
    for _ in 0..COPIES {
        let (layer, handler) = (layer.clone(), handler.clone());
        copies.spawn(async move { send(&layer, &handler, post("k")).await });
    }
    copies
}

/// A handler that answers when it is let go.
fn held() -> (Handler, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let inside = Arc::clone(&go_on);
    let handler = Handler::new(move |_, call| {
        let go_on = Arc::clone(&inside);
        async move {
            go_on.notified().await;
            Ok(reply(StatusCode::CREATED, call.to_string()))
        }
    });
    (handler, go_on)
}

/// The clock is paused: it goes on when nobody else can.
async fn until_all_wait() {
    sleep(Duration::from_millis(1)).await;
}

async fn until_held(store: &Unruly) {
    store.holding.acquire().await.expect("is open").forget();
    until_all_wait().await;
}

fn other() -> Request<Body> {
    post("k").map(|_| full("another"))
}

fn nobody_has_a_place(layer: &IdempotencyLayer<Leased>) -> bool {
    format!("{layer:?}").contains("InProcess(0)")
}

#[tokio::test(start_paused = true)]
async fn one_asks_and_the_others_are_told_that_it_is_at_work() {
    let (store, (handler, go_on)) = (Unruly::new(), held());
    let layer = store.layer();
    store.fails("claim", Fault::Held, 1);
    let mut copies = spawn_copies(&layer, &handler);
    until_held(&store).await;
    let another = spawn(&layer, &handler, other());
    until_all_wait().await;
    assert!(copies.try_join_next().is_none() && !another.is_finished());
    store.let_go.add_permits(1);
    for _ in 1..COPIES {
        let told = copies.join_next().await.expect("one is at work");
        assert_eq!(told.expect("is told").problem(), "idempotency-in-flight");
    }
    let another = another.await.expect("is told");
    assert_eq!(another.problem(), "idempotency-key-reused");
    go_on.notify_one();
    let first = copies.join_next().await.expect("is left");
    assert_eq!(first.expect("is done").text(), "1");
    assert_eq!((store.calls("claim"), store.all_calls()), (1, 2));
    assert!(nobody_has_a_place(&layer));
}

#[tokio::test(start_paused = true)]
async fn what_one_is_told_all_are_told_who_came_before_it_asked() {
    for (status, expected) in [(201, "1"), (502, "indeterminate"), (0, "in-flight")] {
        let store = Unruly::new();
        let elsewhere = store.layer();
        let at_work = match StatusCode::from_u16(status) {
            Ok(status) => Handler::saying(move |_| reply(status, "1")),
            Err(_) => held().0,
        };
        spawn(&elsewhere, &at_work, post("k"));
        until_all_wait().await;
        let (layer, handler, before) = (store.layer(), Handler::counting(), store.calls("claim"));
        store.fails("claim", Fault::Held, 1);
        let copies = spawn_copies(&layer, &handler);
        until_held(&store).await;
        store.let_go.add_permits(1);
        for told in copies.join_all().await {
            if expected == "1" {
                assert_eq!((told.is_replay(), told.text()), (true, expected));
            } else {
                assert_eq!(told.problem(), format!("idempotency-{expected}"));
            }
        }
        // The first, and one for all who came while it asked.
        assert_eq!(store.calls("claim") - before, 2, "{expected}");
        assert_eq!(handler.calls(), 0);
        assert!(nobody_has_a_place(&layer));
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_work_elsewhere_ask_together() {
    let (store, (at_work, go_on)) = (Unruly::new(), held());
    let first = spawn(&store.layer(), &at_work, post("k"));
    until_all_wait().await;
    let (before, handler, timeout) = (store.calls("claim"), Handler::counting(), MINUTE);
    let layer = store.layer().with_in_flight(InFlight::Wait { timeout });
    let copies = spawn_copies(&layer, &handler);
    sleep(SECOND).await;
    let calls = store.calls("claim") - before;
    assert!((10..=12).contains(&calls), "every 100 ms: {calls}");
    go_on.notify_one();
    first.await.expect("is done");
    for told in copies.join_all().await {
        assert_eq!((told.is_replay(), told.text()), (true, "1"));
    }
    assert!(store.calls("claim") - before <= calls + 2);
}

/// What was asked before a request came says nothing about what has happened since.
#[tokio::test(start_paused = true)]
async fn who_comes_while_another_asks_is_not_told_what_may_be_over() {
    let (store, (working, go_on)) = (Unruly::new(), held());
    let (here, elsewhere, handler) = (store.layer(), store.layer(), Handler::counting());
    let at_work = spawn(&elsewhere, &working, post("k"));
    until_all_wait().await;
    store.fails("claim", Fault::Held, 1);
    let asked_before = spawn(&here, &handler, post("k"));
    until_held(&store).await;
    go_on.notify_one();
    at_work.await.expect("is done");
    let came_after = spawn(&here, &handler, post("k"));
    until_all_wait().await;
    store.let_go.add_permits(1);
    let asked_before = asked_before.await.expect("is told");
    assert_eq!(asked_before.problem(), "idempotency-in-flight");
    assert_eq!(came_after.await.expect("is told").text(), "1");
    assert_eq!(handler.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_one_gets_no_answer_the_next_asks() {
    for fault in [Fault::Hangs, Fault::Panics] {
        let (store, handler) = (Unruly::new(), Handler::counting());
        let layer = store.layer();
        store.fails("claim", fault, 1);
        let first = spawn(&layer, &handler, post("k"));
        sleep(SECOND).await;
        let next = spawn(&layer, &handler, post("k"));
        until_all_wait().await;
        assert_eq!((store.calls("claim"), next.is_finished()), (1, false));
        store.let_go.add_permits(1);
        match first.await {
            Ok(told) => assert_eq!(told.problem(), "idempotency-store-unavailable"),
            Err(error) => assert!(error.is_panic() && fault == Fault::Panics),
        }
        let next = next.await.expect("does not panic");
        if fault == Fault::Hangs {
            assert_eq!((next.status, next.text()), (StatusCode::CREATED, "1"));
        } else {
            // The claim of the one that is gone is there.
            assert_eq!(next.problem(), "idempotency-in-flight");
        }
        assert_eq!(store.calls("claim"), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_for_the_store() {
    for on_store_error in [OnStoreError::Reject, OnStoreError::PassThrough] {
        let (store, handler) = (Unruly::new(), Handler::counting());
        let layer = store.layer().with_on_store_error(on_store_error);
        store.fails("claim", Fault::Hangs, usize::MAX);
        let begun = Instant::now();
        let copies = spawn_copies(&layer, &handler);
        sleep(3 * SECOND).await;
        // Waits for two seconds, asks, and has three left.
        let late = spawn(&layer, &handler, post("k"));
        let executed = on_store_error == OnStoreError::PassThrough;
        let status = match executed {
            true => StatusCode::CREATED,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        for told in copies.join_all().await {
            assert_eq!(told.status, status);
        }
        assert!(begun.elapsed() < 6 * SECOND);
        assert_eq!(late.await.expect("is told").status, status);
        assert!(begun.elapsed() < 9 * SECOND);
        assert_eq!(store.calls("claim"), 2);
        assert_eq!(handler.calls(), usize::from(executed) * (COPIES + 1));
        assert!(nobody_has_a_place(&layer));
    }
}

/// What another request is refused, a retry may be given.
#[tokio::test(start_paused = true)]
async fn who_may_take_over_asks_itself() {
    let store = Unruly::new();
    let layer = store.layer().with_lease_lost(LeaseLost::Reexecute);
    let failing = Handler::saying(|_| reply(StatusCode::BAD_GATEWAY, "x"));
    send(&layer, &failing, post("k")).await;
    let handler = Handler::counting();
    store.fails("claim", Fault::Held, 1);
    let others: Vec<_> = (0..COPIES)
        .map(|_| spawn(&layer, &handler, other()))
        .collect();
    let retry = spawn(&layer, &handler, post("k"));
    until_held(&store).await;
    store.let_go.add_permits(1);
    assert_eq!(retry.await.expect("is executed").text(), "1");
    for other in others {
        let told = other.await.expect("is told");
        assert_eq!(told.rejection, Some(Rejection::KeyReused));
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_leave_while_they_wait_leave_nothing() {
    let (store, handler) = (Unruly::new(), Handler::counting());
    let layer = store.layer();
    store.fails("claim", Fault::Held, 1);
    let first = spawn(&layer, &handler, post("k"));
    until_held(&store).await;
    let mut copies = spawn_copies(&layer, &handler);
    until_all_wait().await;
    copies.shutdown().await;
    assert_eq!(store.calls("claim"), 1);
    store.let_go.add_permits(1);
    assert_eq!(first.await.expect("is done").text(), "1");
    layer.drain(Duration::ZERO).await.expect("nobody is left");
    assert!(nobody_has_a_place(&layer));
}

#[tokio::test(start_paused = true)]
async fn wherever_one_is_dropped_its_copy_gets_an_answer() {
    let (store, handler) = (Unruly::new(), Handler::counting());
    let timeout = MINUTE;
    let layer = store.layer().with_in_flight(InFlight::Wait { timeout });
    let number = AtomicUsize::new(0);
    let copy = RefCell::new(None);
    let dropped = drop_at_every_await(
        || {
            let key = format!("k{}", number.load(Ordering::SeqCst));
            let (layer, handler) = (layer.clone(), handler.clone());
            // It runs when the other waits.
            *copy.borrow_mut() = Some(spawn(&layer, &handler, post(&key)));
            async move { send(&layer, &handler, post(&key)).await }
        },
        async |at| {
            let copy = copy.borrow_mut().take().expect("was spawned");
            let told = copy.await.expect("does not panic");
            layer.drain(MINUTE).await.expect("all are answered");
            let executed = number.fetch_add(1, Ordering::SeqCst) + 1;
            assert_eq!(told.text(), executed.to_string(), "{at:?}");
            assert_eq!(handler.calls(), executed, "{at:?}");
            assert!(nobody_has_a_place(&layer));
        },
    )
    .await;
    assert!(dropped >= 4, "claim and completion wait: {dropped}");
}
