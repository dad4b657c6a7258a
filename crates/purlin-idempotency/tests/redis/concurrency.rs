//! Many who claim at once.

use purlin_idempotency::store::{Claim, Claimed, Fenced, State};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost, RedisStore};

use crate::harness::{MINUTE, Place, acquired, completion, fingerprint, handle, id};

/// How often a claim of 1 000 that are made at once, on several connections, is granted.
async fn winners(place: &Place, lease_lost: LeaseLost) -> Vec<u64> {
    let stores: Vec<RedisStore> = (0..4)
        .map(|_| {
            RedisStore::new(handle(place.server.url()))
                .with_key_prefix(place.keys.clone())
                .with_clock(place.clock.clone())
        })
        .collect();
    let tasks: Vec<_> = (0..1_000)
        .map(|n| {
            let store = stores[n % stores.len()].clone();
            let claim = Claim::new(id(1), MINUTE)
                .with_fingerprint(Some(fingerprint(1)))
                .with_lease_lost(lease_lost);
            tokio::spawn(async move { store.claim(&claim).await.unwrap() })
        })
        .collect();
    let mut attempts = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Claimed::Acquired(lease) => attempts.push(lease.attempt),
            Claimed::Existing(existing) => {
                assert!(
                    matches!(existing.state, State::InFlight { remaining } if remaining == MINUTE)
                );
            }
        }
    }
    attempts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_thousand_claims_is_granted() {
    let Some(place) = Place::create() else {
        return;
    };
    assert_eq!(winners(&place, LeaseLost::Indeterminate).await, [1]);
    place.clock.advance(MINUTE);
    assert_eq!(winners(&place, LeaseLost::Reexecute).await, [2], "takeover");
}

/// A thousand that complete one lease, each with another answer: all are told that it is done, and
/// the first answer stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_is_made_once() {
    let Some(place) = Place::create() else {
        return;
    };
    let lease = acquired(place.store.claim(&Claim::new(id(1), MINUTE)).await.unwrap());
    assert_eq!(
        place
            .store
            .complete(&lease, &completion("first"))
            .await
            .unwrap(),
        Fenced::Applied
    );
    let first = place.value(&id(1)).await;
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let store = place.store.clone();
            tokio::spawn(async move { store.complete(&lease, &completion("other")).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Fenced::Applied);
    }
    assert_eq!(place.value(&id(1)).await, first);
}
