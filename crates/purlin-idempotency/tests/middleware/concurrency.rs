//! Many at once.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use purlin_idempotency::{IdempotencyLayer, InFlight, Leased, MemoryStore};
use tokio::sync::Barrier;

use crate::common::{Handler, Reply, post, reply, send};

const REQUESTS: usize = 1_000;

/// Sends them through four layers on one store, which know nothing of each other, as four processes.
async fn storm(
    configure: impl Fn(IdempotencyLayer<Leased>) -> IdempotencyLayer<Leased>,
) -> (Vec<Reply>, usize) {
    let store = MemoryStore::new();
    let layers: [_; 4] =
        std::array::from_fn(|_| configure(IdempotencyLayer::leased(store.clone()).single_tenant()));
    let handler = Handler::new(|_, call| async move {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        Ok(reply(StatusCode::CREATED, call.to_string()))
    });
    let start = Arc::new(Barrier::new(REQUESTS));
    let tasks: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let (layer, handler) = (layers[number % 4].clone(), handler.clone());
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                send(&layer, &handler, post("k")).await
            })
        })
        .collect();
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.expect("nobody panics"));
    }
    (replies, handler.calls())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_duplicates_are_executed_once() {
    let (replies, calls) = storm(|layer| layer).await;
    assert_eq!(calls, 1);
    let mut first = 0;
    for reply in replies {
        match reply.status {
            StatusCode::CREATED => {
                assert_eq!(reply.text(), "1");
                first += usize::from(!reply.is_replay());
            }
            _ => assert_eq!(reply.problem(), "idempotency-in-flight"),
        }
    }
    assert_eq!(first, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_that_wait_all_get_the_answer() {
    let timeout = Duration::from_secs(600);
    for cache_bytes in [8 << 20, 0] {
        let (replies, calls) = storm(|layer| {
            layer
                .with_in_flight(InFlight::Wait { timeout })
                .with_replay_cache_bytes(cache_bytes)
        })
        .await;
        assert_eq!(calls, 1);
        assert!(replies.iter().all(|reply| reply.text() == "1"));
        let first = replies.iter().filter(|reply| !reply.is_replay()).count();
        assert_eq!(first, 1);
    }
}
