//! Calls in a transaction of the caller's: what they did is there when it commits, and never if it does
//! not.

use std::time::Duration;

use super::TransactionalHarness;
use super::bench::{
    HOUR, Store, Worker, add, conflict, counts, enqueue, job, job_with, leased, lost, ok, rescue,
    settle, state, unique, view,
};
use super::flows::after;
use crate::store::{Enqueued, Entry, On, Outcome, Settled, State, Tally};
use crate::{JobId, LeaseId, TransactionalJobStore as _, Unique};

/// For others to do what they should not. Nothing depends on its length but what is found.
const A_WHILE: Duration = Duration::from_millis(300);

fn until_done() -> Entry {
    unique(Unique::until_done("key"))
}

async fn enqueue_in<H: TransactionalHarness>(
    h: &H,
    transaction: &mut H::Transaction,
    entry: &Entry,
) -> Enqueued {
    let entries = std::slice::from_ref(entry);
    let store = h.transactional_store();
    ok(store.enqueue_in(&mut *transaction, entries).await)[0]
}

async fn complete_in<H: TransactionalHarness>(
    h: &H,
    transaction: &mut H::Transaction,
    lease: LeaseId,
    job: JobId,
) -> Settled {
    let store = h.transactional_store();
    ok(store.complete_in(&mut *transaction, lease, job).await)
}

async fn end<H: TransactionalHarness>(h: &H, transaction: H::Transaction, commits: bool) {
    if commits {
        h.commit(transaction).await;
    } else {
        h.roll_back(transaction).await;
    }
}

/// And nobody sees it before. After a roll back it was never there, nor its key.
pub async fn an_enqueue_is_there_when_its_transaction_commits(h: &impl TransactionalHarness) {
    let store = h.store();
    for commits in [false, true] {
        let entries = [job(), job_with(|o| o.with_delay(HOUR)), until_done()];
        let mut transaction = h.begin().await;
        let added = h.transactional_store();
        let added = ok(added.enqueue_in(&mut *transaction, &entries).await);
        let expected = entries.each_ref().map(|entry| Enqueued::New(entry.id));
        assert_eq!(added, expected);
        assert_eq!(counts(&h.second()).await, [0; 5]);
        end(h, transaction, commits).await;
        for entry in &entries {
            assert_eq!(state(&store, entry.id).await.is_some(), commits);
        }
    }
    assert_eq!(counts(&store).await, [2, 1, 0, 0, 0]);
    assert_eq!(Worker::join(&store).await.claim(10).await.jobs.len(), 2);
}

/// Though nobody else does.
pub async fn a_transaction_sees_what_it_has_added(h: &impl TransactionalHarness) {
    let (store, first) = (h.store(), until_done());
    let mut transaction = h.begin().await;
    let added = enqueue_in(h, &mut transaction, &first).await;
    assert_eq!(added, Enqueued::New(first.id));
    for again in [&first, &until_done()] {
        let added = enqueue_in(h, &mut transaction, again).await;
        assert_eq!(added, Enqueued::Existing(first.id));
    }
    let second = unique(Unique::until_done("key").or_replace());
    let (new, old) = (second.id, first.id);
    let added = enqueue_in(h, &mut transaction, &second).await;
    assert_eq!(added, Enqueued::Replaced { new, old });
    h.commit(transaction).await;
    assert_eq!(state(&store, old).await, None);
    assert_eq!(state(&store, new).await, Some(State::Ready));
    assert_eq!(counts(&store).await, [1, 0, 0, 0, 0]);
}

/// With its key, as it was.
pub async fn a_replaced_job_is_back_after_a_roll_back(h: &impl TransactionalHarness) {
    let store = h.store();
    let old = add(&store, until_done()).await;
    let before = view(&store, old).await;
    let second = unique(Unique::until_done("key").or_replace());
    let mut transaction = h.begin().await;
    let new = second.id;
    let added = enqueue_in(h, &mut transaction, &second).await;
    assert_eq!(added, Enqueued::Replaced { new, old });
    assert_eq!(view(&h.second(), old).await, before);
    h.roll_back(transaction).await;
    assert_eq!(view(&store, old).await, before);
    assert_eq!(
        enqueue(&store, &until_done()).await,
        Enqueued::Existing(old)
    );
    assert_eq!(Worker::join(&store).await.claim(10).await.ids(), [old]);
}

/// It waits, and finds the job there if that was committed.
pub async fn a_key_that_is_being_taken_is_waited_for(h: &impl TransactionalHarness) {
    for commits in [true, false] {
        let key = Unique::until_done([u8::from(commits)]);
        let (first, second) = (unique(key), unique(key));
        let mut transaction = h.begin().await;
        let added = enqueue_in(h, &mut transaction, &first).await;
        assert_eq!(added, Enqueued::New(first.id));
        let (store, entry) = (h.second(), second.clone());
        let mut other = tokio::spawn(async move { enqueue(&store, &entry).await });
        let early = tokio::time::timeout(A_WHILE, &mut other).await;
        assert!(early.is_err(), "nobody knows yet, but it said {early:?}");
        end(h, transaction, commits).await;
        let expected = if commits {
            Enqueued::Existing(first.id)
        } else {
            Enqueued::New(second.id)
        };
        assert_eq!(other.await.expect("it does not panic"), expected);
    }
    assert_eq!(counts(&h.store()).await, [2, 0, 0, 0, 0]);
}

