//! What a job remembers and leaves behind, of stores that [keep notes](crate::JobStore::notes).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use purlin_store::testing::{Dropped, drop_at_every_await};

use super::bench::{
    Batch, DAY, HOUR, MICRO, MINUTE, Store, Worker, add, at_once, discard, enqueue, job, job_with,
    leased, lost, ok, rescue, retry, settle, state, unique, view,
};
use super::{Harness, TransactionalHarness};
use crate::store::{
    Enqueued, Found, KeptResult, Note, NoteKind, NoteStore, Noted, Notes, Outcome, Settled,
    Signalled, State,
};
use crate::{JobId, LeaseId, TransactionalJobStore as _, Unique};

fn power(store: &Store) -> &dyn NoteStore {
    store.notes().expect("the store keeps notes")
}

fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn step(name: &str, text: &'static str) -> Note {
    Note {
        kind: NoteKind::Step,
        name: name.to_owned(),
        value: Some(value(text)),
        due_in: None,
    }
}

fn of(kind: NoteKind, name: &str, due_in: Duration) -> Note {
    Note {
        kind,
        name: name.to_owned(),
        value: None,
        due_in: Some(due_in),
    }
}

fn result(ttl: Duration) -> Outcome {
    let value = value("the result");
    Outcome::DoneWith(KeptResult { value, ttl })
}

fn until_signalled(up_to: Duration, signals: u32) -> Outcome {
    Outcome::Await { up_to, signals }
}

async fn recall(store: &Store, id: JobId) -> Notes {
    ok(power(store).recall(id).await).expect("the job is there")
}

async fn found(store: &Store, id: JobId) -> Found {
    ok(power(store).result(id).await)
}

async fn signal(store: &Store, id: JobId, name: &str) -> Signalled {
    ok(power(store).signal(id, name, &value("a signal")).await)
}

impl Batch {
    /// Of the only one.
    async fn note(&self, note: &Note) -> Noted {
        ok(power(&self.store)
            .note(self.lease, self.job().id, note)
            .await)
    }
}

/// A job that waits for a signal, for an hour.
async fn parked(store: &Store, name: &str) -> JobId {
    let (_, batch) = leased(store, job()).await;
    let wait = of(NoteKind::Wait, name, HOUR);
    assert_eq!(batch.note(&wait).await, Noted::Kept);
    batch.end(until_signalled(HOUR, 0)).await;
    batch.job().id
}

/// In the order of kinds and names, with what is left of its time.
pub async fn a_note_is_as_it_was_given(h: &impl Harness) {
    let (_, batch) = leased(&h.store(), job()).await;
    let notes = [
        step("a", "1"),
        step("b", ""),
        of(NoteKind::Timer, "a", HOUR),
        of(NoteKind::Wait, "a", MINUTE),
        Note {
            due_in: None,
            ..of(NoteKind::Signal, "a", HOUR)
        },
        Note {
            kind: NoteKind::Progress,
            ..step("", "half of it")
        },
    ];
    for note in notes.iter().rev() {
        assert_eq!(batch.note(note).await, Noted::Kept);
    }
    let id = batch.job().id;
    let read = recall(&h.second(), id).await;
    assert_eq!((read.signals, &read.notes[..]), (0, &notes[..]));
    h.clock().advance(MINUTE + MICRO);
    let left: Vec<_> = recall(&h.second(), id).await.notes;
    let left: Vec<_> = left.iter().filter_map(|note| note.due_in).collect();
    assert_eq!(left, [HOUR - MINUTE - MICRO, Duration::ZERO]);
    assert_eq!(ok(power(&h.store()).recall(JobId::new()).await), None);
    let none = add(&h.store(), job()).await;
    assert_eq!(recall(&h.store(), none).await, Notes::default());
}

/// Of two of one kind and name the first.
pub async fn a_note_that_is_kept_stays(h: &impl Harness) {
    let (_, batch) = leased(&h.store(), job()).await;
    let first = step("charge", "1");
    assert_eq!(batch.note(&first).await, Noted::Kept);
    assert_eq!(batch.note(&step("charge", "2")).await, Noted::Existing);
    let timer = of(NoteKind::Timer, "charge", HOUR);
    assert_eq!(batch.note(&timer).await, Noted::Kept);
    let read = recall(&h.store(), batch.job().id).await;
    assert_eq!(read.notes, [first, timer]);
}

/// Before and after the job has died.
pub async fn progress_is_what_was_reported_last(h: &impl Harness) {
    let (_, batch) = leased(&h.store(), job()).await;
    for text in ["1", "2"] {
        let progress = Note {
            kind: NoteKind::Progress,
            ..step("", text)
        };
        assert_eq!(batch.note(&progress).await, Noted::Kept);
        let read = recall(&h.second(), batch.job().id).await;
        assert_eq!(read.notes, [progress]);
    }
    batch.end(discard()).await;
    let read = recall(&h.store(), batch.job().id).await;
    assert_eq!(read.notes[0].value, Some(value("2")));
}

