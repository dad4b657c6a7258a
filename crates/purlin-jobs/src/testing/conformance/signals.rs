//! Signals and the jobs that wait for them, of stores that [keep notes](crate::JobStore::notes).

use std::sync::Arc;

use purlin_store::testing::{Dropped, drop_at_every_await};

use super::Harness;
use super::bench::{
    Batch, HOUR, MICRO, Store, Worker, add, at_once, discard, job, job_with, leased, ok, retry,
    settle, state, view,
};
use super::notes::{of, power, recall, step, until_signalled, value};
use crate::JobId;
use crate::store::{Note, NoteKind, Noted, Notes, Outcome, Settled, Signalled, State};

async fn signal(store: &Store, id: JobId, name: &str) -> Signalled {
    ok(power(store).signal(id, name, &value("a signal")).await)
}

/// A job that waits for a signal, for an hour.
async fn parked(store: &Store, name: &str) -> JobId {
    let (_, batch) = leased(store, job()).await;
    let wait = of(NoteKind::Wait, name, HOUR);
    assert_eq!(batch.note(&wait).await, Noted::Kept);
    batch.end(until_signalled(HOUR, 0)).await;
    batch.job().id
}

/// A job that does not wait for it stays where it is.
pub async fn a_signal_is_kept_for_its_job(h: &impl Harness) {
    let store = h.store();
    let later = add(&store, job_with(|o| o.with_delay(HOUR))).await;
    let (_, batch) = leased(&store, job()).await;
    let ready = add(&store, job()).await;
    for (id, place) in [
        (later, State::Scheduled),
        (batch.job().id, State::Leased),
        (ready, State::Ready),
    ] {
        assert_eq!(signal(&store, id, "approved").await, Signalled::Sent);
        assert_eq!(state(&store, id).await, Some(place));
        let read = recall(&h.second(), id).await;
        let kept = Note {
            kind: NoteKind::Signal,
            ..step("approved", "a signal")
        };
        assert_eq!((read.signals, read.notes), (1, vec![kept]));
        assert_eq!(signal(&store, id, "paid").await, Signalled::Sent);
        assert_eq!(recall(&store, id).await.signals, 2);
    }
}

/// At once, and its clients hear of it.
pub async fn a_signal_makes_a_waiting_job_ready(h: &impl Harness) {
    let store = h.store();
    let id = parked(&store, "approved").await;
    let waiting = view(&store, id).await;
    assert_eq!(waiting.state, State::Scheduled);
    assert_eq!(signal(&store, id, "paid").await, Signalled::Sent);
    assert_eq!(view(&store, id).await, waiting);
    assert_eq!(signal(&h.second(), id, "approved").await, Signalled::Sent);
    let awake = view(&store, id).await;
    assert_eq!((awake.state, awake.failures), (State::Ready, 0));
    assert_eq!(Worker::join(&store).await.claim(9).await.job().id, id);
    assert_eq!(ok(store.promote(10).await).jobs, 0);
}

/// Another one of the name changes nothing, wherever the job is. Nor does one that comes when the job
/// has waited in vain.
pub async fn a_signal_is_kept_once(h: &impl Harness) {
    let store = h.store();
    let id = parked(&store, "approved").await;
    assert_eq!(signal(&store, id, "approved").await, Signalled::Sent);
    let worker = Worker::join(&store).await;
    let batch = worker.claim(1).await;
    batch.end(retry(HOUR)).await;
    let before = (view(&store, id).await, recall(&store, id).await);
    let another = value("another");
    let again = power(&store).signal(id, "approved", &another);
    assert_eq!(ok(again.await), Signalled::Existing);
    assert_eq!((view(&store, id).await, recall(&store, id).await), before);

    let id = parked(&store, "approved").await;
    h.clock().advance(HOUR - MICRO);
    assert_eq!(ok(store.promote(10).await).jobs, 0);
    h.clock().advance(MICRO);
    assert_eq!(ok(store.promote(10).await).jobs, 2);
    let batches = Worker::join(&store).await.claim(2).await;
    let in_vain = Note {
        due_in: None,
        ..of(NoteKind::Signal, "approved", HOUR)
    };
    let noted = power(&store).note(batches.lease, id, &in_vain).await;
    assert_eq!(ok(noted), Noted::Kept);
    assert_eq!(batches.settle(id, retry(HOUR)).await, Settled::Applied);
    assert_eq!(signal(&store, id, "approved").await, Signalled::Existing);
    assert_eq!(state(&store, id).await, Some(State::Scheduled));
}

/// Who sends it is told.
pub async fn an_ended_job_takes_no_signal(h: &impl Harness) {
    let store = h.store();
    let unknown = JobId::new();
    assert_eq!(signal(&store, unknown, "a").await, Signalled::Unknown);
    for (end, told) in [
        (Outcome::Done, Signalled::Unknown),
        (discard(), Signalled::Ended),
        (Outcome::Cancelled, Signalled::Ended),
    ] {
        let (_, batch) = leased(&store, job()).await;
        batch.end(end).await;
        let id = batch.job().id;
        assert_eq!(signal(&store, id, "a").await, told);
        let left = ok(power(&store).recall(id).await);
        assert_eq!(left.unwrap_or_default(), Notes::default());
    }
}

