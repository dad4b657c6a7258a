//! Leases and expiry by the clock of the store, to the microsecond (clause 7).

use std::time::Duration;

use super::Harness;
use super::bench::{
    DAY, HOUR, MICRO, MINUTE, acquire, acquired, claim, completed, completion, done, existing, get,
    has_lapsed, id, in_flight, lapsed, ok, takeover,
};
use crate::store::{Claim, Completion, Existing, Fenced, State};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Live until the last microsecond before its end, for readers and for claims.
pub async fn a_lease_lapses_at_its_end(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    acquire(&store, id).await;
    h.clock().advance(MINUTE - MICRO);
    assert_eq!(get(&store, id).await, in_flight(1, MICRO));
    let found = existing(h.second().claim(&takeover(id)).await);
    assert_eq!(Some(found), in_flight(1, MICRO));
    h.clock().advance(MICRO);
    assert_eq!(get(&store, id).await, has_lapsed(1));
    let lease = acquired(h.second().claim(&takeover(id)).await);
    assert_eq!(lease.attempt, 2);
    assert_eq!(get(&store, id).await, in_flight(2, MINUTE));
}

/// It is counted from the extension, not from the old end.
pub async fn an_extended_lease_lapses_at_its_new_end(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    h.clock().advance(MINUTE / 2);
    assert_eq!(ok(store.extend(&lease, MINUTE).await), Fenced::Applied);
    assert_eq!(get(&store, id).await, in_flight(1, MINUTE));
    h.clock().advance(MINUTE - MICRO);
    assert_eq!(get(&store, id).await, in_flight(1, MICRO));
    h.clock().advance(MICRO);
    assert_eq!(get(&store, id).await, has_lapsed(1));
}

/// `extend` says until when, in both directions.
pub async fn a_shorter_extension_shortens(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    assert_eq!(ok(store.extend(&lease, MICRO).await), Fenced::Applied);
    assert_eq!(get(&store, id).await, in_flight(1, MICRO));
    h.clock().advance(MICRO);
    assert_eq!(get(&store, id).await, has_lapsed(1));
}

/// Visible until the last microsecond before its end, and claimed anew from it on.
pub async fn a_completed_record_expires_at_its_end(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    h.clock().advance(MINUTE / 2);
    let fenced = ok(store.complete(&lease, &completion("done")).await);
    assert_eq!(fenced, Fenced::Applied);
    h.clock().advance(DAY - MICRO);
    assert_eq!(get(&store, id).await, done(1, "done", MICRO));
    let found = existing(h.second().claim(&takeover(id)).await);
    assert_eq!(Some(found), done(1, "done", MICRO));
    h.clock().advance(MICRO);
    assert_eq!(get(&store, id).await, None);
    assert_eq!(acquire(&h.second(), id).await.attempt, 1);
}

/// A record whose work never ends is forgotten after its `unresolved_ttl`.
pub async fn unresolved_work_expires_at_its_end(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    acquire(&store, id).await;
    h.clock().advance(HOUR - MICRO);
    assert_eq!(get(&store, id).await, has_lapsed(1));
    assert_eq!(Some(existing(store.claim(&claim(id)).await)), has_lapsed(1));
    h.clock().advance(MICRO);
    assert_eq!(get(&store, id).await, None);
    assert_eq!(acquire(&store, id).await.attempt, 1);
}

/// Even one whose `unresolved_ttl` is shorter, which a claim should not ask for.
pub async fn a_live_lease_keeps_an_expired_record_visible(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquired(
        store
            .claim(&claim(id).with_unresolved_ttl(MINUTE / 2))
            .await,
    );
    h.clock().advance(MINUTE - MICRO);
    assert_eq!(get(&store, id).await, in_flight(1, MICRO));
    if !h.collects_garbage() {
        assert_eq!(ok(store.purge_expired(10).await), 0);
    }
    existing(store.claim(&takeover(id)).await);
    assert_eq!(ok(store.extend(&lease, MICRO).await), Fenced::Applied);
    h.clock().advance(MICRO);
    assert_eq!(get(&store, id).await, None);
    assert_eq!(ok(store.extend(&lease, MINUTE).await), Fenced::Lost);
}

/// Work that is extended for longer than that keeps its record.
pub async fn extend_keeps_a_record_beyond_its_unresolved_ttl(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    for _ in 0..100 {
        h.clock().advance(MINUTE - MICRO);
        assert_eq!(get(&store, id).await, in_flight(1, MICRO));
        assert_eq!(ok(store.extend(&lease, MINUTE).await), Fenced::Applied);
    }
    h.clock().advance(MINUTE - MICRO);
    if !h.collects_garbage() {
        assert_eq!(ok(store.purge_expired(10).await), 0);
    }
    assert_eq!(get(&store, id).await, in_flight(1, MICRO));
    // Nobody extended it any more: both ends are there.
    h.clock().advance(MICRO);
    assert_eq!(get(&store, id).await, None);
}

