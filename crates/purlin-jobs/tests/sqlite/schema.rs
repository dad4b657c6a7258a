use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use purlin_jobs::store::{Entry, KeptResult, Note, NoteKind, NoteStore as _, Outcome};
use purlin_jobs::{
    JobAdmin as _, JobStore as _, Priority, QueueName, SqliteStore, TransactionalJobStore as _,
    Unique,
};
use purlin_store::{SchemaError, StoreErrorKind};
use purlin_testkit::TestFile;
use sqlx::{AssertSqlSafe, SqlitePool};

use crate::harness::{
    MINUTE, add, claim, config, counts, id, job, job_with, lease, place, retry, settle,
};

async fn tables(pool: &SqlitePool) -> Vec<String> {
    sqlx::query_scalar("select name || ' ' || coalesce(sql, '') from sqlite_schema order by 1")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn forward_and_back_leaves_nothing_behind() {
    let file = TestFile::new();
    let pool = config(file.path()).connect().await.unwrap();
    let store = SqliteStore::new(pool.clone());
    let error = store.check_schema().await.unwrap_err();
    let reason = error.source().and_then(|source| source.downcast_ref());
    assert!(
        matches!(reason, Some(SchemaError::Missing { .. })),
        "{error:?}"
    );
    let error = store.enqueue(&[job(1)]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema, "{error:?}");

    assert_eq!(store.migrate().await.unwrap(), 1);
    assert_eq!(
        store.migrate().await.unwrap(),
        1,
        "a second time does nothing"
    );
    store.check_schema().await.unwrap();
    add(&store, job(1)).await;

    assert_eq!(
        SqliteStore::migrator().revert_to(&pool, 0).await.unwrap(),
        0
    );
    assert_eq!(tables(&pool).await, [""; 0]);
    store.migrate().await.unwrap();
    store.check_schema().await.unwrap();
    assert_eq!(counts(&store).await, [0; 5]);
}

#[tokio::test]
async fn exported_sql_does_what_migrate_does() {
    let (by_hand, by_code) = (TestFile::new(), TestFile::new());
    let by_hand = config(by_hand.path()).connect().await.unwrap();
    let by_code = config(by_code.path()).connect().await.unwrap();
    SqliteStore::new(by_code.clone()).migrate().await.unwrap();
    let run = async |sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&by_hand)
            .await
            .unwrap();
    };
    run(SqliteStore::migrator().sql(0)).await;
    assert_eq!(tables(&by_hand).await, tables(&by_code).await);
    SqliteStore::new(by_hand.clone())
        .check_schema()
        .await
        .unwrap();
    run(SqliteStore::migrator().revert_sql(0)).await;
    assert_eq!(tables(&by_hand).await, [""; 0]);
}

/// Every value in every table, in the order of the columns.
async fn rows(pool: &SqlitePool) -> Vec<String> {
    let mut rows = Vec::new();
    for (table, columns) in [
        (
            "jobs",
            "id, kind, version, queue, priority_offset, max_attempts, timeout, traceparent, unique_key,
             unique_span, failures, crashes, error, failed_at, cancel_requested, enqueued_at, run_at,
             finished_as, finished_at, notes, payload, group_name, group_limits",
        ),
        ("jobs_ready", "queue, rank, id, kind, group_name"),
        ("jobs_scheduled", "run_at, id, has_group"),
        ("jobs_workers", "id, expires_at"),
        ("jobs_leases", "id, worker"),
        ("jobs_leased", "lease, job, group_name"),
        ("jobs_unique", "key, job, span, until"),
        ("jobs_queues", "name, paused, every, burst, tat"),
        ("jobs_held", "group_name, rank, id"),
        ("jobs_slots", "group_name, job, is_reserved"),
        ("jobs_groups", "name, at_most, every, burst, tat, due_at, is_set"),
        ("jobs_notes", "job, kind, name, due_at, value"),
        ("jobs_results", "job, expires_at, value"),
    ] {
        let quoted: Vec<_> = columns.split(',').map(|name| format!("quote({name})")).collect();
        let sql = format!(
            "select concat_ws(' ', '{table}', {}) from purlin_{table} order by 1",
            quoted.join(",")
        );
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(pool)
            .await
            .unwrap();
        rows.extend(found);
    }
    rows
}

