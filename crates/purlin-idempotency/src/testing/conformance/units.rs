//! Units of work that meet each other, and requests that are dropped.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use purlin_store::testing::{Dropped, drop_at_every_await};

use super::TransactionalHarness;
use super::bench::{DAY, MINUTE, acquired, claim, completion, done, id, ok};
use super::transactional::{begin_when_free, started, write};
use crate::store::{Begun, Fenced, Settled, UnitOfWork};

/// A record that came in between, by a lease for instance.
pub async fn a_record_that_was_there_first_leaves_no_effect(h: &impl TransactionalHarness) {
    if h.excludes_writers() {
        return;
    }
    let store = h.second();
    for (n, refused) in [(1, false), (2, true)] {
        let mut unit = started(h, id(n)).await;
        write(h, &mut *unit, n).await;
        let lease = acquired(store.claim(&claim(id(n))).await);
        let fenced = ok(store.complete(&lease, &completion("theirs")).await);
        assert_eq!(fenced, Fenced::Applied);
        assert_eq!(end(unit, refused).await, Settled::Lost);
        assert_eq!(h.effects(n).await, 0);
        let found = ok(store.get(&id(n)).await);
        assert_eq!(found, done(1, "theirs", DAY));
    }
    // One that is only under way is a record as well.
    let mut unit = started(h, id(3)).await;
    write(h, &mut *unit, 3).await;
    let lease = acquired(store.claim(&claim(id(3))).await);
    assert_eq!(end(unit, false).await, Settled::Lost);
    assert_eq!(h.effects(3).await, 0);
    assert_eq!(ok(store.extend(&lease, MINUTE).await), Fenced::Applied);
}

async fn end(unit: Box<dyn UnitOfWork>, refused: bool) -> Settled {
    let mine = completion("mine");
    ok(if refused {
        unit.refuse(&mine).await
    } else {
        unit.commit(&mine).await
    })
}

/// Nobody waits for the others.
pub async fn units_of_different_ids_run_side_by_side(h: &impl TransactionalHarness) {
    if h.excludes_writers() {
        return;
    }
    let mut units = Vec::new();
    for n in 1..=3 {
        let mut unit = started(h, id(n)).await;
        write(h, &mut *unit, n).await;
        units.push(unit);
    }
    for (n, unit) in (1..).zip(units).collect::<Vec<_>>().into_iter().rev() {
        assert_eq!(ok(unit.commit(&completion("done")).await), Settled::Applied);
        assert_eq!(h.effects(n).await, 1);
    }
}

/// Each of many duplicates works if it is let, as the layer does.
pub async fn many_units_at_once_have_one_effect(h: &impl TransactionalHarness) {
    for n in 1..=5 {
        let stores = [h.store(), h.second()];
        let requests = (0..30).map(|request| {
            let store = &stores[request % 2];
            async move {
                let Begun::Started(mut unit) = ok(store.begin(&id(n)).await) else {
                    return false;
                };
                write(h, &mut *unit, n).await;
                ok(unit.commit(&completion("done")).await) == Settled::Applied
            }
        });
        let applied = all(requests).await.into_iter().filter(|applied| *applied);
        assert_eq!(applied.count(), 1);
        assert_eq!(h.effects(n).await, 1);
        assert_eq!(ok(h.second().get(&id(n)).await), done(1, "done", DAY));
    }
}

/// Runs all of them at the same time, in this task, as they borrow the harness.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut results = Vec::new();
    poll_fn(|cx| {
        running.retain_mut(|future| match future.as_mut().poll(cx) {
            Poll::Ready(result) => {
                results.push(result);
                false
            }
            Poll::Pending => true,
        });
        if running.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    results
}

/// How the request of a dropped future would have ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Refuse,
    RollBack,
}

/// From `begin` to the end of `commit`.
pub async fn a_request_dropped_before_its_commit_ended_keeps_both_or_neither(
    h: &impl TransactionalHarness,
) {
    dropped(h, End::Commit).await;
}

/// From `begin` to the end of `refuse`.
pub async fn a_request_dropped_before_its_refusal_ended_keeps_no_effect(
    h: &impl TransactionalHarness,
) {
    dropped(h, End::Refuse).await;
}

/// From `begin` to the end of `roll_back`.
pub async fn a_request_dropped_before_its_roll_back_ended_keeps_neither(
    h: &impl TransactionalHarness,
) {
    dropped(h, End::RollBack).await;
}

async fn dropped(h: &impl TransactionalHarness, end: End) {
    let number = Cell::new(1);
    for _ in 0..5 {
        drop_at_every_await(
            || request(h, number.get(), end),
            async |at| {
                let n = number.replace(number.get() + 1);
                settled(h, n, end, at).await;
            },
        )
        .await;
    }
}

async fn request(h: &impl TransactionalHarness, n: u64, end: End) {
    let begun = begin_when_free(&*h.store(), &id(n)).await;
    let Begun::Started(mut unit) = begun else {
        panic!("{begun:?} stands in the way");
    };
    write(h, &mut *unit, n).await;
    let completion = completion("done");
    match end {
        End::Commit => assert_eq!(ok(unit.commit(&completion).await), Settled::Applied),
        End::Refuse => assert_eq!(ok(unit.refuse(&completion).await), Settled::Applied),
        End::RollBack => ok(unit.roll_back().await),
    }
}

/// Whoever comes next finds the record with its effect, or may begin with none.
async fn settled(h: &impl TransactionalHarness, n: u64, end: End, at: Dropped) {
    // Not before the transaction has ended, whichever way: whoever begins at that very moment may not
    // see the record yet, and would find out when it commits.
    if let Begun::Started(unit) = begin_when_free(&*h.second(), &id(n)).await {
        ok(unit.roll_back().await);
    }
    match begin_when_free(&*h.second(), &id(n)).await {
        Begun::Existing(existing) => {
            assert!(end != End::RollBack, "{existing:?}, dropped at {at:?}");
            assert_eq!(Some(existing), done(1, "done", DAY));
            let expected = u64::from(end == End::Commit);
            assert_eq!(h.effects(n).await, expected, "dropped at {at:?}");
        }
        Begun::Started(unit) => {
            assert!(at != Dropped::Completed || end == End::RollBack);
            ok(unit.roll_back().await);
            assert_eq!(h.effects(n).await, 0, "dropped at {at:?}");
        }
        Begun::Busy => unreachable!("it was waited for"),
    }
}
