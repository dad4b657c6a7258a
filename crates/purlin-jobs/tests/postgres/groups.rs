//! Groups when there are many.

use purlin_jobs::{Group, JobStore as _};
use sqlx::PgPool;

use crate::harness::{Db, claim, done, job_with, worker};

/// A million jobs that are held in ten thousand groups, of which one has a hundred thousand.
const ROWS: &str = "
    alter table purlin_jobs_jobs set unlogged;
    alter table purlin_jobs_held set unlogged;
    insert into purlin_jobs_jobs
        (id, enqueued_at, version, priority, max_attempts, queue, kind, payload, group_name)
    select lpad(n::text, 32, '0')::uuid, timestamptz 'epoch' + n * interval '1 second', 1, 4, 20,
        'default', 'send_receipt', '',
        case when n % 10 = 0 then 'large' else 'group ' || n % 10000 end
    from generate_series(1, 1000000) n;
    insert into purlin_jobs_held (group_name, rank, id)
    select group_name, enqueued_at + interval '40 minutes', id from purlin_jobs_jobs;
    insert into purlin_jobs_groups (name) select distinct group_name from purlin_jobs_held;
    insert into purlin_jobs_slots (id, rank, is_reserved, group_name)
    select gen_random_uuid(), 'epoch', false, name from purlin_jobs_groups, generate_series(1, 16)";

/// Of the tables that are large, those that have been read from the first row to the last.
async fn read_whole(pool: &PgPool) -> Vec<(String, i64)> {
    let sql = "select relname::text, seq_scan from pg_stat_xact_user_tables
        where seq_scan > 0 and relname <> 'purlin_jobs_workers' and relname <> 'purlin_jobs_queues'";
    sqlx::query_as(sql).fetch_all(pool).await.unwrap()
}

/// The function that admits has plans of its own, which no `explain` shows. A transaction that is never ended
/// counts what all of the calls in it read.
#[tokio::test]
async fn what_admits_jobs_uses_the_indexes_of_large_tables() {
    let Some(db) = Db::with_connections(1).await else {
        return;
    };
    let run = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&db.pool).await.unwrap();
    };
    let entry = |name: &str| {
        let group = Group::new(name);
        job_with(|options| options.with_group(group))
    };
    let own = worker(&db.store).await;
    // The plans are made, and kept, while there is nothing.
    run("set plan_cache_mode = force_generic_plan").await;
    db.store.enqueue(&[entry("first")]).await.unwrap();
    let (lease, claimed) = claim(&db.store, own, 1).await;
    let ids = claimed.iter().map(|job| job.id);
    db.store.settle(lease, &done(ids)).await.unwrap();
    db.store.promote(10).await.unwrap();
    run(ROWS).await;
    for next in [
        "analyze",
        "set plan_cache_mode = auto; discard plans",
        "select",
    ] {
        run("begin").await;
        db.store
            .enqueue(&[entry("large"), entry("group 1"), entry("group 2")])
            .await
            .unwrap();
        run("insert into purlin_jobs_mail (group_name, what) values ('large', 0), ('group 7', 0)")
            .await;
        run("delete from purlin_jobs_slots where group_name in ('large', 'group 7')").await;
        assert_eq!(db.store.promote(10).await.unwrap().jobs, 32);
        let (lease, claimed) = claim(&db.store, own, 20).await;
        assert_eq!(claimed.len(), 20);
        let ids = claimed.iter().map(|job| job.id);
        db.store.settle(lease, &done(ids)).await.unwrap();
        let (_, claimed) = claim(&db.store, own, 50).await;
        assert_eq!(claimed.len(), 32, "as many as before");
        assert_eq!(read_whole(&db.pool).await, [], "before {next}");
        run("rollback").await;
        run(next).await;
    }
}