/// The later of the two ends counts.
pub async fn an_extension_that_ends_early_leaves_the_unresolved_ttl(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    assert_eq!(ok(store.extend(&lease, 2 * HOUR).await), Fenced::Applied);
    assert_eq!(ok(store.extend(&lease, MICRO).await), Fenced::Applied);
    h.clock().advance(2 * HOUR - MICRO);
    assert_eq!(get(&store, id).await, has_lapsed(1));
    h.clock().advance(MICRO);
    assert_eq!(get(&store, id).await, None);
}

/// From the claim that took over.
pub async fn a_takeover_counts_the_unresolved_ttl_anew(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    acquire(&store, id).await;
    h.clock().advance(HOUR / 2);
    acquired(store.claim(&takeover(id)).await);
    h.clock().advance(HOUR - MICRO);
    assert_eq!(get(&store, id).await, has_lapsed(2));
    h.clock().advance(MICRO);
    assert_eq!(get(&store, id).await, None);
    // And to an earlier time, if it says so.
    lapsed(&store, id).await;
    let shorter = takeover(id).with_unresolved_ttl(MINUTE);
    acquired(store.claim(&shorter).await);
    h.clock().advance(MINUTE);
    assert_eq!(get(&store, id).await, None);
}

/// A lease that has lapsed, and a record that has expired, when they begin.
pub async fn durations_of_zero_are_over_at_once(h: &impl Harness) {
    let store = h.store();
    let nothing = Claim::new(id(1), Duration::ZERO).with_unresolved_ttl(Duration::ZERO);
    acquired(store.claim(&nothing).await);
    assert_eq!(get(&store, id(1)).await, None);
    let lease = acquire(&store, id(2)).await;
    let fenced = ok(store.extend(&lease, Duration::ZERO).await);
    assert_eq!(fenced, Fenced::Applied);
    assert_eq!(get(&store, id(2)).await, has_lapsed(1));
    let now = Completion::new(super::bench::fingerprint(1), "gone".into(), Duration::ZERO);
    assert_eq!(ok(store.complete(&lease, &now).await), Fenced::Applied);
    assert_eq!(get(&store, id(2)).await, None);
    assert_eq!(acquire(&store, id(2)).await.attempt, 1);
}

/// [`Duration::MAX`] is a long time, not an overflow.
pub async fn durations_without_end_are_accepted(h: &impl Harness) {
    let store = h.store();
    let forever = Claim::new(id(1), Duration::MAX).with_unresolved_ttl(Duration::MAX);
    let lease = acquired(store.claim(&forever).await);
    assert_eq!(
        ok(store.extend(&lease, Duration::MAX).await),
        Fenced::Applied
    );
    let answered = acquire(&store, id(2)).await;
    let kept = Completion::new(super::bench::fingerprint(1), "kept".into(), Duration::MAX);
    assert_eq!(ok(store.complete(&answered, &kept).await), Fenced::Applied);
    let extended = acquire(&store, id(3)).await;
    assert_eq!(
        ok(store.extend(&extended, Duration::MAX).await),
        Fenced::Applied
    );

    h.clock().advance(50 * YEAR);
    for n in 1..=3 {
        match get(&h.second(), id(n)).await {
            Some(Existing {
                state: State::InFlight { remaining } | State::Completed { remaining, .. },
                ..
            }) => assert!(remaining >= 10 * YEAR, "{remaining:?}"),
            other => panic!("record {n} is {other:?}"),
        }
    }
    if !h.collects_garbage() {
        assert_eq!(ok(store.purge_expired(10).await), 0);
    }
    assert_eq!(ok(store.abandon(&lease).await), Fenced::Applied);
    assert_eq!(get(&store, id(1)).await, has_lapsed(1));
}

/// The work ended, and nobody knows how: its owner may still say so, others may take it over.
pub async fn an_abandoned_lease_lapses_now(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = acquire(&store, id).await;
    h.clock().advance(MICRO);
    assert_eq!(ok(h.second().abandon(&lease).await), Fenced::Applied);
    assert_eq!(get(&store, id).await, has_lapsed(1));
    existing(store.claim(&claim(id)).await);
    assert_eq!(ok(store.extend(&lease, MINUTE).await), Fenced::Applied);
    assert_eq!(get(&store, id).await, in_flight(1, MINUTE));
    assert_eq!(ok(store.abandon(&lease).await), Fenced::Applied);
    // It is kept for as long as it would have been.
    h.clock().advance(HOUR - 2 * MICRO);
    assert_eq!(get(&store, id).await, has_lapsed(1));
    let next = acquired(store.claim(&takeover(id)).await);
    assert_eq!(next.attempt, 2);
    assert_eq!(
        ok(store.complete(&lease, &completion("late")).await),
        Fenced::Lost
    );
    assert_eq!(ok(store.abandon(&next).await), Fenced::Applied);
    let fenced = ok(store.complete(&next, &completion("after all")).await);
    assert_eq!(fenced, Fenced::Applied);
    assert_eq!(get(&store, id).await, done(2, "after all", DAY));
    let kept = completed(&store, super::bench::id(2), "").await;
    assert_eq!(ok(store.abandon(&kept).await), Fenced::Lost);
}
