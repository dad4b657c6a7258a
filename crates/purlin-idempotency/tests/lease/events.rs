//! What an observer is told.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use purlin_idempotency::{Event, LeaseLost, Observer, OnStoreError};

use crate::{
    common::{Handler, post, reply, send},
    unruly::{Fault, Unruly},
};

#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("nobody panics"))
    }
}

impl Observer for Told {
    fn on_event(&self, event: &Event<'_>) {
        let mut said = event.name().to_owned();
        match event {
            Event::Executed {
                attempt, outcome, ..
            } => said += &format!(" {attempt} {outcome:?}"),
            Event::Replayed { from_memory, .. } => said += &format!(" {from_memory}"),
            Event::LeaseLost { attempt, .. } => said += &format!(" {attempt}"),
            _ => {}
        }
        self.0.lock().expect("nobody panics").push(said);
    }
}

#[tokio::test(start_paused = true)]
async fn each_thing_is_told_once() {
    let (store, told) = (Unruly::new(), Told::default());
    let layer = store
        .layer()
        .with_observer(told.clone())
        .with_max_answer_bytes(4);
    let handler = Handler::counting();
    send(&layer, &handler, post("k")).await;
    assert_eq!(told.take(), ["executed 1 Keep"]);
    send(&layer, &handler, post("k")).await;
    assert_eq!(told.take(), ["replayed false"]);
    let cached = layer.clone().with_replay_cache_bytes(1 << 20);
    send(&cached, &handler, post("k")).await;
    told.take();
    send(&cached, &handler, post("k")).await;
    assert_eq!(told.take(), ["replayed true"]);
    send(&layer, &handler, post("")).await;
    assert_eq!(told.take(), ["idempotency-key-invalid"]);

    let long = Handler::saying(|_| reply(StatusCode::OK, "longer"));
    send(&layer, &long, post("long")).await;
    send(&layer, &long, post("long")).await;
    assert_eq!(
        told.take(),
        ["executed 1 Keep", "idempotency-answer-unavailable"]
    );

    let failing = Handler::saying(|_| reply(StatusCode::BAD_GATEWAY, "x"));
    let again = layer.clone().with_lease_lost(LeaseLost::Reexecute);
    send(&again, &failing, post("again")).await;
    send(&again, &failing, post("again")).await;
    assert_eq!(
        told.take(),
        ["executed 1 Uncertain", "executed 2 Uncertain"]
    );

    let busy = Handler::saying(|_| reply(StatusCode::TOO_MANY_REQUESTS, "x"));
    send(&layer, &busy, post("busy")).await;
    assert_eq!(told.take(), ["executed 1 Forget"]);

    store.fails("claim", Fault::Before, 1);
    send(&layer, &handler, post("down")).await;
    assert_eq!(told.take(), ["idempotency-store-unavailable"]);
    store.fails("claim", Fault::Before, 1);
    let open = layer.clone().with_on_store_error(OnStoreError::PassThrough);
    send(&open, &handler, post("down")).await;
    assert_eq!(told.take(), ["passed_through"]);
    store.fails("complete", Fault::Before, 1);
    send(&layer, &handler, post("later")).await;
    assert_eq!(told.take(), ["not_recorded", "executed 1 Keep"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_told_once() {
    let (store, told) = (Unruly::new(), Told::default());
    let reexecuting = || store.layer().with_lease_lost(LeaseLost::Reexecute);
    let other = reexecuting();
    let taken_over = store.clone();
    let layer = reexecuting().with_observer(told.clone());
    let handler = Handler::new(move |_, _| {
        let (store, other) = (taken_over.clone(), other.clone());
        async move {
            store.clock.advance(std::time::Duration::from_secs(31));
            send(&other, &Handler::counting(), post("k")).await;
            // Past a heartbeat, which finds out first.
            tokio::time::sleep(std::time::Duration::from_secs(11)).await;
            Ok(reply(StatusCode::CREATED, "x"))
        }
    });
    send(&layer, &handler, post("k")).await;
    assert_eq!(
        told.take(),
        ["lease_lost 1", "replayed false", "executed 1 Keep"]
    );
}