/// A zombie keeps nothing, nor overwrites anything, and is told.
pub async fn a_note_needs_the_lease(h: &impl Harness) {
    let store = h.store();
    let zombie = lost(h, job()).await;
    let id = zombie.job().id;
    let progress = Note {
        kind: NoteKind::Progress,
        ..step("", "1")
    };
    for note in [&step("a", "1"), &progress] {
        assert_eq!(zombie.note(note).await, Noted::Stale);
    }
    let owner = Worker::join(&store).await.claim(1).await;
    assert_eq!(owner.job().id, id);
    assert_eq!(owner.note(&progress).await, Noted::Kept);
    let (_, other) = leased(&store, job()).await;
    let late = Note {
        value: Some(value("2")),
        ..progress.clone()
    };
    for lease in [zombie.lease, other.lease, LeaseId::new()] {
        for note in [&step("a", "1"), &late] {
            let noted = ok(power(&h.second()).note(lease, id, note).await);
            assert_eq!(noted, Noted::Stale);
        }
    }
    assert_eq!(recall(&store, id).await.notes, [progress]);
    owner.end(retry(MINUTE)).await;
    assert_eq!(owner.note(&step("a", "1")).await, Noted::Stale);
    let done = other.job().id;
    other.end(Outcome::Done).await;
    assert_eq!(other.note(&step("a", "1")).await, Noted::Stale);
    assert_eq!(ok(power(&store).recall(done).await), None);
}

/// However it ended, and after a replay of a dead job too.
pub async fn notes_outlive_an_attempt(h: &impl Harness) {
    let store = h.store();
    let (worker, first) = leased(&store, job()).await;
    let id = first.job().id;
    let kept = step("charge", "1");
    assert_eq!(first.note(&kept).await, Noted::Kept);
    let mut batch = first;
    let ends = [
        retry(Duration::ZERO),
        Outcome::Snooze {
            after: Duration::ZERO,
        },
        until_signalled(Duration::ZERO, 0),
        Outcome::Release,
        discard(),
    ];
    for end in ends {
        batch.end(end).await;
        assert_eq!(recall(&store, id).await.notes, [kept.clone()]);
        ok(store.promote(10).await);
        ok(store.replay(id).await);
        batch = worker.claim(1).await;
        assert_eq!(batch.job().id, id);
    }
    h.clock().advance(HOUR);
    rescue(&store, 9).await;
    assert_eq!(recall(&store, id).await.notes, [kept]);
}

/// Done, replaced, or purged. A later job of the same id finds none.
pub async fn notes_go_with_their_job(h: &impl Harness) {
    let store = h.store();
    let key = || unique(Unique::until_done("key").or_replace());
    let ends = [
        Outcome::Done,
        result(HOUR),
        discard(),
        Outcome::Cancelled,
        Outcome::Snooze { after: HOUR },
    ];
    for end in ends {
        let entry = key();
        let (_, batch) = leased(&store, entry.clone()).await;
        assert_eq!(batch.note(&step("charge", "1")).await, Noted::Kept);
        batch.end(end.clone()).await;
        match end {
            Outcome::Discard { .. } | Outcome::Cancelled => {
                assert_eq!(ok(store.purge_finished(Duration::ZERO, 1_000).await), 1);
            }
            Outcome::Snooze { .. } => {
                let [new, old] = [key(), entry.clone()].map(|entry| entry.id);
                let by = crate::store::Entry { id: new, ..key() };
                let replaced = enqueue(&store, &by).await;
                assert_eq!(replaced, Enqueued::Replaced { new, old });
                assert!(ok(store.cancel(new).await));
            }
            _ => {}
        }
        assert_eq!(ok(power(&store).recall(entry.id).await), None);
        add(&store, entry.clone()).await;
        assert_eq!(recall(&store, entry.id).await, Notes::default());
        Worker::join(&store)
            .await
            .claim(1)
            .await
            .end(Outcome::Done)
            .await;
    }
}

/// And for as long as was said.
pub async fn a_result_is_there_when_its_job_is_done(h: &impl Harness) {
    let store = h.store();
    let id = add(&store, job()).await;
    assert_eq!(found(&store, id).await, Found::Pending);
    let batch = Worker::join(&store).await.claim(1).await;
    assert_eq!(found(&store, id).await, Found::Pending);
    batch.end(result(HOUR)).await;
    assert_eq!(state(&store, id).await, None);
    let kept = Found::Result(value("the result"));
    assert_eq!(found(&h.second(), id).await, kept);
    h.clock().advance(HOUR - MICRO);
    assert_eq!(found(&h.second(), id).await, kept);
    h.clock().advance(MICRO);
    assert_eq!(found(&store, id).await, Found::Nothing);
}

