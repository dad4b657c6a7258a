//! What a claim answers (clauses 1 and 2).

use std::time::Duration;

use super::Harness;
use super::bench::{
    DAY, HOUR, MINUTE, acquire, acquired, claim, completed, completion, done, existing,
    fingerprint, get, has_lapsed, id, id_of, in_flight, lapsed, ok, takeover,
};
use crate::LeaseLost;
use crate::store::{Claim, Existing, Fenced, Nonce, State};

/// Of what is not there attempt 1 is acquired, by the nonce of the claim.
pub async fn a_claim_of_nothing_is_the_first_attempt(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    assert_eq!(get(&store, id).await, None);
    let claim = claim(id);
    let lease = acquired(store.claim(&claim).await);
    assert_eq!(lease.id, id);
    assert_eq!(lease.attempt, 1);
    assert_eq!(lease.nonce, claim.nonce);
    assert_eq!(get(&h.second(), id).await, in_flight(1, MINUTE));
}

/// Whoever did not get the answer to a claim asks once more with the same nonce, and gets the lease
/// that it has, neither a second attempt nor a longer lease.
pub async fn a_claim_that_is_asked_again_gets_its_lease_again(h: &impl Harness) {
    let (store, second, id) = (h.store(), h.second(), id(1));
    let claim = takeover(id);
    let lease = acquired(store.claim(&claim).await);
    h.clock().advance(MINUTE / 4);
    let again = claim
        .with_unresolved_ttl(DAY)
        .with_fingerprint(Some(fingerprint(1)));
    assert_eq!(acquired(second.claim(&again).await), lease);
    let unchanged = in_flight(1, MINUTE / 4 * 3);
    assert_eq!(get(&store, id).await, unchanged);

    // It is nobody's any more once it has lapsed, not even its own.
    h.clock().advance(MINUTE);
    let unasked = claim.with_lease_lost(LeaseLost::Indeterminate);
    assert_eq!(Some(existing(store.claim(&unasked).await)), has_lapsed(1));
    let lease = acquired(store.claim(&claim).await);
    assert_eq!((lease.attempt, lease.nonce), (2, claim.nonce));

    let fenced = ok(store.complete(&lease, &completion("done")).await);
    assert_eq!(fenced, Fenced::Applied);
    let found = existing(store.claim(&claim).await);
    assert_eq!(Some(found), done(2, "done", DAY));
}

/// Who comes second finds the fingerprint, the attempt and how long the lease still lasts.
pub async fn a_claim_shows_who_is_at_work(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let first = claim(id).with_fingerprint(Some(fingerprint(7)));
    acquired(store.claim(&first).await);
    h.clock().advance(Duration::from_micros(12_345_678));
    let remaining = Duration::from_micros(47_654_322);
    let expected = Existing::new(Some(fingerprint(7)), 1, State::InFlight { remaining });
    // Whatever it asks for.
    for other in [claim(id), takeover(id).with_fingerprint(first.fingerprint)] {
        assert_eq!(existing(h.second().claim(&other).await), expected);
    }
    assert_eq!(get(&store, id).await, Some(expected));
}

/// Each takeover has the attempt after the one before it.
pub async fn attempts_grow_with_every_takeover(h: &impl Harness) {
    let (store, second, id) = (h.store(), h.second(), id(1));
    let mut last = lapsed(&store, id).await;
    for attempt in 2..=50 {
        let from = if attempt % 2 == 0 { &second } else { &store };
        let lease = acquired(from.claim(&takeover(id)).await);
        assert_eq!(lease.attempt, attempt);
        assert_eq!(get(&store, id).await, in_flight(attempt, MINUTE));
        assert_eq!(
            ok(from.extend(&last, HOUR).await),
            Fenced::Lost,
            "{attempt}"
        );
        // Both ways in which a lease ends without an answer.
        if attempt % 3 == 0 {
            assert_eq!(ok(from.abandon(&lease).await), Fenced::Applied);
        } else {
            h.clock().advance(MINUTE);
        }
        last = lease;
    }
}

