//! A settlement without a lease on the job changes nothing: no state, no count, no unique key.

use super::Harness;
use super::bench::{
    Batch, HOUR, MINUTE, Worker, add, counts, enqueue, job, leased, lost, ok, outcomes, rescue,
    rescued, retry, settle, state, unique, view,
};
use crate::store::{Enqueued, Outcome, Settled, State};
use crate::{JobId, LeaseId, Unique};

/// Tries all that a zombie can say of a job, through each handle.
async fn changes_nothing(h: &impl Harness, lease: LeaseId, id: JobId) {
    let before = (ok(h.store().get(id).await), counts(&h.store()).await);
    for outcome in outcomes() {
        for store in [h.store(), h.second()] {
            let settled = settle(&store, lease, id, outcome.clone()).await;
            assert_eq!(settled, Settled::Stale, "{outcome:?}");
            let after = (ok(store.get(id).await), counts(&store).await);
            assert_eq!(after, before, "{outcome:?}");
        }
    }
}

/// Wherever the job is by now.
pub async fn a_lost_lease_settles_nothing(h: &impl Harness) {
    let store = h.store();
    let zombie = lost(h, job()).await;
    let id = zombie.job().id;
    changes_nothing(h, zombie.lease, id).await;

    let worker = Worker::join(&store).await;
    let batch = worker.claim(1).await;
    changes_nothing(h, zombie.lease, id).await;
    batch.end(retry(MINUTE)).await;
    changes_nothing(h, zombie.lease, id).await;
    assert!(ok(store.replay(id).await));
    worker
        .claim(1)
        .await
        .end(Outcome::Discard {
            error: "no".to_owned(),
        })
        .await;
    changes_nothing(h, zombie.lease, id).await;
    assert!(ok(store.replay(id).await));
    worker.claim(1).await.end(Outcome::Cancelled).await;
    changes_nothing(h, zombie.lease, id).await;
}

/// Nor of one that is gone.
pub async fn a_lost_lease_settles_nothing_that_is_done(h: &impl Harness) {
    let zombie = lost(h, job()).await;
    let worker = Worker::join(&h.store()).await;
    worker.claim(1).await.end(Outcome::Done).await;
    changes_nothing(h, zombie.lease, zombie.job().id).await;
    assert_eq!(state(&h.store(), zombie.job().id).await, None);
}

/// Of the same worker, of another, or of nobody.
pub async fn another_lease_settles_nothing(h: &impl Harness) {
    let store = h.store();
    let (worker, batch) = leased(&store, job()).await;
    add(&store, job()).await;
    let same_worker = worker.claim(1).await;
    let (_, other_worker) = leased(&store, job()).await;
    let id = batch.job().id;
    for lease in [same_worker.lease, other_worker.lease, LeaseId::new()] {
        changes_nothing(h, lease, id).await;
    }
    let ready = add(&store, job()).await;
    for id in [ready, JobId::new()] {
        changes_nothing(h, batch.lease, id).await;
    }
    for batch in [batch, same_worker, other_worker] {
        batch.end(Outcome::Done).await;
    }
}

/// However it was settled; the other jobs of the lease are not concerned.
pub async fn what_is_settled_is_not_settled_again(h: &impl Harness) {
    let store = h.store();
    for first in outcomes() {
        let worker = Worker::join(&store).await;
        let entries = [job(), job()];
        ok(store.enqueue(&entries).await);
        let batch = worker.claim(2).await;
        let [id, other] = batch.ids()[..] else {
            panic!("{batch:?}");
        };
        assert_eq!(batch.settle(id, first).await, Settled::Applied);
        changes_nothing(h, batch.lease, id).await;
        // The worker gets it again, under another lease.
        let again = ok(store.replay(id).await) || state(&store, id).await == Some(State::Ready);
        if again {
            let next = worker.claim(1).await;
            assert_eq!(next.job().id, id);
            changes_nothing(h, batch.lease, id).await;
            next.end(Outcome::Done).await;
        }
        assert_eq!(batch.settle(other, Outcome::Done).await, Settled::Applied);
    }
}

/// It is the other job's, or still the same one's.
pub async fn a_lost_lease_frees_no_key(h: &impl Harness) {
    let store = h.store();
    let key = || unique(Unique::until_done("key"));
    let zombie = lost(h, key()).await;
    let id = zombie.job().id;
    changes_nothing(h, zombie.lease, id).await;
    assert_eq!(enqueue(&store, &key()).await, Enqueued::Existing(id));

    let worker = Worker::join(&store).await;
    worker
        .claim(1)
        .await
        .end(Outcome::Discard {
            error: "no".to_owned(),
        })
        .await;
    let holder = add(&store, key()).await;
    changes_nothing(h, zombie.lease, id).await;
    assert_eq!(enqueue(&store, &key()).await, Enqueued::Existing(holder));
}

/// A worker that left has no lease, though nobody has the job.
pub async fn a_lease_that_was_given_back_settles_nothing(h: &impl Harness) {
    let store = h.store();
    let (worker, batch) = leased(&store, job()).await;
    ok(store.leave(worker.id).await);
    changes_nothing(h, batch.lease, batch.job().id).await;
}

/// It is late, but nobody else has begun: what it did is not done again.
pub async fn a_late_worker_settles_until_it_is_rescued(h: &impl Harness) {
    let store = h.store();
    let (_, batch): (_, Batch) = leased(&store, job()).await;
    h.clock().advance(2 * HOUR);
    batch.end(retry(MINUTE)).await;
    let id = batch.job().id;
    assert_eq!(rescue(&store, 1).await, rescued(1, 0, 0));
    let retried = view(&store, id).await;
    assert_eq!((retried.state, retried.failures), (State::Scheduled, 1));
    assert_eq!(retried.crashes, 0);
    changes_nothing(h, batch.lease, id).await;
}
