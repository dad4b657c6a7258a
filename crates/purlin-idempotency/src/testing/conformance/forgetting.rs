//! Release, remove, erasure and the purge.

use std::time::Duration;

use bytes::Bytes;

use super::Harness;
use super::bench::{
    DAY, HOUR, MICRO, MINUTE, acquire, acquired, claim, completed, completion, done, existing,
    fingerprint, get, has_lapsed, id, id_of, in_flight, lapsed, ok, takeover,
};
use crate::store::{Claim, Completion, Existing, Fenced, State};

/// The next claim begins anew, and who released it has no lease any more.
pub async fn a_released_record_is_gone(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    assert_eq!(ok(h.second().release(&lease).await), Fenced::Applied);
    assert_eq!(get(&store, id).await, None);
    assert_eq!(ok(store.release(&lease).await), Fenced::Lost);
    let next = acquire(&store, id).await;
    assert_eq!(next.attempt, 1);
    assert_eq!(ok(store.release(&lease).await), Fenced::Lost);
    assert_eq!(get(&store, id).await, in_flight(1, MINUTE));
}

/// Whoever owns it, and it says whether it was visible.
pub async fn remove_forgets_in_every_state(h: &impl Harness) {
    let store = h.store();
    let lease = acquire(&store, id(1)).await;
    lapsed(&store, id(2)).await;
    completed(&store, id(3), "done").await;
    let other = acquire(&store, id(4)).await;
    for n in 1..=3 {
        assert!(ok(h.second().remove(&id(n)).await), "{n}");
        assert_eq!(get(&store, id(n)).await, None);
        assert!(!ok(store.remove(&id(n)).await), "{n}");
    }
    assert_eq!(ok(store.extend(&lease, HOUR).await), Fenced::Lost);
    assert_eq!(get(&store, id(4)).await, in_flight(1, MINUTE));
    assert_eq!(ok(store.extend(&other, MINUTE).await), Fenced::Applied);
    assert_eq!(acquire(&store, id(3)).await.attempt, 1);
    // What has expired is not there, deleted or not.
    h.clock().advance(HOUR);
    assert!(!ok(store.remove(&id(4)).await));
    assert_eq!(get(&store, id(4)).await, None);
}

/// The answers of one scope and no other. It counts those that there were.
pub async fn erase_scope_erases_the_answers_of_its_scope(h: &impl Harness) {
    let (store, second) = (h.store(), h.second());
    for n in 1..=5 {
        completed(&store, id_of("alice", n), "hers").await;
    }
    completed(&store, id_of("alice", 6), "").await;
    completed(&store, id_of("bob", 1), "his").await;
    let alice = id_of("alice", 1).scope();
    assert_eq!(ok(second.erase_scope(&alice).await), 5);
    for n in 1..=6 {
        let found = get(&store, id_of("alice", n)).await;
        assert_eq!(found, erased(1, DAY), "{n}");
    }
    assert_eq!(get(&store, id_of("bob", 1)).await, done(1, "his", DAY));
    assert_eq!(ok(store.erase_scope(&alice).await), 0);
    assert_eq!(ok(store.erase_scope(&id_of("carol", 1).scope()).await), 0);
    completed(&store, id_of("alice", 7), "hers").await;
    assert_eq!(ok(store.erase_scope(&alice).await), 1);
    assert_eq!(get(&store, id_of("bob", 1)).await, done(1, "his", DAY));
}

fn erased(attempt: u64, remaining: Duration) -> Option<Existing> {
    let answer = Bytes::new();
    let state = State::Completed { answer, remaining };
    Some(Existing::new(None, attempt, state))
}

