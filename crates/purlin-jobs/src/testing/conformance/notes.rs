//! What a job remembers and leaves behind, of stores that [keep notes](crate::JobStore::notes).

use std::time::Duration;

use bytes::Bytes;

use super::bench::{
    Batch, DAY, HOUR, MICRO, MINUTE, Store, Worker, add, discard, enqueue, job, leased, lost, ok,
    rescue, retry, settle, state, unique,
};
use super::{Harness, TransactionalHarness};
use crate::store::{
    Enqueued, Found, KeptResult, Note, NoteKind, NoteStore, Noted, Notes, Outcome, Settled,
};
use crate::{JobId, LeaseId, TransactionalJobStore as _, Unique};

pub(super) fn power(store: &Store) -> &dyn NoteStore {
    store.notes().expect("the store keeps notes")
}

pub(super) fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(super) fn step(name: &str, text: &'static str) -> Note {
    Note {
        kind: NoteKind::Step,
        name: name.to_owned(),
        value: Some(value(text)),
        due_in: None,
    }
}

pub(super) fn of(kind: NoteKind, name: &str, due_in: Duration) -> Note {
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

pub(super) fn until_signalled(up_to: Duration, signals: u32) -> Outcome {
    Outcome::Await { up_to, signals }
}

pub(super) async fn recall(store: &Store, id: JobId) -> Notes {
    ok(power(store).recall(id).await).expect("the job is there")
}

async fn found(store: &Store, id: JobId) -> Found {
    ok(power(store).result(id).await)
}

impl Batch {
    /// Of the only one.
    pub(super) async fn note(&self, note: &Note) -> Noted {
        ok(power(&self.store)
            .note(self.lease, self.job().id, note)
            .await)
    }
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
        assert_eq!(recall(&store, id).await.notes, std::slice::from_ref(&kept));
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
