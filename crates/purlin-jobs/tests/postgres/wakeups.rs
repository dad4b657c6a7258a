//! How workers hear of jobs.

use std::time::Duration;

use purlin_jobs::store::Wake;
use purlin_jobs::{JobStore as _, PostgresStore, QueueName};
use purlin_store::SchemaName;
use sqlx::postgres::PgListener;

use crate::harness::{Db, MINUTE, job, job_with};

const LISTENERS: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and query like 'LISTEN %'";

/// The first line of every test: whoever does not hear waits for a minute and fails.
async fn hears(wakeups: &mut Box<dyn purlin_jobs::store::Wakeups>) {
    assert_eq!(wakeups.next(MINUTE).await, Wake::Jobs);
}

#[tokio::test]
async fn a_job_of_another_process_is_heard_of() {
    let Some(db) = Db::create().await else {
        return;
    };
    let other = PostgresStore::new(db.pool.clone());
    let mut wakeups = db.store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    for _ in 0..3 {
        other.enqueue(&[job()]).await.unwrap();
        hears(&mut wakeups).await;
    }
    assert_eq!(wakeups.next(Duration::ZERO).await, Wake::Elapsed);
}

/// What was told meanwhile was not heard, so whoever waits is told to look.
#[tokio::test]
async fn a_lost_connection_is_made_again() {
    let Some(db) = Db::create().await else {
        return;
    };
    let mut wakeups = db.store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    for _ in 0..3 {
        let cut: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and query like 'LISTEN %'",
        )
        .fetch_one(&db.pool)
        .await
        .unwrap();
        assert_eq!(cut, 1);
        hears(&mut wakeups).await;
        db.store.enqueue(&[job()]).await.unwrap();
        hears(&mut wakeups).await;
    }
}

#[tokio::test]
async fn nobody_listens_who_is_told_not_to() {
    let Some(db) = Db::create().await else {
        return;
    };
    let listeners = async || -> i64 {
        sqlx::query_scalar(LISTENERS)
            .fetch_one(&db.pool)
            .await
            .unwrap()
    };
    let polling = db.store.clone().with_listen(false);
    let mut wakeups = polling.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    db.store.enqueue(&[job()]).await.unwrap();
    let wake = wakeups.next(Duration::from_millis(1)).await;
    assert_eq!((wake, listeners().await), (Wake::Elapsed, 0));
    let _wakeups = db.store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    assert_eq!(listeners().await, 1);
}

/// Transactions that notify wait for each other at their commit.
#[tokio::test]
async fn a_call_notifies_once() {
    let Some(db) = Db::create().await else {
        return;
    };
    let mut listener = PgListener::connect_with(&db.pool).await.unwrap();
    let channel = "purlin_jobs_efa1f375d76194fa";
    listener.listen(channel).await.unwrap();
    let mail = QueueName::new("mail").unwrap();
    let in_mail = || job_with(|options| options.with_queue(mail.clone()));

    let many: Vec<_> = (0..100).map(|_| in_mail()).collect();
    db.store.enqueue(&many).await.unwrap();
    db.store.enqueue(&[job(), in_mail()]).await.unwrap();
    // It is there already: nothing to tell.
    db.store.enqueue(&many[..1]).await.unwrap();
    let billing = SchemaName::new("billing").unwrap();
    let elsewhere = db.store.clone().with_schema(billing);
    sqlx::raw_sql("create schema billing")
        .execute(&db.pool)
        .await
        .unwrap();
    elsewhere.migrate().await.unwrap();
    elsewhere.enqueue(&[job()]).await.unwrap();
    db.store.enqueue(&[job()]).await.unwrap();

    for payload in ["mail", "", "default"] {
        let told = listener.recv().await.unwrap();
        assert_eq!((told.channel(), told.payload()), (channel, payload));
    }
}