/// It is ready at once, unless the attempt knew of it.
pub async fn a_signal_before_the_settlement_is_not_missed(h: &impl Harness) {
    let store = h.store();
    for (known, expected) in [(0, State::Ready), (1, State::Scheduled)] {
        let (_, batch) = leased(&store, job()).await;
        let id = batch.job().id;
        let wait = of(NoteKind::Wait, "approved", HOUR);
        assert_eq!(batch.note(&wait).await, Noted::Kept);
        assert_eq!(signal(&store, id, "approved").await, Signalled::Sent);
        batch.end(until_signalled(HOUR, known)).await;
        assert_eq!(state(&store, id).await, Some(expected));
        assert!(ok(store.cancel(id).await));
    }
}

/// Signal or none.
pub async fn a_job_that_is_to_be_cancelled_does_not_wait(h: &impl Harness) {
    let store = h.store();
    for signals in [0, 1] {
        let (_, batch) = leased(&store, job()).await;
        let id = batch.job().id;
        assert!(ok(store.cancel(id).await));
        if signals > 0 {
            assert_eq!(signal(&store, id, "approved").await, Signalled::Sent);
        }
        batch.end(until_signalled(HOUR, 0)).await;
        assert_eq!(state(&store, id).await, Some(State::Cancelled));
    }
}

/// Whichever comes first, the job is ready when both are through.
pub async fn a_signal_and_a_wait_never_miss_each_other(h: &impl Harness) {
    let store = h.store();
    for _ in 0..60 {
        let (worker, batch) = leased(&store, job()).await;
        let id = batch.job().id;
        let told = at_once(h, 3, |n, store| {
            let batch = Batch {
                store: Arc::clone(&store),
                ..batch.clone()
            };
            async move {
                if n < 2 {
                    return Some(signal(&store, id, "approved").await);
                }
                let wait = of(NoteKind::Wait, "approved", HOUR);
                assert_eq!(batch.note(&wait).await, Noted::Kept);
                batch.end(until_signalled(HOUR, 0)).await;
                None
            }
        })
        .await;
        let sent = told.iter().filter(|told| **told == Some(Signalled::Sent));
        assert_eq!(sent.count(), 1, "{told:?}");
        assert_eq!(state(&store, id).await, Some(State::Ready));
        worker.claim(1).await.end(Outcome::Done).await;
    }
}

/// Not by a promotion, a cancellation or a replay that moves it at the same moment either.
pub async fn a_signal_and_whoever_moves_the_job_exclude_each_other(h: &impl Harness) {
    let store = h.store();
    for round in 0..45 {
        let id = parked(&store, "approved").await;
        h.clock().advance(HOUR);
        let told = at_once(h, 2, |n, store| async move {
            if n == 0 {
                return Some(signal(&store, id, "approved").await);
            }
            match round % 3 {
                0 => drop(ok(store.promote(10).await)),
                1 => drop(ok(store.cancel(id).await)),
                _ => drop(ok(store.replay(id).await)),
            }
            None
        })
        .await;
        let ready = Some(State::Ready);
        let expected = if round % 3 == 1 {
            Some(State::Cancelled)
        } else {
            ready
        };
        assert_eq!(state(&store, id).await, expected, "{told:?}");
        let worker = Worker::join(&store).await;
        let claimed = worker.claim(9).await;
        assert_eq!(claimed.ids().len(), usize::from(expected == ready));
        claimed.settle_all(Outcome::Done).await;
    }
}

/// Also when it comes in the moment in which the job is done: a later one of the same id is another job.
pub async fn a_signal_is_of_one_job_only(h: &impl Harness) {
    let store = h.store();
    for _ in 0..40 {
        let entry = job();
        let (_, batch) = leased(&store, entry.clone()).await;
        let id = entry.id;
        let first = step("a", "1");
        assert_eq!(batch.note(&first).await, Noted::Kept);
        let told = at_once(h, 2, |n, store| {
            let lease = batch.lease;
            async move {
                if n == 0 {
                    return Some(signal(&store, id, "approved").await);
                }
                settle(&store, lease, id, Outcome::Done).await;
                None
            }
        })
        .await;
        h.clock().advance(MICRO);
        add(&store, entry).await;
        assert_eq!(recall(&store, id).await, Notes::default(), "{told:?}");
        assert_eq!(signal(&store, id, "approved").await, Signalled::Sent);
        assert!(ok(store.cancel(id).await));
    }
}

/// The signal is kept and the job ready, or neither; sent again, both.
pub async fn a_dropped_signal_is_all_or_nothing(h: &impl Harness) {
    let store = h.store();
    for _ in 0..5 {
        let mut id = parked(&store, "approved").await;
        let target = std::cell::Cell::new(id);
        drop_at_every_await(
            || {
                let store = h.store();
                let id = target.get();
                async move { signal(&store, id, "approved").await }
            },
            async |at| {
                let again = signal(&store, id, "approved").await;
                if at == Dropped::Completed {
                    assert_eq!(again, Signalled::Existing);
                }
                assert_eq!(state(&store, id).await, Some(State::Ready), "{at:?}");
                assert!(ok(store.cancel(id).await));
                id = parked(&store, "approved").await;
                target.set(id);
            },
        )
        .await;
    }
}