/// Work that is under way keeps its lease and its fingerprint; what nobody sees is not counted.
pub async fn erase_scope_leaves_what_is_under_way_and_what_has_expired(h: &impl Harness) {
    let store = h.store();
    let lease = acquired(
        store
            .claim(&claim(id(1)).with_fingerprint(Some(fingerprint(1))))
            .await,
    );
    lapsed(&store, id(2)).await;
    let short = acquire(&store, id(3)).await;
    let kept = Completion::new(fingerprint(1), "gone".into(), MICRO);
    assert_eq!(ok(store.complete(&short, &kept).await), Fenced::Applied);
    h.clock().advance(MICRO);
    assert_eq!(ok(h.second().erase_scope(&id(1).scope()).await), 0);
    let remaining = MINUTE - MICRO;
    let expected = Existing::new(Some(fingerprint(1)), 1, State::InFlight { remaining });
    assert_eq!(get(&store, id(1)).await, Some(expected));
    assert_eq!(get(&store, id(2)).await, has_lapsed(1));
    assert_eq!(get(&store, id(3)).await, None);
    let fenced = ok(store.complete(&lease, &completion("after")).await);
    assert_eq!(fenced, Fenced::Applied);
    assert_eq!(get(&store, id(1)).await, done(1, "after", DAY));
}

/// A late retry finds that the work was done, until the record expires, and nothing brings the
/// answer back.
pub async fn an_erased_record_still_stands_in_the_way(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = completed(&store, id, "personal").await;
    assert_eq!(ok(store.erase_scope(&id.scope()).await), 1);
    h.clock().advance(HOUR);
    let late = takeover(id).with_fingerprint(Some(fingerprint(2)));
    let found = existing(h.second().claim(&late).await);
    assert_eq!(Some(found), erased(1, DAY - HOUR));
    let again = ok(store.complete(&lease, &completion("personal")).await);
    assert_eq!(again, Fenced::Applied);
    assert_eq!(get(&store, id).await, erased(1, DAY - HOUR));
    assert_eq!(ok(store.release(&lease).await), Fenced::Lost);
    h.clock().advance(DAY - HOUR);
    assert_eq!(get(&store, id).await, None);
    assert_eq!(acquire(&store, id).await.attempt, 1);
}

/// And nothing else: neither what is live, nor what has lapsed and is visible, nor answers.
pub async fn purge_expired_deletes_what_nobody_sees(h: &impl Harness) {
    let store = h.store();
    let answered = acquire(&store, id(1)).await;
    let short = Completion::new(fingerprint(1), "gone".into(), 2 * HOUR - MICRO);
    assert_eq!(ok(store.complete(&answered, &short).await), Fenced::Applied);
    acquire(&store, id(2)).await;
    completed(&store, id(3), "kept").await;
    let long = claim(id(4)).with_unresolved_ttl(2 * HOUR);
    acquired(store.claim(&long).await);
    let endless = Claim::new(id(5), 2 * HOUR).with_unresolved_ttl(MICRO);
    acquired(store.claim(&endless).await);
    let expected = [
        None,
        None,
        done(1, "kept", DAY - 2 * HOUR + MICRO),
        has_lapsed(1),
        in_flight(1, MICRO),
    ];
    assert_eq!(ok(store.purge_expired(100).await), 0);
    h.clock().advance(2 * HOUR - MICRO);
    let expired = if h.collects_garbage() { 0 } else { 2 };
    assert_eq!(ok(h.second().purge_expired(100).await), expired);
    assert_eq!(ok(store.purge_expired(100).await), 0);
    for (n, expected) in (1..).zip(expected) {
        assert_eq!(get(&store, id(n)).await, expected, "{n}");
    }
}

/// Never more than it was asked to, and all of them in the end.
pub async fn purge_expired_is_bounded(h: &impl Harness) {
    let store = h.store();
    for n in 1..=25 {
        acquire(&store, id(n)).await;
    }
    completed(&store, id(26), "kept").await;
    h.clock().advance(HOUR);
    let expected = if h.collects_garbage() {
        [0; 6]
    } else {
        [0, 1, 10, 10, 4, 0]
    };
    for (limit, expected) in [0, 1, 10, 10, 10, 10].into_iter().zip(expected) {
        let purged = ok(h.second().purge_expired(limit).await);
        assert_eq!(purged, expected, "of {limit}");
    }
    assert_eq!(get(&store, id(26)).await, done(1, "kept", DAY - HOUR));
}
