//! Calls that are dropped at every await (clauses 9 and 10).

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use purlin_store::testing::{Dropped, drop_at_every_await};

use super::Harness;
use super::bench::{
    HOUR, MICRO, MINUTE, Store, acquired, claim, completion, get, id_of, ok, takeover,
};
use crate::RecordId;
use crate::store::{Claim, Claimed, Fenced, Lease, Nonce, State};

/// On real connections one run does not meet every place.
const RUNS: u64 = 5;

/// What one call is about. Each call has an id and a scope of its own: one that was dropped may
/// still reach the server, after what comes next.
#[derive(Clone, Copy)]
struct Round {
    id: RecordId,
    claim: Claim,
    lease: Lease,
}

impl Round {
    fn new(number: u64) -> Self {
        let id = id_of(&format!("round {number}"), 1);
        let mut claim = takeover(id);
        // The same each time that the round is made.
        claim.nonce = Nonce::from_bytes(id.scope().as_bytes()).expect("16 bytes");
        let lease = Lease {
            id,
            attempt: 1,
            nonce: claim.nonce,
        };
        Self { id, claim, lease }
    }

    /// As the owner of a live lease.
    async fn claimed(self, store: Store) {
        assert_eq!(acquired(store.claim(&self.claim).await), self.lease);
    }

    async fn completed(self, store: Store) {
        self.claimed(Arc::clone(&store)).await;
        let fenced = ok(store.complete(&self.lease, &completion("kept")).await);
        assert_eq!(fenced, Fenced::Applied);
    }
}

/// Drops `call` at every await after `set_up`. The record is then as before it or as after it, and
/// once the same call has been made to its end, as after it.
async fn all_or_nothing(
    h: &impl Harness,
    set_up: impl AsyncFn(Round, Store),
    call: impl AsyncFn(Round, Store),
) {
    let store = h.store();
    let whole = Round::new(0);
    set_up(whole, h.store()).await;
    let before = get(&store, whole.id).await;
    call(whole, h.store()).await;
    let after = get(&store, whole.id).await;

    let number = Cell::new(1);
    set_up(Round::new(1), h.store()).await;
    for _ in 0..RUNS {
        drop_at_every_await(
            || call(Round::new(number.get()), h.store()),
            async |at| {
                let round = Round::new(number.get());
                let found = get(&store, round.id).await;
                if at == Dropped::Completed {
                    assert_eq!(found, after);
                } else {
                    assert!(found == before || found == after, "{found:?} at {at:?}");
                    call(round, h.store()).await;
                    assert_eq!(get(&store, round.id).await, after, "repeated, at {at:?}");
                }
                number.set(number.get() + 1);
                set_up(Round::new(number.get()), h.store()).await;
            },
        )
        .await;
    }
}

/// Asked again with the same nonce it is acquired, whether or not the first had arrived.
pub async fn a_dropped_claim_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(
        h,
        async |_, _| {},
        async |round, store| round.claimed(store).await,
    )
    .await;
}

/// Likewise of a lease that has lapsed.
pub async fn a_dropped_takeover_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(
        h,
        async |round, store| {
            let first = Claim::new(round.id, Duration::ZERO).with_unresolved_ttl(HOUR);
            acquired(store.claim(&first).await);
        },
        async |round, store| {
            let lease = taken_over(&store, &round.claim).await;
            assert_eq!((lease.attempt, lease.nonce), (2, round.claim.nonce));
        },
    )
    .await;
}

/// Asks until the call that was dropped has ended: while the store is at it, it may say that somebody
/// is at work.
async fn taken_over(store: &Store, claim: &Claim) -> Lease {
    let asking = async {
        loop {
            match ok(store.claim(claim).await) {
                Claimed::Acquired(lease) => return lease,
                Claimed::Existing(existing) => {
                    let in_flight = matches!(existing.state, State::InFlight { .. });
                    assert!(in_flight, "{existing:?} stands in the way");
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let asked = tokio::time::timeout(MINUTE, asking).await;
    asked.expect("the call that was dropped ends")
}

/// The lease ends as before or as asked for.
pub async fn a_dropped_extend_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::claimed, async |round, store| {
        let fenced = ok(store.extend(&round.lease, 3 * HOUR).await);
        assert_eq!(fenced, Fenced::Applied);
    })
    .await;
}

/// There is the whole answer or none, and asking again says that it is there.
pub async fn a_dropped_complete_is_all_or_nothing(h: &impl Harness) {
    let answer = completion(vec![7; 300_000]);
    all_or_nothing(h, Round::claimed, async |round, store| {
        let fenced = ok(store.complete(&round.lease, &answer).await);
        assert_eq!(fenced, Fenced::Applied);
    })
    .await;
}

/// The record is there or gone. Asked again, a release that took place is not the owner's any more.
pub async fn a_dropped_release_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::claimed, async |round, store| {
        let (Fenced::Applied | Fenced::Lost) = ok(store.release(&round.lease).await);
    })
    .await;
}

/// The lease is live or lapsed.
pub async fn a_dropped_abandon_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::claimed, async |round, store| {
        let fenced = ok(store.abandon(&round.lease).await);
        assert_eq!(fenced, Fenced::Applied);
    })
    .await;
}

/// The record is there or gone.
pub async fn a_dropped_remove_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::completed, async |round, store| {
        ok(store.remove(&round.id).await);
    })
    .await;
}

/// For each record of the scope.
pub async fn a_dropped_erase_scope_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::completed, async |round, store| {
        ok(store.erase_scope(&round.id.scope()).await);
    })
    .await;
}

/// Whatever of the purge took place.
pub async fn a_dropped_purge_or_get_changes_nothing_that_is_seen(h: &impl Harness) {
    all_or_nothing(
        h,
        async |round, store| {
            round.completed(Arc::clone(&store)).await;
            for n in 2..5 {
                let gone = Claim::new(id_of("expired", n), Duration::ZERO)
                    .with_unresolved_ttl(Duration::ZERO);
                acquired(store.claim(&gone).await);
            }
        },
        async |round, store| {
            ok(store.purge_expired(2).await);
            assert!(get(&store, round.id).await.is_some());
        },
    )
    .await;
    // Those that the purge was after are still claimed by nobody.
    h.clock().advance(MICRO);
    for n in 2..5 {
        let id = id_of("expired", n);
        assert_eq!(get(&h.store(), id).await, None);
        assert_eq!(acquired(h.store().claim(&claim(id)).await).attempt, 1);
    }
}
