//! Clients that leave.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Channel};
use purlin_idempotency::{InFlight, store::State};
use purlin_store::testing::{Dropped, drop_at_every_await};
use tower::{Layer as _, Service as _};

use crate::{
    common::{Failed, Handler, post, reply, send},
    unruly::Unruly,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Works for some polls.
fn working() -> Handler {
    Handler::new(|_, call| async move {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        Ok(reply(StatusCode::CREATED, call.to_string()))
    })
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_await_it_is_executed_once_and_a_retry_gets_the_answer() {
    let handler = working();
    let store = Unruly::new();
    let layer = store.layer();
    let number = AtomicUsize::new(0);
    let started = AtomicUsize::new(0);
    let dropped = drop_at_every_await(
        || {
            let key = format!("k{}", number.load(Ordering::SeqCst));
            let (layer, handler) = (layer.clone(), handler.clone());
            async move { send(&layer, &handler, post(&key)).await }
        },
        async |at| {
            layer
                .drain(MINUTE)
                .await
                .expect("what began comes to an end");
            let key = format!("k{}", number.fetch_add(1, Ordering::SeqCst));
            let executed = handler.calls() - started.load(Ordering::SeqCst);
            let retry = send(&layer, &handler, post(&key)).await;
            assert_eq!(retry.status, StatusCode::CREATED, "{at:?}");
            assert_eq!(retry.is_replay(), executed == 1, "{at:?}");
            let calls = handler.calls() - started.load(Ordering::SeqCst);
            assert_eq!(calls, 1, "{at:?}");
            started.store(handler.calls(), Ordering::SeqCst);
            assert!(at != Dropped::Completed || executed == 1);
        },
    )
    .await;
    assert!(
        dropped >= 10,
        "claim, work and completion each wait: {dropped}"
    );
}

#[tokio::test(start_paused = true)]
async fn dropped_while_its_body_arrives_nothing_is_claimed() {
    let (store, handler) = (Unruly::new(), Handler::counting());
    let (layer, counted) = (store.layer(), handler.clone());
    let (mut sender, body) = Channel::<Bytes, Failed>::new(1);
    let request = post("k").map(|_| body.boxed_unsync());
    let sent = tokio::spawn(async move { send(&layer, &counted, request).await });
    sender
        .send_data(Bytes::from("half"))
        .await
        .expect("is open");
    tokio::task::yield_now().await;
    sent.abort();
    assert!(sent.await.expect_err("it was dropped").is_cancelled());
    assert_eq!((store.all_calls(), handler.calls()), (0, 0));
    assert_eq!(store.record().await, None);
}

#[tokio::test(start_paused = true)]
async fn dropped_while_it_waits_nothing_is_left() {
    let (store, stuck) = (Unruly::new(), Handler::new(|_, _| std::future::pending()));
    let here = store.layer();
    let first = (here.clone(), stuck.clone());
    let first = tokio::spawn(async move { send(&first.0, &first.1, post("k")).await });
    while stuck.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let elsewhere = store
        .layer()
        .with_in_flight(InFlight::Wait { timeout: MINUTE });
    let waiting = (elsewhere.clone(), stuck.clone());
    let waiting = tokio::spawn(async move { send(&waiting.0, &waiting.1, post("k")).await });
    // Between two questions, which come each 100 ms.
    tokio::time::sleep(Duration::from_millis(550)).await;
    waiting.abort();
    assert!(waiting.await.expect_err("it was dropped").is_cancelled());
    elsewhere
        .drain(Duration::ZERO)
        .await
        .expect("nothing goes on");
    assert_eq!(stuck.calls(), 1);
    first.abort();
    assert!(first.await.expect_err("its client left too").is_cancelled());
    assert_eq!(
        here.drain(Duration::ZERO)
            .await
            .expect_err("it goes on")
            .running,
        1
    );
    here.drain(11 * MINUTE)
        .await
        .expect("until it has taken too long");
}

/// A runtime that is gone cannot carry anything on: as a crash.
#[test]
fn without_a_runtime_it_is_dropped() {
    let store = Unruly::new();
    let layer = store.layer();
    let dropped = Arc::new(());
    let held = Arc::clone(&dropped);
    let handler = Handler::new(move |_, _| {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(reply(StatusCode::CREATED, "never"))
        }
    });
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("there is a runtime")
    };
    let first = runtime();
    let mut future = {
        let _entered = first.enter();
        Box::pin(layer.layer(handler.clone()).call(post("k")))
    };
    first.block_on(async {
        tokio::select! {
            biased;
            _ = &mut future => panic!("it does not end"),
            () = async { while handler.calls() == 0 { tokio::task::yield_now().await; } } => {}
        }
    });
    assert_eq!(Arc::strong_count(&dropped), 3);
    drop(first);
    drop(future);
    assert_eq!(Arc::strong_count(&dropped), 2, "the work is dropped");
    runtime().block_on(async {
        layer.drain(Duration::ZERO).await.expect("nothing goes on");
        let record = store.record().await.expect("as after a crash");
        assert!(matches!(record.state, State::InFlight { .. }));
    });
}
