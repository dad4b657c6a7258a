//! Completed records: made once, and then the same for everybody (clauses 4, 5 and 6).

use std::time::Duration;

use bytes::Bytes;

use super::Harness;
use super::bench::{
    DAY, HOUR, MICRO, MINUTE, acquire, acquired, claim, completed, completion, done, existing,
    fingerprint, get, has_lapsed, id, in_flight, lapsed, ok, takeover,
};
use crate::store::{Completion, Existing, Fenced, Lease, Nonce, State};

/// The work was done by who had claimed it, and nobody else has claimed it since.
pub async fn completing_what_has_expired_makes_a_record(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    lapsed(&store, id).await;
    let lease = acquired(store.claim(&takeover(id)).await);
    h.clock().advance(2 * HOUR);
    assert_eq!(get(&store, id).await, None);
    let fenced = ok(h.second().complete(&lease, &completion("late")).await);
    assert_eq!(fenced, Fenced::Applied);
    assert_eq!(get(&store, id).await, done(2, "late", DAY));
    assert_eq!(
        Some(existing(store.claim(&takeover(id)).await)),
        done(2, "late", DAY)
    );
    // It belongs to that lease.
    let again = ok(store.complete(&lease, &completion("later")).await);
    assert_eq!(again, Fenced::Applied);
    assert_eq!(get(&store, id).await, done(2, "late", DAY));

    // The same of an answer that has expired.
    h.clock().advance(DAY);
    let fenced = ok(store.complete(&lease, &completion("latest")).await);
    assert_eq!(fenced, Fenced::Applied);
    assert_eq!(get(&store, id).await, done(2, "latest", DAY));
}

/// A record can be lost: evicted, released by mistake, or removed.
pub async fn completing_what_was_never_there_makes_a_record(h: &impl Harness) {
    let store = h.store();
    let never = Lease {
        id: id(1),
        attempt: 7,
        nonce: Nonce::new(),
    };
    let removed = acquire(&store, id(2)).await;
    assert!(ok(store.remove(&id(2)).await));
    for lease in [never, removed] {
        let fenced = ok(store.complete(&lease, &completion("done")).await);
        assert_eq!(fenced, Fenced::Applied);
        let expected = done(lease.attempt, "done", DAY);
        assert_eq!(get(&h.second(), lease.id).await, expected);
    }
}

/// Whoever claimed it since owns it, at work, lapsed or done.
pub async fn completing_is_refused_when_another_holds_it(h: &impl Harness) {
    let store = h.store();
    let mut late = Vec::new();
    for n in 1..=3 {
        late.push(acquire(&store, id(n)).await);
    }
    h.clock().advance(HOUR);
    acquire(&store, id(1)).await;
    lapsed(&store, id(2)).await;
    completed(&store, id(3), "theirs").await;
    let expected = [in_flight(1, MINUTE), has_lapsed(1), done(1, "theirs", DAY)];
    for (lease, expected) in late.iter().zip(expected) {
        let fenced = ok(h.second().complete(lease, &completion("mine")).await);
        assert_eq!(fenced, Fenced::Lost, "{expected:?}");
        assert_eq!(get(&store, lease.id).await, expected);
    }
}

/// The answer to the first completion was lost, and the owner asks again.
pub async fn completing_again_changes_nothing(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = completed(&store, id, "first").await;
    h.clock().advance(HOUR);
    let longer = Completion::new(fingerprint(2), "second".into(), 9 * DAY);
    for again in [completion("first"), longer] {
        let fenced = ok(h.second().complete(&lease, &again).await);
        assert_eq!(fenced, Fenced::Applied);
        assert_eq!(get(&store, id).await, done(1, "first", DAY - HOUR));
    }
    h.clock().advance(DAY - HOUR);
    assert_eq!(get(&store, id).await, None);
}

/// Byte for byte, through `get` and `claim`, through each handle: answers of no bytes, of all
/// bytes, with quotes and line ends, and of a megabyte.
pub async fn an_answer_is_the_same_for_all_readers_until_it_expires(h: &impl Harness) {
    let (store, second) = (h.store(), h.second());
    let answers: [Bytes; 5] = [
        Bytes::new(),
        (0..=u8::MAX).collect(),
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"'; drop table x; --\r\n\\x00\xff\xfe\"$1?"),
        noise(1 << 20),
    ];
    let mut n = 0;
    for answer in &answers {
        n += 1;
        let lease = acquire(&store, id(n)).await;
        let fenced = ok(store.complete(&lease, &completion(answer.clone())).await);
        assert_eq!(fenced, Fenced::Applied);
    }
    let mut left = DAY;
    for waited in [Duration::ZERO, MICRO, HOUR, DAY - HOUR - 2 * MICRO] {
        h.clock().advance(waited);
        left -= waited;
        for (n, answer) in (1..).zip(&answers) {
            let expected = done(1, answer.clone(), left);
            // Not with `assert_eq`, which would print a megabyte.
            for reader in [&store, &second] {
                let same = get(reader, id(n)).await == expected;
                assert!(same, "answer {n} read {left:?} before its end");
                let claim = takeover(id(n)).with_fingerprint(Some(fingerprint(1)));
                let same = Some(existing(reader.claim(&claim).await)) == expected;
                assert!(same, "answer {n} claimed {left:?} before its end");
            }
        }
    }
    h.clock().advance(MICRO);
    for n in 1..=5 {
        assert_eq!(get(&second, id(n)).await, None);
    }
}

/// Bytes that nothing compresses.
fn noise(length: usize) -> Bytes {
    let mut state = 1_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[1]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Not even by the lease that completed it.
pub async fn a_completed_record_is_not_extended_released_or_abandoned(h: &impl Harness) {
    let (store, id) = (h.store(), id(1));
    let lease = completed(&store, id, "done").await;
    for _ in 0..2 {
        assert_eq!(ok(h.second().extend(&lease, 9 * DAY).await), Fenced::Lost);
        assert_eq!(ok(h.second().release(&lease).await), Fenced::Lost);
        assert_eq!(ok(h.second().abandon(&lease).await), Fenced::Lost);
        assert_eq!(get(&store, id).await, done(1, "done", DAY));
    }
    h.clock().advance(DAY);
    assert_eq!(get(&store, id).await, None);
}

/// The fingerprint of the completion is that of the whole request, whatever was known before.
pub async fn an_answer_replaces_what_was_known_of_the_request(h: &impl Harness) {
    let store = h.store();
    for (n, before) in (1..).zip([None, Some(fingerprint(1)), Some(fingerprint(5))]) {
        let lease = acquired(store.claim(&claim(id(n)).with_fingerprint(before)).await);
        let whole = Completion::new(fingerprint(8), "done".into(), DAY);
        assert_eq!(ok(store.complete(&lease, &whole).await), Fenced::Applied);
        let state = State::Completed {
            answer: "done".into(),
            remaining: DAY,
        };
        let expected = Existing::new(Some(fingerprint(8)), 1, state);
        assert_eq!(get(&store, id(n)).await, Some(expected));
    }
}
