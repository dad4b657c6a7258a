//! What joins a transaction of the caller's, and who waits for it.

use std::time::Duration;

use purlin_jobs::store::{JobAdmin as _, Rescue, Rescued, Settled, State};
use purlin_jobs::{JobStore as _, TransactionalJobStore as _, Unique};
use sqlx::PgPool;

use crate::harness::{
    Db, HOUR, MINUTE, claim, done, job, job_with, leased, retry, settlement, worker,
};

const RESCUE: Rescue = Rescue {
    limit: 10,
    max_crashes: 3,
};

async fn leases(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from purlin_jobs_leases")
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Returns when so many sessions wait for a lock.
async fn until_waiting(pool: &PgPool, sessions: i64) {
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if waiting == sessions {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_job_is_there_when_the_transaction_commits_and_not_before() {
    let Some(db) = Db::create().await else {
        return;
    };
    let unique = || job_with(|options| options.with_unique(Unique::until_done("key")));
    for (commit, jobs) in [(false, 0), (true, 2)] {
        let mut transaction = db.pool.begin().await.unwrap();
        let entries = [job(), unique()];
        let enqueued = db.store.enqueue_in(&mut transaction, &entries).await;
        assert_eq!(enqueued.unwrap().len(), 2);
        let (_, claimed) = claim(&db.store, worker(&db.store).await, 10).await;
        assert_eq!(claimed, []);
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        let (_, claimed) = claim(&db.store, worker(&db.store).await, 10).await;
        assert_eq!(claimed.len(), jobs);
    }
}

#[tokio::test]
async fn a_job_is_done_with_the_transaction_of_its_effect() {
    let Some(db) = Db::create().await else {
        return;
    };
    for (commit, state) in [(false, Some(State::Leased)), (true, None)] {
        let key = Unique::until_done([u8::from(commit)]);
        let entry = job_with(|options| options.with_unique(key));
        let (lease, id) = leased(&db.store, entry.clone()).await;
        let mut transaction = db.pool.begin().await.unwrap();
        let said = db.store.complete_in(&mut transaction, lease, id).await;
        assert_eq!(said.unwrap(), Settled::Applied);
        let again = db.store.complete_in(&mut transaction, lease, id).await;
        assert_eq!(again.unwrap(), Settled::Stale);
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        let view = db.store.get(id).await.unwrap();
        assert_eq!(view.map(|view| view.state), state);
        // Its key goes with it.
        let next = job_with(|options| options.with_unique(key));
        let enqueued = db.store.enqueue(std::slice::from_ref(&next)).await.unwrap();
        assert_eq!(enqueued[0].id() == next.id, commit);
    }
}

/// The last job of a lease may be done by a transaction, which leaves the lease.
#[tokio::test]
async fn a_lease_without_jobs_goes_with_the_next_heartbeat() {
    let Some(db) = Db::create().await else {
        return;
    };
    let own = worker(&db.store).await;
    db.store.enqueue(&[job(), job()]).await.unwrap();
    let (lease, claimed) = claim(&db.store, own, 1).await;
    claim(&db.store, own, 1).await;
    let mut transaction = db.pool.begin().await.unwrap();
    let id = claimed[0].id;
    let said = db.store.complete_in(&mut transaction, lease, id).await;
    assert_eq!(said.unwrap(), Settled::Applied);
    db.store.heartbeat(own, HOUR).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(leases(&db.pool).await, 2);
    db.store.heartbeat(own, HOUR).await.unwrap();
    assert_eq!(leases(&db.pool).await, 1);
}

#[tokio::test]
async fn nobody_waits_for_it_who_settles_or_rescues_other_jobs() {
    let Some(db) = Db::create().await else {
        return;
    };
    let store = db.store.clone().with_timeout(Duration::from_secs(20));
    for commit in [false, true] {
        let own = worker(&store).await;
        let entries: Vec<_> = (0..4).map(|_| job()).collect();
        store.enqueue(&entries).await.unwrap();
        let (lease, claimed) = claim(&store, own, 4).await;
        let ids: Vec<_> = claimed.iter().map(|job| job.id).collect();
        let mut transaction = db.pool.begin().await.unwrap();
        let said = store.complete_in(&mut transaction, lease, ids[0]).await;
        assert_eq!(said.unwrap(), Settled::Applied);

        let settled = store.settle(lease, &done([ids[1]])).await.unwrap();
        assert_eq!(settled, [Settled::Applied]);
        let again = settlement(ids[2], retry(MINUTE));
        let settled = store.settle(lease, &again).await.unwrap();
        assert_eq!(settled, [Settled::Applied]);
        db.clock.advance(HOUR);
        let rescued = |workers, ready| Rescued {
            workers,
            ready,
            dead: 0,
        };
        assert_eq!(store.rescue(&RESCUE).await.unwrap(), rescued(0, 1));

        if commit {
            transaction.commit().await.unwrap();
            assert_eq!(store.rescue(&RESCUE).await.unwrap(), rescued(1, 0));
            assert_eq!(store.get(ids[0]).await.unwrap(), None);
        } else {
            transaction.rollback().await.unwrap();
            assert_eq!(store.rescue(&RESCUE).await.unwrap(), rescued(1, 1));
            let view = store.get(ids[0]).await.unwrap().unwrap();
            assert_eq!((view.state, view.crashes), (State::Ready, 1));
        }
        assert_eq!(leases(&db.pool).await, 0);
        let own = worker(&store).await;
        let (lease, claimed) = claim(&store, own, 10).await;
        let ids = claimed.iter().map(|job| job.id);
        store.settle(lease, &done(ids)).await.unwrap();
        store.leave(own).await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_lease_completes_nothing() {
    let Some(db) = Db::create().await else {
        return;
    };
    let (lease, id) = leased(&db.store, job()).await;
    db.clock.advance(HOUR);
    assert_eq!(db.store.rescue(&RESCUE).await.unwrap().ready, 1);
    let mut transaction = db.pool.begin().await.unwrap();
    let said = db.store.complete_in(&mut transaction, lease, id).await;
    assert_eq!(said.unwrap(), Settled::Stale);
    transaction.commit().await.unwrap();
    let view = db.store.get(id).await.unwrap().unwrap();
    assert_eq!(view.state, State::Ready);
}

/// The handler commits while its runtime has given it up: of both, the second is told that it is late.
#[tokio::test]
async fn a_settlement_that_came_first_counts() {
    let Some(db) = Db::create().await else {
        return;
    };
    let (lease, id) = leased(&db.store, job()).await;
    let mut block = db.pool.begin().await.unwrap();
    sqlx::query("select from purlin_jobs_jobs where id = $1 for update")
        .bind(id.as_uuid())
        .execute(&mut *block)
        .await
        .unwrap();
    let store = db.store.clone();
    let settle = tokio::spawn(async move {
        let outcome = settlement(id, retry(MINUTE));
        store.settle(lease, &outcome).await.unwrap()
    });
    until_waiting(&db.pool, 1).await;
    let (store, pool) = (db.store.clone(), db.pool.clone());
    let complete = tokio::spawn(async move {
        let mut transaction = pool.begin().await.unwrap();
        let said = store.complete_in(&mut transaction, lease, id).await;
        transaction.commit().await.unwrap();
        said.unwrap()
    });
    until_waiting(&db.pool, 2).await;
    block.rollback().await.unwrap();
    assert_eq!(settle.await.unwrap(), [Settled::Applied]);
    assert_eq!(complete.await.unwrap(), Settled::Stale);
    let view = db.store.get(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.failures), (State::Scheduled, 1));
}