/// And its key is free then. Until then it is leased.
pub async fn a_job_is_done_when_its_transaction_commits(h: &impl TransactionalHarness) {
    let store = h.store();
    let (_, batch) = leased(&store, until_done()).await;
    let id = batch.job().id;
    for commits in [false, true] {
        let mut transaction = h.begin().await;
        let settled = complete_in(h, &mut transaction, batch.lease, id).await;
        assert_eq!(settled, Settled::Applied);
        assert_eq!(state(&h.second(), id).await, Some(State::Leased));
        end(h, transaction, commits).await;
        if !commits {
            let enqueued = enqueue(&store, &until_done()).await;
            assert_eq!(enqueued, Enqueued::Existing(id));
        }
    }
    assert_eq!(state(&store, id).await, None);
    let settled = settle(&store, batch.lease, id, Outcome::Release).await;
    assert_eq!(settled, Settled::Stale);
    add(&store, until_done()).await;
    assert_eq!(counts(&store).await, [1, 0, 0, 0, 0]);
}

/// It is the worker's, as before.
pub async fn a_job_whose_completion_was_rolled_back_is_settled(h: &impl TransactionalHarness) {
    let store = h.store();
    let (worker, batch) = leased(&store, job()).await;
    let id = batch.job().id;
    let mut transaction = h.begin().await;
    let settled = complete_in(h, &mut transaction, batch.lease, id).await;
    assert_eq!(settled, Settled::Applied);
    h.roll_back(transaction).await;
    batch.end(Outcome::Release).await;
    assert_eq!(worker.claim(1).await.ids(), [id]);
}

/// Each job of a lease on its own, and one that is settled already is not completed.
pub async fn jobs_of_one_lease_are_completed_one_by_one(h: &impl TransactionalHarness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    ok(store.enqueue(&[job(), job(), job()]).await);
    let batch = worker.claim(3).await;
    let ids = batch.ids();
    let mut transaction = h.begin().await;
    let lease = batch.lease;
    for expected in [Settled::Applied, Settled::Stale] {
        let settled = complete_in(h, &mut transaction, lease, ids[0]).await;
        assert_eq!(settled, expected);
    }
    h.commit(transaction).await;
    assert_eq!(counts(&store).await, [0, 0, 2, 0, 0]);
    assert_eq!(
        batch.settle(ids[1], Outcome::Release).await,
        Settled::Applied
    );
    let mut transaction = h.begin().await;
    let stale = complete_in(h, &mut transaction, lease, ids[1]).await;
    assert_eq!(stale, Settled::Stale);
    let applied = complete_in(h, &mut transaction, lease, ids[2]).await;
    assert_eq!(applied, Settled::Applied);
    h.commit(transaction).await;
    assert_eq!(counts(&store).await, [1, 0, 0, 0, 0]);
}

/// Nothing is changed, even if it is committed.
pub async fn a_completion_without_the_lease_is_stale(h: &impl TransactionalHarness) {
    let store = h.store();
    let zombie = lost(h, until_done()).await;
    let id = zombie.job().id;
    let (_, other) = (add(&store, job()).await, Worker::join(&store).await);
    let owner = other.claim(1).await;
    assert_eq!(owner.job().id, id);
    let others = other.claim(1).await;
    let before = view(&store, id).await;
    for lease in [zombie.lease, others.lease, LeaseId::new()] {
        let mut transaction = h.begin().await;
        let settled = complete_in(h, &mut transaction, lease, id).await;
        assert_eq!(settled, Settled::Stale);
        h.commit(transaction).await;
        assert_eq!(view(&store, id).await, before);
        let enqueued = enqueue(&store, &until_done()).await;
        assert_eq!(enqueued, Enqueued::Existing(id));
    }
    owner.end(Outcome::Done).await;
    others.end(Outcome::Done).await;
}

/// Both or neither.
pub async fn a_job_ends_and_another_begins_in_one_transaction(h: &impl TransactionalHarness) {
    let store = h.store();
    let (_, batch) = leased(&store, job()).await;
    let (id, next) = (batch.job().id, job());
    for commits in [false, true] {
        let mut transaction = h.begin().await;
        let settled = complete_in(h, &mut transaction, batch.lease, id).await;
        assert_eq!(settled, Settled::Applied);
        let added = enqueue_in(h, &mut transaction, &next).await;
        assert_eq!(added, Enqueued::New(next.id));
        end(h, transaction, commits).await;
        let (ended, begun) = (state(&store, id).await, state(&store, next.id).await);
        let before = (Some(State::Leased), None);
        let after = (None, Some(State::Ready));
        assert_eq!((ended, begun), if commits { after } else { before });
    }
}