/// Without one there is nothing to wait for once the job has ended.
pub async fn a_job_may_leave_no_result(h: &impl Harness) {
    let store = h.store();
    assert_eq!(found(&store, JobId::new()).await, Found::Nothing);
    for (end, expected) in [
        (Outcome::Done, Found::Nothing),
        (discard(), Found::Nothing),
        (Outcome::Cancelled, Found::Nothing),
        (retry(HOUR), Found::Pending),
    ] {
        let (_, batch) = leased(&store, job()).await;
        batch.end(end).await;
        assert_eq!(found(&store, batch.job().id).await, expected);
    }
}

/// Nor changes the one that is there. Some jobs of a call leave one, and some none.
pub async fn a_lost_lease_leaves_no_result(h: &impl Harness) {
    let store = h.store();
    let zombie = lost(h, job()).await;
    let id = zombie.job().id;
    let late = settle(&store, zombie.lease, id, result(DAY)).await;
    assert_eq!(late, Settled::Stale);
    assert_eq!(found(&store, id).await, Found::Pending);
    let owner = Worker::join(&store).await.claim(1).await;
    owner.end(result(MINUTE)).await;
    let late = settle(&store, zombie.lease, id, result(DAY)).await;
    assert_eq!(late, Settled::Stale);
    h.clock().advance(MINUTE);
    assert_eq!(found(&store, id).await, Found::Nothing);
}

/// So many at a time.
pub async fn results_of_the_past_are_purged(h: &impl Harness) {
    let store = h.store();
    let mut ids = Vec::new();
    for ttl in [MINUTE, MINUTE, MINUTE, HOUR] {
        let (_, batch) = leased(&store, job()).await;
        batch.end(result(ttl)).await;
        ids.push(batch.job().id);
    }
    assert_eq!(ok(store.purge_finished(HOUR, 10).await), 0);
    h.clock().advance(MINUTE);
    for purged in [2, 1, 0] {
        assert_eq!(ok(store.purge_finished(HOUR, 2).await), purged);
    }
    assert_ne!(found(&store, ids[3]).await, Found::Nothing);
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

async fn end<H: TransactionalHarness>(h: &H, transaction: H::Transaction, commits: bool) {
    if commits {
        h.commit(transaction).await;
    } else {
        h.roll_back(transaction).await;
    }
}

/// With what else is in it. Until then the job is nobody else's.
pub async fn a_note_is_there_when_its_transaction_commits(h: &impl TransactionalHarness) {
    let store = h.store();
    let (_, batch) = leased(&store, job()).await;
    let (id, charge) = (batch.job().id, step("charge", "1"));
    for commits in [false, true] {
        let mut transaction = h.begin().await;
        let joined = h.transactional_store();
        for expected in [Noted::Kept, Noted::Existing] {
            let noted = joined.note_in(&mut *transaction, batch.lease, id, &charge);
            assert_eq!(ok(noted.await), expected);
        }
        let inside = ok(joined.recall_in(&mut *transaction, id).await);
        assert_eq!(inside.expect("the job is there").notes.len(), 1);
        assert_eq!(recall(&h.second(), id).await, Notes::default());
        end(h, transaction, commits).await;
    }
    assert_eq!(recall(&h.second(), id).await.notes, [charge]);
    batch.end(Outcome::Done).await;
}

/// Nothing is changed, even if it is committed.
pub async fn a_note_in_a_transaction_needs_the_lease(h: &impl TransactionalHarness) {
    let store = h.store();
    let zombie = lost(h, job()).await;
    let id = zombie.job().id;
    let owner = Worker::join(&store).await.claim(1).await;
    for lease in [zombie.lease, LeaseId::new()] {
        let mut transaction = h.begin().await;
        let joined = h.transactional_store();
        let note = step("a", "1");
        let noted = joined.note_in(&mut *transaction, lease, id, &note);
        assert_eq!(ok(noted.await), Noted::Stale);
        h.commit(transaction).await;
    }
    assert_eq!(recall(&store, id).await, Notes::default());
    owner.end(Outcome::Done).await;
}

/// The job is done then, and its notes are gone.
pub async fn a_result_is_there_when_its_transaction_commits(h: &impl TransactionalHarness) {
    let store = h.store();
    let entry = job();
    let (_, batch) = leased(&store, entry.clone()).await;
    let id = entry.id;
    assert_eq!(batch.note(&step("charge", "1")).await, Noted::Kept);
    for commits in [false, true] {
        let mut transaction = h.begin().await;
        let joined = h.transactional_store();
        let settled = joined.complete_in(&mut *transaction, batch.lease, id);
        assert_eq!(ok(settled.await), Settled::Applied);
        let (value, ttl) = (value("the result"), HOUR);
        let kept = KeptResult { value, ttl };
        ok(joined.keep_in(&mut *transaction, id, &kept).await);
        assert_eq!(found(&h.second(), id).await, Found::Pending);
        end(h, transaction, commits).await;
    }
    let kept = Found::Result(value("the result"));
    assert_eq!(found(&h.second(), id).await, kept);
    add(&store, entry).await;
    assert_eq!(recall(&store, id).await, Notes::default());
    h.clock().advance(HOUR);
    assert_eq!(found(&store, id).await, Found::Pending);
}
