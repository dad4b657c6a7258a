//! Writes by the owner of a lease compare all of it (clauses 3 and 8).

use std::time::Duration;

use super::Harness;
use super::bench::{
    DAY, HOUR, MINUTE, Store, acquire, acquired, completed, completion, done, fingerprint, get,
    has_lapsed, id, in_flight, lapsed, ok, takeover,
};
use crate::RecordId;
use crate::store::{Completion, Fenced, Lease, Nonce};

/// What an owner can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Extend,
    Complete,
    Release,
    Abandon,
}

impl Write {
    const ALL: [Self; 4] = [Self::Extend, Self::Complete, Self::Release, Self::Abandon];

    async fn by(self, store: &Store, lease: &Lease) -> Fenced {
        let other = Completion::new(fingerprint(66), "another".into(), 2 * DAY);
        ok(match self {
            Self::Extend => store.extend(lease, 3 * HOUR).await,
            Self::Complete => store.complete(lease, &other).await,
            Self::Release => store.release(lease).await,
            Self::Abandon => store.abandon(lease).await,
        })
    }
}

/// See [`IdempotencyStore::extend`](crate::IdempotencyStore::extend).
pub async fn extend_compares_the_whole_lease(h: &impl Harness) {
    compares_the_whole_lease(h, Write::Extend).await;
}

/// See [`IdempotencyStore::complete`](crate::IdempotencyStore::complete).
pub async fn complete_compares_the_whole_lease(h: &impl Harness) {
    compares_the_whole_lease(h, Write::Complete).await;
}

/// See [`IdempotencyStore::release`](crate::IdempotencyStore::release).
pub async fn release_compares_the_whole_lease(h: &impl Harness) {
    compares_the_whole_lease(h, Write::Release).await;
}

/// See [`IdempotencyStore::abandon`](crate::IdempotencyStore::abandon).
pub async fn abandon_compares_the_whole_lease(h: &impl Harness) {
    compares_the_whole_lease(h, Write::Abandon).await;
}

/// A lease of which one part is wrong changes nothing, in whatever state the record is: not what is
/// seen of it, not whose it is, and not when it expires.
async fn compares_the_whole_lease(h: &impl Harness, write: Write) {
    let store = h.store();
    let (live, over, kept) = (id(1), id(2), id(3));
    lapsed(&store, live).await;
    let in_flight_lease = acquired(store.claim(&takeover(live)).await);
    let lapsed_lease = lapsed(&store, over).await;
    let completed_lease = completed(&store, kept, "kept").await;
    let leases = [in_flight_lease, lapsed_lease, completed_lease];
    let ids = [live, over, kept];
    let expected = [in_flight(2, MINUTE), has_lapsed(1), done(1, "kept", DAY)];
    for lease in leases {
        for wrong in wrong(lease, &ids) {
            assert_eq!(
                write.by(&h.second(), &wrong).await,
                Fenced::Lost,
                "{wrong:?}"
            );
            for (id, expected) in ids.into_iter().zip(&expected) {
                assert_eq!(get(&store, id).await, *expected, "{write:?} by {wrong:?}");
            }
        }
    }
    // Each owner still owns, and each record expires when it would have.
    assert_eq!(ok(store.extend(&leases[0], MINUTE).await), Fenced::Applied);
    assert_eq!(ok(store.abandon(&leases[1]).await), Fenced::Applied);
    let again = ok(store.complete(&leases[2], &completion("again")).await);
    assert_eq!(again, Fenced::Applied);
    h.clock().advance(HOUR);
    assert_eq!(get(&store, live).await, None);
    assert_eq!(get(&store, over).await, None);
    h.clock().advance(DAY - HOUR);
    assert_eq!(get(&store, kept).await, None);
}

/// `lease` with each single part of it wrong.
fn wrong(lease: Lease, ids: &[RecordId]) -> Vec<Lease> {
    let mut one_bit = *lease.nonce.as_bytes();
    one_bit[15] ^= 1;
    let nonces = [
        Some(Nonce::new()),
        Nonce::from_bytes(&one_bit),
        Nonce::from_bytes(&[0; 16]),
    ];
    let attempts = [0, lease.attempt - 1, lease.attempt + 1, 77, u64::MAX];
    let nonces = nonces.into_iter().flatten();
    let ids = ids.iter().filter(|id| **id != lease.id);
    attempts
        .into_iter()
        .map(|attempt| Lease { attempt, ..lease })
        .chain(nonces.map(|nonce| Lease { nonce, ..lease }))
        .chain(ids.map(|id| Lease { id: *id, ..lease }))
        .collect()
}

