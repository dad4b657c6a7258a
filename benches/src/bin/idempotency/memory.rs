//! Stores in memory: first requests, retries, and what a fingerprint costs.

use std::time::Duration;

use bytes::Bytes;
use purlin_benches::load::{Load, Rounds, allocations, table};
use purlin_idempotency::{IdempotencyLayer, Leased, MemoryStore};
use sha2::{Digest as _, Sha256};

use crate::{
    FIRST, REPLAY,
    apps::{self, App, Key, Work},
};

pub async fn run() {
    let more = [("allocations", allocations(first))];
    let loads = first().await;
    table("First request, in memory", &[1, 64], &loads, FIRST, &more).await;
    let more = [("allocations", allocations(replay))];
    let loads = replay().await;
    table("Replay, in memory", &[1, 64], &loads, REPLAY, &more).await;
    apps::tell_conflicts();
    let rounds = Rounds {
        max_calls: 20,
        round: Duration::from_millis(60),
        rounds: 15,
    };
    table(
        "First request of 1 MiB, in memory",
        &[1],
        &large(),
        rounds,
        &[],
    )
    .await;
}

fn layer() -> IdempotencyLayer<Leased> {
    let store = MemoryStore::new().with_max_records(10_000_000);
    IdempotencyLayer::leased(store).single_tenant()
}

async fn first() -> Vec<Load> {
    let work = Work::default;
    vec![
        apps::first(apps::NO_LAYER, apps::no_layer(work())),
        apps::first("purlin, `MemoryStore`", apps::purlin(&layer(), work())),
        apps::first(apps::IDEMPOTENT_MEMORY, apps::idempotent_memory(work())),
        apps::first(apps::AXUM_IDEMPOTENT, apps::axum_idempotent(true, work())),
    ]
}

async fn replay() -> Vec<Load> {
    let work = Work::default;
    let uncached = layer().with_replay_cache_bytes(0);
    vec![
        apps::first(apps::NO_LAYER, apps::no_layer(work())),
        apps::replay("purlin, in-process cache", apps::purlin(&layer(), work())).await,
        apps::replay("purlin, `MemoryStore`", apps::purlin(&uncached, work())).await,
        apps::replay(apps::IDEMPOTENT_MEMORY, apps::idempotent_memory(work())).await,
        apps::replay(apps::AXUM_IDEMPOTENT, apps::axum_idempotent(true, work())).await,
    ]
}

/// The body is in one piece already: what is left is to hash it.
fn large() -> Vec<Load> {
    let body = Bytes::from(vec![7; 1 << 20]);
    let work = Work::default;
    let bare = body.clone();
    vec![
        Load::new("SHA-256 of the body", move || {
            let body = bare.clone();
            async move {
                std::hint::black_box(Sha256::digest(&body));
            }
        }),
        of_body(apps::NO_LAYER, &body, apps::no_layer(work())),
        of_body("purlin (SHA-256)", &body, apps::purlin(&layer(), work())),
        of_body("idempotent (XXH3)", &body, apps::idempotent_memory(work())),
        of_body(
            "axum-idempotent, by hash (BLAKE3)",
            &body,
            apps::axum_idempotent(false, work()),
        ),
        of_body(
            "axum-idempotent, by key (none)",
            &body,
            apps::axum_idempotent(true, work()),
        ),
    ]
}

fn of_body(name: &str, body: &Bytes, app: impl App) -> Load {
    let body = body.clone();
    Load::new(name, move || {
        let (app, body) = (app.clone(), body.clone());
        async move {
            let answered = app.send(Some(Key::fresh()), body).await;
            assert!(answered.status.is_success() && !answered.replayed);
        }
    })
}
