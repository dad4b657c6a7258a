//! A worker on a real database.

use std::sync::mpsc;
use std::time::Duration;

use purlin_jobs::{Emptied, Job, Jobs, PostgresStore, QueueName, Worker, handler_fn};
use purlin_testkit::TestDatabase;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::harness::{MINUTE, pool};

#[derive(Serialize, Deserialize)]
struct Greedy;

impl Job for Greedy {
    const KIND: &'static str = "greedy";
}

/// Waits on a thread and a connection of its own until the worker's row was extended so often.
fn extended(url: String, times: usize) -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            let mut seen = std::collections::BTreeSet::new();
            while seen.len() <= times {
                let sql = "select expires_at::text from purlin_jobs_workers";
                let found: Option<String> = sqlx::query_scalar(sql)
                    .fetch_optional(&mut connection)
                    .await
                    .unwrap();
                seen.insert(found.expect("nobody has taken the worker for dead"));
            }
        });
        sender.send(()).unwrap();
    });
    receiver
}

async fn hold_all(pool: &PgPool) -> Vec<sqlx::pool::PoolConnection<sqlx::Postgres>> {
    let mut held = Vec::new();
    while held.len() < pool.options().get_max_connections() as usize {
        held.push(pool.acquire().await.unwrap());
    }
    held
}

/// The handler has every connection of the pool, and blocks the only thread of the runtime that drives
/// them, for as long as the lease would have ended in.
#[tokio::test(flavor = "current_thread")]
async fn heartbeats_need_neither_the_pool_nor_the_runtime_of_the_handlers() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url(), 3).await;
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.unwrap();
    Jobs::new(store.clone()).enqueue(Greedy).await.unwrap();
    let (url, of_handler) = (database.url(), pool.clone());
    let greedy = handler_fn(move |_: Greedy, _| {
        let (url, pool) = (url.clone(), of_handler.clone());
        async move {
            let held = hold_all(&pool).await;
            // A lease has three heartbeats.
            extended(url, 4)
                .recv_timeout(MINUTE)
                .expect("heartbeats go on");
            drop(held);
            Ok(())
        }
    });
    let worker = Worker::new(store)
        .register(greedy)
        .with_queue(QueueName::DEFAULT, 1)
        .with_lease_ttl(Duration::from_millis(1500));
    let emptied = worker.run_until_empty(MINUTE).await.unwrap();
    assert_eq!(emptied, Emptied::Empty);
    let left: i64 = sqlx::query_scalar("select count(*) from purlin_jobs_jobs")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 0, "done, and by its own worker");
}
