//! Jobs that are enqueued and done in a transaction of the caller.

use purlin_jobs::store::{Enqueued, Outcome, Settled};
use purlin_jobs::{JobAdmin as _, JobStore as _, TransactionalJobStore as _};
use purlin_store::StoreErrorKind;
use purlin_store::sqlite::begin_immediate;

use crate::harness::{
    HOUR, add, claim, claim_of, counts, id, job, lease, place, second, settle, worker,
};

#[tokio::test]
async fn jobs_are_enqueued_if_the_transaction_commits() {
    let place = place().await;
    for (n, commits) in [(1, true), (2, false)] {
        let mut work = begin_immediate(&place.pool).await.unwrap();
        let enqueued = place.store.enqueue_in(&mut work, &[job(n)]).await.unwrap();
        assert_eq!(enqueued, [Enqueued::New(id(n))]);
        if commits {
            work.commit().await.unwrap();
        } else {
            work.rollback().await.unwrap();
        }
        let found = place.store.get(id(n)).await.unwrap();
        assert_eq!(found.is_some(), commits);
    }
}

#[tokio::test]
async fn a_job_is_done_if_the_transaction_commits() {
    let place = place().await;
    let store = &place.store;
    for (n, commits) in [(1, true), (2, false)] {
        add(store, job(n)).await;
        claim(store, n, 1).await;
        let mut work = begin_immediate(&place.pool).await.unwrap();
        let settled = store.complete_in(&mut work, lease(n), id(n)).await.unwrap();
        assert_eq!(settled, Settled::Applied);
        if commits {
            work.commit().await.unwrap();
            assert_eq!(counts(store).await, [0; 5]);
        } else {
            work.rollback().await.unwrap();
            // Still leased, and by this lease.
            let settled = settle(store, n, n, Outcome::Release).await;
            assert_eq!(settled, Settled::Applied);
        }
    }
}

#[tokio::test]
async fn a_lost_lease_completes_nothing() {
    let place = place().await;
    let store = &place.store;
    add(store, job(1)).await;
    claim(store, 1, 1).await;
    store.leave(worker(1)).await.unwrap();
    let mut work = begin_immediate(&place.pool).await.unwrap();
    let settled = store.complete_in(&mut work, lease(1), id(1)).await.unwrap();
    assert_eq!(settled, Settled::Stale);
    work.commit().await.unwrap();
    assert_eq!(counts(store).await, [1, 0, 0, 0, 0]);
}

/// Whoever wants the lock meanwhile waits as long as he may, and is told.
#[tokio::test]
async fn a_callers_transaction_keeps_others_out() {
    let place = place().await;
    add(&place.store, job(1)).await;
    place.store.join(worker(1), HOUR).await.unwrap();
    let impatient = second(&place, std::time::Duration::from_millis(20)).await;
    let mut work = begin_immediate(&place.pool).await.unwrap();
    place.store.enqueue_in(&mut work, &[job(2)]).await.unwrap();
    let error = impatient.claim(&claim_of(1, 10)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error:?}");
    assert_eq!(
        (error.store(), error.operation()),
        ("sqlite", Some("begin"))
    );
    // Readers do not wait, and see what was committed.
    assert_eq!(counts(&impatient).await, [1, 0, 0, 0, 0]);
    work.commit().await.unwrap();
    assert_eq!(impatient.claim(&claim_of(1, 10)).await.unwrap().len(), 2);
}

/// Its snapshot is from before another writer, and SQLite does not wait then.
#[tokio::test]
async fn a_transaction_that_has_only_read_conflicts() {
    let place = place().await;
    let mut reader = place.pool.begin().await.unwrap();
    sqlx::query("select count(*) from purlin_jobs")
        .execute(&mut *reader)
        .await
        .unwrap();
    add(&place.store, job(1)).await;
    let enqueued = place.store.enqueue_in(&mut reader, &[job(2)]).await;
    assert_eq!(enqueued.unwrap_err().kind(), StoreErrorKind::Conflict);
}
