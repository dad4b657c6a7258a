//! Futures that are dropped at every await, as those of a client that hangs up.

use purlin_idempotency::store::{Claim, Lease, Nonce};
use purlin_idempotency::{IdempotencyStore as _, RedisStore};
use purlin_store::testing::{Dropped, drop_at_every_await};

use crate::harness::{MINUTE, Place, completion, id};

/// A call may be answered at its first poll only rarely, so one run meets at least one place.
const RUNS: usize = 20;

/// Drops `call` everywhere. Its state afterwards is one of those it has before it and after it when
/// it runs to its end.
async fn all_or_nothing<T>(
    place: &Place,
    set_up: impl AsyncFn(&RedisStore, &Lease),
    call: impl AsyncFn(RedisStore, Lease) -> T,
) {
    let lease = Lease {
        id: id(1),
        attempt: 1,
        nonce: Nonce::from_bytes(&[7; 16]).unwrap(),
    };
    let renew = async || {
        place.store.remove(&lease.id).await.unwrap();
        set_up(&place.store, &lease).await;
        place.value(&lease.id).await
    };
    let before = renew().await;
    call(place.store.clone(), lease).await;
    let after = place.value(&lease.id).await;
    assert_ne!(before, after);
    renew().await;
    let mut dropped = 0;
    for _ in 0..RUNS {
        dropped += drop_at_every_await(
            || call(place.store.clone(), lease),
            async |at| {
                let found = place.value(&lease.id).await;
                match at {
                    Dropped::Completed => assert_eq!(found, after),
                    _ => assert!(found == before || found == after, "{found:?}"),
                }
                renew().await;
            },
        )
        .await;
    }
    assert!(dropped >= RUNS, "only {dropped}");
}

async fn claim(store: &RedisStore, lease: &Lease) {
    let mut claim = Claim::new(lease.id, MINUTE);
    claim.nonce = lease.nonce;
    store.claim(&claim).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_has_happened_or_not() {
    let Some(place) = Place::create() else {
        return;
    };
    let nothing = async |_: &RedisStore, _: &Lease| {};
    all_or_nothing(&place, nothing, async |store, lease| {
        claim(&store, &lease).await;
    })
    .await;
    all_or_nothing(&place, claim, async |store, lease| {
        store.extend(&lease, MINUTE * 2).await.map(drop)
    })
    .await;
    all_or_nothing(&place, claim, async |store, lease| {
        store.complete(&lease, &completion("x")).await.map(drop)
    })
    .await;
    all_or_nothing(&place, claim, async |store, lease| {
        store.release(&lease).await.map(drop)
    })
    .await;
    all_or_nothing(&place, claim, async |store, lease| {
        store.abandon(&lease).await.map(drop)
    })
    .await;
    all_or_nothing(&place, claim, async |store, lease| {
        store.remove(&lease.id).await.map(drop)
    })
    .await;
    let complete = async |store: &RedisStore, lease: &Lease| {
        let _ = store.complete(lease, &completion("x")).await.unwrap();
    };
    all_or_nothing(&place, complete, async |store, lease| {
        store.erase_scope(&lease.id.scope()).await.map(drop)
    })
    .await;
}