/// As it is settled, but its children go on when the transaction commits, and wait if it does not.
pub async fn who_waits_for_a_completed_job_goes_on_with_the_commit(h: &impl TransactionalHarness) {
    let store = h.store();
    let parents = [job(), job()];
    let on_done = after(&[&parents[0]], On::Done);
    let on_ended = after(&parents.each_ref(), On::Ended);
    let [one, other] = parents;
    ok(store
        .enqueue(&[one, other, on_done.clone(), on_ended.clone()])
        .await);
    let batch = Worker::join(&store).await.claim(2).await;
    let (id, last) = (on_done.parents[0].id, on_ended.parents[1].id);
    for commits in [false, true] {
        let mut transaction = h.begin().await;
        let settled = complete_in(h, &mut transaction, batch.lease, id).await;
        assert_eq!(settled, Settled::Applied);
        assert_eq!(state(&h.second(), on_done.id).await, Some(State::Blocked));
        end(h, transaction, commits).await;
        let expected = if commits {
            State::Ready
        } else {
            State::Blocked
        };
        assert_eq!(state(&store, on_done.id).await, Some(expected));
        let left = view(&store, on_ended.id).await.waits_for;
        assert_eq!(left, if commits { 1 } else { 2 });
    }
    let mut transaction = h.begin().await;
    let again = complete_in(h, &mut transaction, batch.lease, id).await;
    assert_eq!(again, Settled::Stale);
    end(h, transaction, true).await;
    assert_eq!(view(&store, on_ended.id).await.waits_for, 1);
    assert_eq!(batch.settle(last, Outcome::Done).await, Settled::Applied);
    let told = view(&store, on_ended.id).await;
    assert_eq!(
        (told.state, told.parents),
        (State::Ready, Tally::new(2, 0, 0))
    );
}

/// All of it, or nothing.
pub async fn a_flow_is_there_when_its_transaction_commits(h: &impl TransactionalHarness) {
    let store = h.store();
    for commits in [false, true] {
        let parent = until_done();
        let child = after(&[&parent], On::Done);
        let mut transaction = h.begin().await;
        let flow = [parent.clone(), child.clone()];
        let added = h.transactional_store();
        let added = ok(added.enqueue_in(&mut *transaction, &flow).await);
        assert_eq!(added, [Enqueued::New(parent.id), Enqueued::New(child.id)]);
        end(h, transaction, commits).await;
        let blocked = ok(store.counts(None).await).blocked;
        assert_eq!(blocked, u64::from(commits));
    }
    let worker = Worker::join(&store).await;
    worker.claim(10).await.end(Outcome::Done).await;
    worker.claim(10).await.end(Outcome::Done).await;
    let taken = leased(&store, until_done()).await.1.job().id;
    let parent = until_done();
    let child = after(&[&parent], On::Done);
    let mut transaction = h.begin().await;
    let refused = h.transactional_store();
    let refused = refused
        .enqueue_in(&mut *transaction, &[parent, child])
        .await;
    conflict(refused);
    end(h, transaction, false).await;
    assert_eq!(counts(&store).await, [0, 0, 1, 0, 0]);
    assert_eq!(state(&store, taken).await, Some(State::Leased));
}

async fn what_others_get(store: Store) -> Vec<JobId> {
    rescue(&store, 9).await;
    Worker::join(&store).await.claim(10).await.ids()
}

/// Though its worker is dead, and others look for work: not before the transaction ends, and then only
/// if it was rolled back.
pub async fn a_job_that_is_being_completed_is_nobody_elses(h: &impl TransactionalHarness) {
    for commits in [true, false] {
        let (_, batch) = leased(&h.store(), job()).await;
        let id = batch.job().id;
        let mut transaction = h.begin().await;
        let settled = complete_in(h, &mut transaction, batch.lease, id).await;
        assert_eq!(settled, Settled::Applied);
        h.clock().advance(HOUR);
        let mut others = tokio::spawn(what_others_get(h.second()));
        let early = tokio::time::timeout(A_WHILE, &mut others).await;
        if let Ok(early) = &early {
            assert_eq!(*early.as_ref().expect("it does not panic"), []);
        }
        end(h, transaction, commits).await;
        let claimed = match early {
            Ok(early) => early,
            Err(_) => others.await,
        };
        let claimed = claimed.expect("it does not panic");
        if commits {
            assert_eq!(claimed, []);
            assert_eq!(what_others_get(h.second()).await, []);
            assert_eq!(state(&h.store(), id).await, None);
        } else if claimed.is_empty() {
            assert_eq!(what_others_get(h.second()).await, [id]);
        } else {
            assert_eq!(claimed, [id]);
        }
    }
}