/// An owner whose lease was taken over changes nothing, whether the next one is at work or done.
pub async fn a_late_owner_is_refused_after_a_takeover(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let late = lapsed(&store, id).await;
    let lease = acquired(store.claim(&takeover(id)).await);
    for write in Write::ALL {
        assert_eq!(
            write.by(&h.second(), &late).await,
            Fenced::Lost,
            "{write:?}"
        );
        assert_eq!(get(&store, id).await, in_flight(2, MINUTE), "{write:?}");
    }
    let fenced = ok(store.complete(&lease, &completion("second")).await);
    assert_eq!(fenced, Fenced::Applied);
    for write in Write::ALL {
        assert_eq!(
            write.by(&h.second(), &late).await,
            Fenced::Lost,
            "{write:?}"
        );
        let found = get(&store, id).await;
        assert_eq!(found, done(2, "second", DAY), "{write:?}");
    }
}

/// Attempts begin at 1 again after a record has expired: then the nonce tells the two apart.
pub async fn a_late_owner_is_refused_after_a_new_record(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let late = acquire(&store, id).await;
    h.clock().advance(HOUR);
    let lease = acquire(&store, id).await;
    assert_eq!(lease.attempt, late.attempt);
    for write in Write::ALL {
        assert_eq!(
            write.by(&h.second(), &late).await,
            Fenced::Lost,
            "{write:?}"
        );
        assert_eq!(get(&store, id).await, in_flight(1, MINUTE), "{write:?}");
    }
    assert_eq!(ok(store.abandon(&lease).await), Fenced::Applied);
    for write in Write::ALL {
        assert_eq!(
            write.by(&h.second(), &late).await,
            Fenced::Lost,
            "{write:?}"
        );
        assert_eq!(get(&store, id).await, has_lapsed(1), "{write:?}");
    }
}

/// Neither a record that never was, nor one that was released or has expired.
pub async fn what_is_not_there_is_not_extended_released_or_abandoned(h: &impl Harness) {
    let store = h.store();
    let never = Lease {
        id: id(1),
        attempt: 1,
        nonce: Nonce::new(),
    };
    let released = acquire(&store, id(2)).await;
    assert_eq!(ok(store.release(&released).await), Fenced::Applied);
    let expired = acquire(&store, id(3)).await;
    h.clock().advance(HOUR);
    for lease in [never, released, expired] {
        for write in [Write::Extend, Write::Release, Write::Abandon] {
            assert_eq!(write.by(&store, &lease).await, Fenced::Lost, "{write:?}");
            assert_eq!(get(&store, lease.id).await, None, "{write:?}");
        }
    }
}

/// Its lease is live again.
pub async fn a_lapsed_owner_may_still_extend(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    h.clock().advance(2 * MINUTE);
    assert_eq!(get(&store, id).await, has_lapsed(1));
    assert_eq!(ok(h.second().extend(&lease, MINUTE).await), Fenced::Applied);
    assert_eq!(get(&store, id).await, in_flight(1, MINUTE));
    let other = store.claim(&takeover(id)).await;
    assert!(matches!(ok(other), crate::store::Claimed::Existing(_)));
}

/// The work was done, if late.
pub async fn a_lapsed_owner_may_still_complete(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    h.clock().advance(2 * MINUTE);
    let fenced = ok(h.second().complete(&lease, &completion("late")).await);
    assert_eq!(fenced, Fenced::Applied);
    assert_eq!(get(&store, id).await, done(1, "late", DAY));
}

/// The work was not done, and the owner is the last who knows.
pub async fn a_lapsed_owner_may_still_release(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    h.clock().advance(2 * MINUTE);
    assert_eq!(ok(h.second().release(&lease).await), Fenced::Applied);
    assert_eq!(get(&store, id).await, None);
}

/// It changes nothing, and is not refused.
pub async fn a_lapsed_owner_may_still_abandon(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    h.clock().advance(2 * MINUTE);
    for _ in 0..2 {
        assert_eq!(ok(h.second().abandon(&lease).await), Fenced::Applied);
        assert_eq!(get(&store, id).await, has_lapsed(1));
    }
    h.clock()
        .advance(HOUR - 2 * MINUTE - Duration::from_micros(1));
    assert_eq!(get(&store, id).await, has_lapsed(1));
    h.clock().advance(Duration::from_micros(1));
    assert_eq!(get(&store, id).await, None);
}
