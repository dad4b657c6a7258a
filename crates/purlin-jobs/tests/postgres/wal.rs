//! What a job costs in the write-ahead log, which is what a replica and a backup have to carry.

use purlin_jobs::{JobStore as _, PostgresStore};
use purlin_testkit::PostgresServer;
use sqlx::PgPool;

use crate::harness::{claim, done, job, pool, worker};

const BATCH: u16 = 500;
const BATCHES: u16 = 20;

async fn position(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select (pg_current_wal_insert_lsn() - '0/0')::bigint")
        .fetch_one(pool)
        .await
        .unwrap()
}

/// In batches, with a payload of 30 bytes, apart from the pages that are copied after a checkpoint.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figure is what the test is for")]
async fn a_job_costs_no_more_than_600_bytes() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let pool = pool(&server.url(), 1).await;
    for sql in [
        "alter system set full_page_writes = off",
        "alter system set autovacuum = off",
        "select pg_reload_conf()",
    ] {
        sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    }
    // The settings hold once a new session has them.
    pool.close().await;
    let pool = crate::harness::pool(&server.url(), 1).await;
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.unwrap();
    let worker = worker(&store).await;

    let mut cost = [0; 3];
    for _ in 0..BATCHES {
        let jobs: Vec<_> = (0..BATCH).map(|_| job()).collect();
        assert_eq!(jobs[0].payload.len(), 30);
        let begin = position(&pool).await;
        store.enqueue(&jobs).await.unwrap();
        let enqueued = position(&pool).await;
        let (lease, claimed) = claim(&store, worker, BATCH).await;
        assert_eq!(claimed.len(), usize::from(BATCH));
        let leased = position(&pool).await;
        let ids = claimed.iter().map(|job| job.id);
        store.settle(lease, &done(ids)).await.unwrap();
        let settled = position(&pool).await;
        for (cost, (from, to)) in
            cost.iter_mut()
                .zip([(begin, enqueued), (enqueued, leased), (leased, settled)])
        {
            *cost += to - from;
        }
    }
    let cost = cost.map(|bytes| bytes / i64::from(BATCH * BATCHES));
    let all: i64 = cost.iter().sum();
    println!("bytes of the log per job: enqueue, claim, settle {cost:?}, in all {all}");
    assert!(all <= 600, "{cost:?}");
}
