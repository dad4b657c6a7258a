//! Units of work: the record and the effect, or neither.

use std::time::Duration;

use http::Extensions;

use super::TransactionalHarness;

use super::bench::{
    DAY, HOUR, MICRO, MINUTE, acquired, claim, completion, done, fingerprint, id, ok, takeover,
};
use crate::RecordId;
use crate::store::{
    Begun, Claim, Completion, Existing, Fenced, Settled, State, TransactionalStore, UnitOfWork,
};

/// Begins when the transaction before it has ended; one that was dropped is rolled back while
/// nobody waits for it.
pub(super) async fn begin_when_free(store: &dyn TransactionalStore, id: &RecordId) -> Begun {
    let free = async {
        loop {
            match ok(store.begin(id).await) {
                Begun::Busy => tokio::task::yield_now().await,
                begun => return begun,
            }
        }
    };
    // So that a lock which is never given back fails the case, and does not hang it.
    tokio::time::timeout(MINUTE, free)
        .await
        .unwrap_or_else(|_| panic!("{id} is busy for ever"))
}

pub(super) async fn started(h: &impl TransactionalHarness, id: RecordId) -> Box<dyn UnitOfWork> {
    match begin_when_free(&*h.store(), &id).await {
        Begun::Started(unit) => unit,
        other => panic!("{other:?} stands in the way"),
    }
}

pub(super) async fn write(h: &impl TransactionalHarness, unit: &mut dyn UnitOfWork, effect: u64) {
    let mut extensions = Extensions::new();
    unit.share(&mut extensions);
    h.write(&extensions, effect).await;
}

/// A unit of work of `id(n)` that has written effect `n`.
async fn worked(h: &impl TransactionalHarness, n: u64) -> Box<dyn UnitOfWork> {
    let mut unit = started(h, id(n)).await;
    write(h, &mut *unit, n).await;
    unit
}

async fn get(h: &impl TransactionalHarness, n: u64) -> Option<Existing> {
    ok(h.second().get(&id(n)).await)
}

/// Both are seen after the commit and neither is before.
pub async fn a_commit_keeps_the_record_and_the_effect(h: &impl TransactionalHarness) {
    let answers: [Vec<u8>; 3] = [(0..=u8::MAX).collect(), Vec::new(), vec![1; 1 << 20]];
    for (n, answer) in (1..).zip(answers) {
        let unit = worked(h, n).await;
        assert_eq!(h.effects(n).await, 0);
        assert_eq!(get(h, n).await, None);
        let settled = ok(unit.commit(&completion(answer.clone())).await);
        assert_eq!(settled, Settled::Applied);
        assert_eq!(h.effects(n).await, 1);
        assert!(get(h, n).await == done(1, answer, DAY), "answer {n}");
    }
}

/// The next try of the request finds the refusal.
pub async fn a_refusal_keeps_the_record_without_the_effect(h: &impl TransactionalHarness) {
    let unit = worked(h, 1).await;
    let settled = ok(unit.refuse(&completion("no")).await);
    assert_eq!(settled, Settled::Applied);
    assert_eq!(h.effects(1).await, 0);
    assert_eq!(get(h, 1).await, done(1, "no", DAY));
    match ok(h.store().begin(&id(1)).await) {
        Begun::Existing(existing) => assert_eq!(Some(existing), done(1, "no", DAY)),
        other => panic!("{other:?}"),
    }
    assert_eq!(h.effects(1).await, 0);
}

/// The next try of the request is executed.
pub async fn a_roll_back_keeps_neither(h: &impl TransactionalHarness) {
    for _ in 0..3 {
        let unit = worked(h, 1).await;
        ok(unit.roll_back().await);
        assert_eq!(h.effects(1).await, 0);
        assert_eq!(get(h, 1).await, None);
    }
    let unit = worked(h, 1).await;
    assert_eq!(ok(unit.commit(&completion("done")).await), Settled::Applied);
    assert_eq!(h.effects(1).await, 1);
}

/// Neither does one whose extensions outlive it.
pub async fn a_dropped_unit_keeps_neither(h: &impl TransactionalHarness) {
    for written in [false, true, true] {
        let mut unit = started(h, id(1)).await;
        let mut extensions = Extensions::new();
        unit.share(&mut extensions);
        if written {
            h.write(&extensions, 1).await;
        }
        drop(unit);
        let next = started(h, id(1)).await;
        assert_eq!(h.effects(1).await, 0);
        ok(next.roll_back().await);
        assert_eq!(get(h, 1).await, None);
        drop(extensions);
    }
}

/// A handler need not write, nor look at the transaction.
pub async fn a_unit_without_an_effect_keeps_the_record(h: &impl TransactionalHarness) {
    let unit = started(h, id(1)).await;
    assert_eq!(ok(unit.commit(&completion("done")).await), Settled::Applied);
    let mut unit = started(h, id(2)).await;
    unit.share(&mut Extensions::new());
    assert_eq!(ok(unit.commit(&completion("done")).await), Settled::Applied);
    assert_eq!(get(h, 1).await, done(1, "done", DAY));
    assert_eq!(get(h, 2).await, done(1, "done", DAY));
}

