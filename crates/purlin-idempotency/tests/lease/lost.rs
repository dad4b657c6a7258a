//! Heartbeats, and leases that others have taken over.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use purlin_idempotency::{Execution, LeaseLost, Rejection, store::State};
use tokio::sync::Semaphore;

use crate::{
    common::{Handler, full, layer, post, reply, send},
    unruly::{Fault, Unruly},
};

const SECOND: Duration = Duration::from_secs(1);

/// Begins, and answers `said` when it is let go.
fn held(said: &'static str) -> (Handler, Arc<Semaphore>, Arc<Semaphore>) {
    let (begun, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let inside = (Arc::clone(&begun), Arc::clone(&go));
    let handler = Handler::new(move |_, _| {
        let (begun, go) = (Arc::clone(&inside.0), Arc::clone(&inside.1));
        async move {
            begun.add_permits(1);
            go.acquire().await.expect("is open").forget();
            Ok(reply(StatusCode::CREATED, said))
        }
    });
    (handler, begun, go)
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_extended_while_the_handler_works() {
    let store = Unruly::new();
    let layer = store.layer();
    let (handler, begun, go) = held("late");
    let first = tokio::spawn(async move { send(&layer, &handler, post("k")).await });
    begun.acquire().await.expect("is open").forget();
    // Two failures are outlived.
    store.fails("extend", Fault::Before, 2);
    for beat in 1..=12 {
        tokio::time::sleep(10 * SECOND).await;
        store.clock.advance(9 * SECOND);
        // Lets the beat of this moment be done.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(store.calls("extend"), beat);
        let record = store.record().await.expect("is there");
        assert!(matches!(record.state, State::InFlight { .. }), "{beat}");
    }
    go.add_permits(1);
    assert_eq!(first.await.expect("does not panic").text(), "late");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(store.calls("extend"), 12, "and no longer");
}

#[tokio::test(start_paused = true)]
async fn a_late_completion_is_taken_unless_somebody_else_has_the_work() {
    let store = Unruly::new();
    let (handler, begun, go) = held("late");
    let (layer, counted) = (store.layer(), handler.clone());
    let first = tokio::spawn(async move { send(&layer, &counted, post("k")).await });
    begun.acquire().await.expect("is open").forget();
    store.clock.advance(31 * SECOND);
    let elsewhere = store.layer();
    let unknown = send(&elsewhere, &handler, post("k")).await;
    assert_eq!(unknown.status, StatusCode::CONFLICT);
    assert_eq!(unknown.problem(), "idempotency-indeterminate");
    let other = send(&elsewhere, &handler, post("k").map(|_| full("other"))).await;
    assert_eq!(other.problem(), "idempotency-key-reused");
    go.add_permits(1);
    assert_eq!(first.await.expect("does not panic").text(), "late");
    assert!(send(&elsewhere, &handler, post("k")).await.is_replay());
    assert_eq!(handler.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_lost_its_lease_answers_what_the_other_has_recorded() {
    let store = Unruly::new();
    let layer = store.layer().with_lease_lost(LeaseLost::Reexecute);
    let (handler, begun, go) = held("first");
    let here = layer.clone();
    let first = tokio::spawn(async move { send(&here, &handler, post("k")).await });
    begun.acquire().await.expect("is open").forget();
    store.clock.advance(31 * SECOND);
    let elsewhere = store.layer().with_lease_lost(LeaseLost::Reexecute);
    let second = Handler::new(|request, _| async move {
        let attempt = Execution::of(request.extensions()).map(Execution::attempt);
        assert_eq!(attempt, Some(2));
        Ok(reply(StatusCode::CREATED, "second"))
    });
    assert_eq!(send(&elsewhere, &second, post("k")).await.text(), "second");
    go.add_permits(1);
    let first = first.await.expect("does not panic");
    assert_eq!((first.is_replay(), first.text()), (true, "second"));
    assert_eq!(send(&layer, &second, post("k")).await.text(), "second");
    assert_eq!(second.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_lost_its_lease_to_work_under_way_is_told_to_ask_again() {
    let store = Unruly::new();
    let reexecuting = || store.layer().with_lease_lost(LeaseLost::Reexecute);
    let (handlers, layers) = ([held("1"), held("2")], [reexecuting(), reexecuting()]);
    let mut requests = Vec::new();
    for (layer, (handler, begun, _)) in layers.into_iter().zip(&handlers) {
        // The lease of the one before has lapsed, unless it was extended.
        store.clock.advance(31 * SECOND);
        let handler = handler.clone();
        requests.push(tokio::spawn(async move {
            send(&layer, &handler, post("k")).await
        }));
        begun.acquire().await.expect("is open").forget();
    }
    handlers[0].2.add_permits(1);
    let first = requests.remove(0).await.expect("does not panic");
    assert_eq!(first.problem(), "idempotency-in-flight");
    handlers[1].2.add_permits(1);
    assert_eq!(
        requests.remove(0).await.expect("does not panic").text(),
        "2"
    );
}

#[tokio::test(start_paused = true)]
async fn the_handler_sees_that_its_lease_was_lost() {
    let store = Unruly::new();
    let begun = Arc::new(Semaphore::new(0));
    let inside = Arc::clone(&begun);
    let handler = Handler::new(move |request, _| {
        let execution = Execution::of(request.extensions()).cloned();
        let begun = Arc::clone(&inside);
        async move {
            begun.add_permits(1);
            execution.expect("has a key").lease_lost().await;
            Ok(reply(StatusCode::CREATED, "too late"))
        }
    });
    let layer = store.layer().with_lease_lost(LeaseLost::Reexecute);
    let first = tokio::spawn(async move { send(&layer, &handler, post("k")).await });
    begun.acquire().await.expect("is open").forget();
    store.clock.advance(31 * SECOND);
    let elsewhere = store.layer().with_lease_lost(LeaseLost::Reexecute);
    send(&elsewhere, &Handler::counting(), post("k")).await;
    let first = first.await.expect("does not panic");
    assert_eq!((first.is_replay(), first.text()), (true, "1"));
}

#[tokio::test(start_paused = true)]
async fn who_takes_too_long_is_stopped_and_uncertain() {
    for (lease_lost, calls) in [(LeaseLost::Indeterminate, 1), (LeaseLost::Reexecute, 2)] {
        let store = Unruly::new();
        let layer = store
            .layer()
            .with_lease_lost(lease_lost)
            .with_max_execution(60 * SECOND);
        let handler = Handler::new(|_, _| std::future::pending());
        let slow = send(&layer, &handler, post("k")).await;
        assert_eq!(slow.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(slow.problem(), "idempotency-too-slow");
        assert_eq!(slow.headers["retry-after"], "1");
        let record = store.record().await.expect("is there");
        assert_eq!(record.state, State::Lapsed);
        let retry = send(&layer, &handler, post("k")).await;
        let unknown = retry.rejection == Some(Rejection::Indeterminate);
        assert_eq!((unknown, handler.calls()), (calls == 1, calls));
    }
}

#[tokio::test]
async fn child_keys_are_the_same_in_every_attempt_and_lead_nowhere() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keys = Arc::clone(&seen);
    let handler = Handler::new(move |request, _| {
        let execution = Execution::of(request.extensions()).expect("has a key");
        let labels = ["charge", "refund"].map(|label| execution.child_key(label));
        keys.lock().expect("nobody panics").push(labels);
        async { Ok(reply(StatusCode::BAD_GATEWAY, "x")) }
    });
    let layer = layer().with_lease_lost(LeaseLost::Reexecute);
    for key in ["k", "k", "l"] {
        send(&layer, &handler, post(key)).await;
    }
    let seen = seen.lock().expect("nobody panics");
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0][0] != seen[0][1] && seen[0][0] != seen[2][0]);
    assert_eq!(seen[0][0].len(), 36);
    assert_eq!(seen[0][0].as_bytes()[14], b'8', "a UUID of version 8");
}
