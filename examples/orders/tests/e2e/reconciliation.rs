//! The nightly reconciliation: at its time once, however many processes run jobs, and when it is told to.

use purlin_store::{postgres::PostgresConfig, sqlite::SqliteConfig};
use tokio::time::timeout;

use crate::harness::{PATIENCE, Store, send_signal, wait};

on_both_databases! {
    it_is_made_up_for_once_when_nobody_was_there
    it_is_made_when_it_is_told_to
}

/// How many reports there are in the log of this place.
fn reports(store: &Store) -> usize {
    let log = std::fs::read_to_string(store.log()).unwrap_or_default();
    let is_report = |line: &&str| line.contains("orders and payments are compared");
    log.lines().filter(is_report).count()
}

async fn until_reported(store: &Store, times: usize) {
    let reported = async {
        while reports(store) < times {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reported).await.expect("it is reported");
}

/// The last time that was dealt with was the day before yesterday.
async fn two_days_pass(store: &Store) {
    let changed = if let Some(url) = store.url() {
        let config = PostgresConfig::new(&url).unwrap().with_max_connections(1);
        let pool = config.connect().await.unwrap();
        let back = "update purlin_jobs_schedules set since = since - interval '2 days'";
        sqlx::query(back)
            .execute(&pool)
            .await
            .unwrap()
            .rows_affected()
    } else {
        let config = SqliteConfig::new(store.folder().join("orders.db"));
        let pool = config.connect().await.unwrap();
        let back = "update purlin_jobs_schedules set since = since - 2 * 86400000000";
        sqlx::query(back)
            .execute(&pool)
            .await
            .unwrap()
            .rows_affected()
    };
    assert_eq!(changed, 1, "the schedule is known");
}

async fn it_is_made_up_for_once_when_nobody_was_there(store: Store) {
    // Known once a worker has run; not before its time.
    let mut shop = store.start().await;
    let printed = shop.banner().await.join("\n");
    assert!(printed.contains("0 3 * * * (Europe/Oslo)"), "{printed}");
    let known = async { while !is_known(&store).await {} };
    timeout(PATIENCE, known).await.expect("it is known");
    shop.signal("TERM");
    assert_eq!(shop.wait().await.code(), Some(0));
    assert_eq!(reports(&store), 0);

    two_days_pass(&store).await;
    let mut workers = [store.start_worker(), store.start_worker()];
    until_reported(&store, 1).await;
    for worker in &workers {
        send_signal(worker, "TERM");
    }
    for worker in &mut workers {
        assert_eq!(wait(worker).await.code(), Some(0));
    }
    assert_eq!(reports(&store), 1);
}

async fn is_known(store: &Store) -> bool {
    const KNOWN: &str = "select count(*) from purlin_jobs_schedules";
    let count: i64 = if let Some(url) = store.url() {
        let config = PostgresConfig::new(&url).unwrap().with_max_connections(1);
        let pool = config.connect().await.unwrap();
        sqlx::query_scalar(KNOWN).fetch_one(&pool).await.unwrap()
    } else {
        let config = SqliteConfig::new(store.folder().join("orders.db"));
        let pool = config.connect().await.unwrap();
        sqlx::query_scalar(KNOWN).fetch_one(&pool).await.unwrap()
    };
    count == 1
}

async fn it_is_made_when_it_is_told_to(store: Store) {
    let _shop = store.start().await;
    for times in 1..=2 {
        let mut command = store.command();
        let mut told = command.arg("reconcile").spawn().unwrap();
        assert_eq!(wait(&mut told).await.code(), Some(0));
        until_reported(&store, times).await;
    }
}