/// A release must be able to read what the one before it has written.
#[tokio::test]
async fn rows_are_what_they_were() {
    let place = place().await;
    let store = &place.store;
    let mail = QueueName::new("mail").unwrap();
    let full = job_with(1, |o| {
        o.with_queue(mail.clone())
            .with_priority(Priority::URGENT)
            .with_max_attempts(3)
            .with_timeout(Duration::from_micros(1_500_000))
            .with_unique(Unique::until_done("key"))
            .with_delay(MINUTE)
    });
    let full = Entry {
        version: 2,
        traceparent: Some("00-1-2-03".to_owned()),
        payload: vec![0, 255].into(),
        ..full
    };
    let short = job_with(2, |o| o.with_unique(Unique::for_period("other", MINUTE)));
    for job in [full, short, job(3), job(4), job(5)] {
        add(store, job).await;
    }
    let claimed = claim(store, 0xA, 3).await;
    assert_eq!(claimed.len(), 3);
    let _ = settle(store, 0xA, 3, retry()).await;
    let _ = settle(store, 0xA, 4, Outcome::Cancelled).await;
    store.cancel(id(2)).await.unwrap();
    let value = Bytes::from_static(b"1");
    store.signal(id(2), "paid", &value).await.unwrap();
    let timer = Note {
        kind: NoteKind::Timer,
        name: "cool-off".to_owned(),
        value: None,
        due_in: Some(MINUTE),
    };
    store.note(lease(0xA), id(2), &timer).await.unwrap();
    let ttl = MINUTE;
    let mut connection = place.pool.acquire().await.unwrap();
    let result = KeptResult { value, ttl };
    let kept = store.keep_in(&mut connection, id(5), &result).await;
    kept.unwrap();
    store.pause(&mail).await.unwrap();

    let id = |n: u8| format!("X'{n:032X}'");
    let (one, two, three, four, five) = (id(1), id(2), id(3), id(4), id(5));
    let (worker, lease) = (id(1), id(0xA));
    let key = "X'2C70E12B7A0646F92279F427C7B38E7334D8E5389CFF167A1DC30E73F826B683'";
    let other = "X'D9298A10D1B0735837DC4BD85DAC641B0F3CEF27A47E5D53A54F2F3F5B2FCFFA'";
    let t0 = "1700000000000000";
    let t1 = "1700000060000000";
    let r0 = "1700002400000000";
    let work = |id: &str, rest: &str| {
        format!("jobs {id} 'work' 1 'default' 2400000000 20 NULL NULL {rest}")
    };
    let expected = [
        format!(
            "jobs {one} 'work' 2 'mail' 0 3 1500000 '00-1-2-03' {key} 1 0 0 NULL NULL 0 {t0} {t1} NULL \
             NULL NULL X'00FF' NULL NULL"
        ),
        work(
            &two,
            &format!("{other} 2 0 0 NULL NULL 1 {t0} {t0} NULL NULL 1 X'7B7D' NULL NULL"),
        ),
        work(
            &three,
            &format!(
                "NULL NULL 1 0 'it did not work' {t0} 0 {t0} {t1} NULL NULL NULL X'7B7D' NULL NULL"
            ),
        ),
        work(
            &four,
            &format!("NULL NULL 0 0 NULL NULL 0 {t0} {t0} 'cancelled' {t0} NULL X'7B7D' NULL NULL"),
        ),
        work(
            &five,
            &format!("NULL NULL 0 0 NULL NULL 0 {t0} {t0} NULL NULL NULL X'7B7D' NULL NULL"),
        ),
        format!("jobs_ready 'default' {r0} {five} 'work' NULL"),
        format!("jobs_scheduled {t1} {one} 0"),
        format!("jobs_scheduled {t1} {three} 0"),
        format!("jobs_workers {worker} 1700003600000000"),
        format!("jobs_leases {lease} {worker}"),
        format!("jobs_leased {lease} {two} NULL"),
        format!("jobs_unique {key} {one} 1 NULL"),
        format!("jobs_unique {other} {two} 2 {t1}"),
        "jobs_queues 'mail' 1 NULL NULL NULL".to_owned(),
        format!("jobs_notes {two} 1 'cool-off' {t1} NULL"),
        format!("jobs_notes {two} 3 'paid' NULL X'31'"),
        format!("jobs_results {five} {t1} X'31'"),
    ];
    assert_eq!(rows(&place.pool).await, expected);
}

#[tokio::test]
async fn a_row_that_is_not_one_is_corrupt() {
    for damage in [
        "update purlin_jobs set queue = 'a queue'",
        "update purlin_jobs set finished_as = 'lost'",
        "update purlin_jobs set failures = -1",
        "update purlin_jobs set id = x'00'",
    ] {
        let place = place().await;
        add(&place.store, job(1)).await;
        sqlx::query(damage).execute(&place.pool).await.unwrap();
        let listed = place
            .store
            .list(
                &Default::default(),
                &purlin_jobs::store::Page {
                    after: None,
                    limit: 1,
                },
            )
            .await;
        assert_eq!(
            listed.unwrap_err().kind(),
            StoreErrorKind::Corrupt,
            "{damage}"
        );
    }
}