/// [`LeaseLost::Indeterminate`] leaves a lapsed lease as it is.
pub async fn a_lapsed_lease_is_taken_over_only_by_who_asks_for_it(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = lapsed(&store, id).await;
    for _ in 0..2 {
        assert_eq!(Some(existing(store.claim(&claim(id)).await)), has_lapsed(1));
        assert_eq!(get(&store, id).await, has_lapsed(1));
    }
    // The owner has not lost it by that.
    assert_eq!(ok(store.extend(&lease, MINUTE).await), Fenced::Applied);
    // What it was claimed with does not count, but what the later claim says.
    h.clock().advance(MINUTE);
    assert_eq!(acquired(store.claim(&takeover(id)).await).attempt, 2);
}

/// Another fingerprint does not take over; one that is not known fits each, and what is known of the
/// request stays known.
pub async fn a_takeover_is_for_the_same_request_only(h: &impl Harness) {
    let store = h.store();
    let (a, b) = (Some(fingerprint(1)), Some(fingerprint(2)));
    let table = [
        (None, None, Some(None)),
        (None, a, Some(a)),
        (a, None, Some(a)),
        (a, a, Some(a)),
        (a, b, None),
    ];
    for (n, (known, claimed, after)) in (1..).zip(table) {
        let id = id(n);
        let first = Claim::new(id, Duration::ZERO)
            .with_unresolved_ttl(HOUR)
            .with_fingerprint(known);
        acquired(store.claim(&first).await);
        let claim = takeover(id).with_fingerprint(claimed);
        let expected = match after {
            Some(fingerprint) => {
                assert_eq!(acquired(store.claim(&claim).await).attempt, 2);
                let remaining = MINUTE;
                Existing::new(fingerprint, 2, State::InFlight { remaining })
            }
            None => {
                let lapsed = Existing::new(known, 1, State::Lapsed);
                assert_eq!(existing(store.claim(&claim).await), lapsed);
                lapsed
            }
        };
        assert_eq!(get(&store, id).await, Some(expected), "row {n}");
    }
}

/// What has expired, was released or removed is claimed as if it had never been.
pub async fn attempts_begin_anew_with_a_new_record(h: &impl Harness) {
    let store = h.store();
    for n in 1..=4 {
        let id = id(n);
        let known = Claim::new(id, Duration::ZERO).with_fingerprint(Some(fingerprint(9)));
        acquired(store.claim(&known.with_unresolved_ttl(HOUR)).await);
        let lease = acquired(
            store
                .claim(&takeover(id).with_fingerprint(known.fingerprint))
                .await,
        );
        assert_eq!(lease.attempt, 2);
        match n {
            1 => assert_eq!(ok(store.release(&lease).await), Fenced::Applied),
            2 => assert!(ok(store.remove(&id).await)),
            3 => h.clock().advance(HOUR),
            _ => {
                let kept = completion("done");
                assert_eq!(ok(store.complete(&lease, &kept).await), Fenced::Applied);
                h.clock().advance(kept.retention);
            }
        }
        assert_eq!(acquire(&store, id).await.attempt, 1);
        // Nothing of the old record is left in it.
        assert_eq!(get(&store, id).await, in_flight(1, MINUTE), "{n}");
    }
}

/// The same key of another principal, and another key of the same one, are other records, even if
/// the nonce is the same.
pub async fn scopes_and_keys_are_records_of_their_own(h: &impl Harness) {
    let store = h.store();
    let ids = [
        id_of("alice", 1),
        id_of("bob", 1),
        id_of("alice", 2),
        id_of("", 1),
    ];
    let nonce = Nonce::new();
    let mut leases = Vec::new();
    for id in ids {
        let mut claim = claim(id);
        claim.nonce = nonce;
        leases.push(acquired(store.claim(&claim).await));
    }
    assert_eq!(
        ok(store.complete(&leases[0], &completion("hers")).await),
        Fenced::Applied
    );
    assert_eq!(ok(store.abandon(&leases[2]).await), Fenced::Applied);
    assert_eq!(ok(store.release(&leases[3]).await), Fenced::Applied);
    assert_eq!(get(&store, ids[0]).await, done(1, "hers", DAY));
    assert_eq!(get(&store, ids[1]).await, in_flight(1, MINUTE));
    assert_eq!(get(&store, ids[2]).await, has_lapsed(1));
    assert_eq!(get(&store, ids[3]).await, None);
    completed(&store, ids[3], "").await;
    assert_eq!(get(&store, ids[1]).await, in_flight(1, MINUTE));
}
