//! Futures that are dropped at every await, as those of a client that hangs up.

use std::time::Duration;

use purlin_jobs::store::{Outcome, Rescue, Settled, Settlement};
use purlin_jobs::{
    JobAdmin as _, JobStore as _, QueueName, SqliteStore, TransactionalJobStore as _, Unique,
};
use purlin_store::sqlite::begin_immediate;
use purlin_store::testing::{Dropped, drop_at_every_await};
use purlin_testkit::TestFile;
use sqlx::SqlitePool;

use crate::harness::{
    HOUR, MINUTE, Place, claim_of, config, discard, id, job, job_with, lease, prepare, retry,
    worker,
};

/// A worker thread that answers at once leaves no place to be dropped at, so that one run may meet
/// few of them.
const PLACES: usize = 10;
const RUNS: usize = 100;

/// With one connection, which comes back to the pool when what was dropped on it has ended.
async fn place() -> Place {
    let file = TestFile::new();
    let pool = config(file.path()).with_max_connections(1).connect().await;
    prepare(file, pool.unwrap()).await
}

/// All tables, but for what no call here changes.
async fn everything(pool: &SqlitePool) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', 'job', hex(id), failures, crashes, cancel_requested, run_at, finished_as)
             from purlin_jobs
         union all select concat_ws(' ', 'ready', hex(id), rank) from purlin_jobs_ready
         union all select concat_ws(' ', 'scheduled', hex(id), run_at) from purlin_jobs_scheduled
         union all select concat_ws(' ', 'worker', hex(id), expires_at) from purlin_jobs_workers
         union all select concat_ws(' ', 'lease', hex(id)) from purlin_jobs_leases
         union all select concat_ws(' ', 'leased', hex(lease), hex(job)) from purlin_jobs_leased
         union all select concat_ws(' ', 'key', hex(key), hex(job)) from purlin_jobs_unique
         order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// One job ready, one scheduled for now, one dead, five leased by worker 1, and worker 2 dead.
async fn set_up(place: &Place) {
    let clear = "delete from purlin_jobs; delete from purlin_jobs_ready; delete from purlin_jobs_scheduled;
        delete from purlin_jobs_workers; delete from purlin_jobs_leases; delete from purlin_jobs_leased;
        delete from purlin_jobs_unique;";
    sqlx::raw_sql(clear).execute(&place.pool).await.unwrap();
    let store = &place.store;
    for n in [1, 2] {
        store.join(worker(n), HOUR).await.unwrap();
    }
    let unique = |n| job_with(n, |o| o.with_unique(Unique::until_done(format!("{n}"))));
    let jobs: Vec<_> = (1..=8).map(unique).collect();
    store.enqueue(&jobs).await.unwrap();
    store.claim(&claim_of(1, 5)).await.unwrap();
    let mut other = claim_of(2, 1);
    other.worker = worker(2);
    store.claim(&other).await.unwrap();
    store.claim(&claim_of(3, 1)).await.unwrap();
    let end = Settlement {
        id: id(7),
        outcome: discard(),
    };
    store.settle(lease(3), &[end]).await.unwrap();
    store
        .enqueue(&[job_with(9, |o| o.with_delay(MINUTE))])
        .await
        .unwrap();
    let now = "update purlin_jobs_scheduled set run_at = 0; update purlin_jobs set run_at = 0 where hex(id) like '%9';
        update purlin_jobs_workers set expires_at = 0 where hex(id) like '%2';";
    sqlx::raw_sql(now).execute(&place.pool).await.unwrap();
}

/// Drops `call` everywhere. What is there afterwards is what was there before, or what is there after
/// a call that runs to its end.
async fn all_or_nothing<T>(place: &Place, call: impl AsyncFn(SqliteStore) -> T) {
    set_up(place).await;
    let before = everything(&place.pool).await;
    call(place.store.clone()).await;
    let after = everything(&place.pool).await;
    assert_ne!(before, after, "the call does nothing");
    set_up(place).await;
    let (mut dropped, mut runs) = (0, 0);
    while dropped < PLACES {
        assert!(runs < RUNS, "only {dropped} places in {runs} runs");
        runs += 1;
        dropped += drop_at_every_await(
            || call(place.store.clone()),
            async |at| {
                let found = everything(&place.pool).await;
                match at {
                    Dropped::Completed => assert_eq!(found, after),
                    _ => assert!(found == before || found == after, "{found:#?}"),
                }
                set_up(place).await;
            },
        )
        .await;
    }
}

#[tokio::test]
async fn every_call_is_all_or_nothing() {
    let place = place().await;
    all_or_nothing(&place, async |store| {
        store
            .enqueue(&[job(11), job_with(12, |o| o.with_delay(HOUR))])
            .await
            .unwrap()
    })
    .await;
    all_or_nothing(&place, async |store| {
        let replaces = Unique::until_done("8").or_replace();
        store
            .enqueue(&[job_with(11, |o| o.with_unique(replaces))])
            .await
            .unwrap()
    })
    .await;
    all_or_nothing(&place, async |store| {
        store.join(worker(3), HOUR).await.unwrap();
    })
    .await;
    all_or_nothing(&place, async |store| {
        store.claim(&claim_of(4, 10)).await.unwrap()
    })
    .await;
    all_or_nothing(&place, async |store| {
        let ends = [
            Outcome::Done,
            retry(),
            discard(),
            Outcome::Cancelled,
            Outcome::Release,
        ];
        let ends = (1..)
            .zip(ends)
            .map(|(n, outcome)| Settlement { id: id(n), outcome });
        let ends: Vec<_> = ends.collect();
        store.settle(lease(1), &ends).await.unwrap()
    })
    .await;
    all_or_nothing(&place, async |store| {
        store.heartbeat(worker(1), 2 * HOUR).await.unwrap()
    })
    .await;
    all_or_nothing(&place, async |store| store.leave(worker(1)).await.unwrap()).await;
    all_or_nothing(&place, async |store| {
        let rescue = Rescue {
            limit: 10,
            max_crashes: 1,
        };
        store.rescue(&rescue).await.unwrap()
    })
    .await;
    all_or_nothing(&place, async |store| store.promote(10).await.unwrap()).await;
    all_or_nothing(&place, async |store| store.cancel(id(8)).await.unwrap()).await;
    all_or_nothing(&place, async |store| store.replay(id(7)).await.unwrap()).await;
    all_or_nothing(&place, async |store| {
        store.purge_finished(Duration::ZERO, 10).await.unwrap()
    })
    .await;
    // Nothing is left in the way of anybody.
    place.store.pause(&QueueName::DEFAULT).await.unwrap();
}

/// An effect that is committed with the end of a job and with the job that comes after it.
#[tokio::test]
async fn joined_work_is_all_or_nothing() {
    let place = place().await;
    all_or_nothing(&place, async |store| {
        let mut work = begin_immediate(&place.pool).await.unwrap();
        store.enqueue_in(&mut work, &[job(11)]).await.unwrap();
        let settled = store.complete_in(&mut work, lease(1), id(1)).await.unwrap();
        assert_eq!(settled, Settled::Applied);
        work.commit().await.unwrap();
    })
    .await;
}