/// It is told so at once, through each handle, and disturbs nobody.
pub async fn a_duplicate_of_work_under_way_is_busy(h: &impl TransactionalHarness) {
    let unit = worked(h, 1).await;
    for store in [h.store(), h.second(), h.store()] {
        let begun = ok(store.begin(&id(1)).await);
        assert!(matches!(begun, Begun::Busy), "{begun:?}");
    }
    assert_eq!(ok(unit.commit(&completion("done")).await), Settled::Applied);
    assert_eq!(h.effects(1).await, 1);
    assert_eq!(get(h, 1).await, done(1, "done", DAY));
}

/// With its fingerprint, and to the last microsecond.
pub async fn a_duplicate_of_what_is_done_finds_the_answer(h: &impl TransactionalHarness) {
    let unit = worked(h, 1).await;
    assert_eq!(ok(unit.commit(&completion("done")).await), Settled::Applied);
    for (waited, left) in [(Duration::ZERO, DAY), (DAY - MICRO, MICRO)] {
        h.clock().advance(waited);
        for store in [h.store(), h.second()] {
            match ok(store.begin(&id(1)).await) {
                Begun::Existing(existing) => assert_eq!(Some(existing), done(1, "done", left)),
                other => panic!("{other:?}"),
            }
            let claimed = ok(store.claim(&takeover(id(1))).await);
            assert!(matches!(claimed, crate::store::Claimed::Existing(_)));
        }
    }
    assert_eq!(h.effects(1).await, 1);
}

/// Both guarantees may be used with one store: work that somebody has leased is not begun, lapsed or
/// not, as nobody knows how far it went.
pub async fn leased_work_stands_in_the_way_of_a_unit(h: &impl TransactionalHarness) {
    let store = h.store();
    let known = claim(id(1)).with_fingerprint(Some(fingerprint(4)));
    let lease = acquired(store.claim(&known).await);
    let remaining = MINUTE;
    for state in [State::InFlight { remaining }, State::Lapsed] {
        let expected = Existing::new(Some(fingerprint(4)), 1, state);
        match ok(h.second().begin(&id(1)).await) {
            Begun::Existing(existing) => assert_eq!(existing, expected),
            other => panic!("{other:?}"),
        }
        h.clock().advance(MINUTE);
    }
    assert_eq!(ok(store.release(&lease).await), Fenced::Applied);
    let unit = worked(h, 1).await;
    assert_eq!(ok(unit.commit(&completion("done")).await), Settled::Applied);
    assert_eq!(h.effects(1).await, 1);
}

/// From its end on, whatever it was and whether or not it was deleted.
pub async fn an_expired_record_makes_way_for_a_unit(h: &impl TransactionalHarness) {
    let store = h.store();
    let unit = worked(h, 1).await;
    let short = Completion::new(fingerprint(2), "first".into(), HOUR);
    assert_eq!(ok(unit.commit(&short).await), Settled::Applied);
    let leased = Claim::new(id(2), MINUTE).with_unresolved_ttl(HOUR);
    let late = acquired(store.claim(&leased).await);
    h.clock().advance(HOUR);
    for n in 1..=2 {
        let unit = worked(h, n).await;
        assert_eq!(
            ok(unit.commit(&completion("second")).await),
            Settled::Applied
        );
        assert_eq!(get(h, n).await, done(1, "second", DAY));
    }
    assert_eq!(h.effects(1).await, 2);
    assert_eq!(h.effects(2).await, 1);
    // The record is not his who had leased it before.
    let fenced = ok(store.complete(&late, &completion("late")).await);
    assert_eq!(fenced, Fenced::Lost);
    assert_eq!(get(h, 2).await, done(1, "second", DAY));

    h.clock().advance(DAY);
    let unit = worked(h, 2).await;
    assert_eq!(
        ok(unit.refuse(&completion("third")).await),
        Settled::Applied
    );
    assert_eq!(get(h, 2).await, done(1, "third", DAY));
    assert_eq!(h.effects(2).await, 1);
}

/// The handler has it still: nothing of it is kept, then or when it is given back at last.
pub async fn a_transaction_that_is_kept_is_not_committed(h: &impl TransactionalHarness) {
    for refused in [false, true] {
        let mut unit = started(h, id(1)).await;
        let mut extensions = Extensions::new();
        unit.share(&mut extensions);
        h.write(&extensions, 1).await;
        let kept = h.keep(&extensions);
        let settled = if refused {
            unit.refuse(&completion("done")).await
        } else {
            unit.commit(&completion("done")).await
        };
        assert_eq!(ok(settled), Settled::NotReturned);
        drop(kept);
        drop(extensions);
        let next = started(h, id(1)).await;
        ok(next.roll_back().await);
        assert_eq!(h.effects(1).await, 0);
        assert_eq!(get(h, 1).await, None);
    }
}
