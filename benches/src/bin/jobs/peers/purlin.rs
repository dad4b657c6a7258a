//! Ours, on all of its stores.

use std::sync::Arc;

use async_trait::async_trait;
use purlin_benches::servers::pool;
use purlin_jobs::{
    Job, JobAdmin, JobContext, JobError, Jobs, MemoryStore, PostgresStore, QueueName, SqliteStore,
    Worker, handler_fn,
};
use purlin_store::sqlite::SqliteConfig;
use tokio::sync::oneshot;

use crate::{
    peer::{Mode, Peer, Running},
    tally::{self, Payload},
};

impl Job for Payload {
    const KIND: &'static str = "bench";
}

/// How many jobs run at a time, as with graphile_worker.
const SLOTS: usize = 500;
/// How many more it may hold.
const PREFETCH: usize = 4_000;

pub struct Purlin<S> {
    jobs: Jobs<S>,
    store: S,
    left: Left,
}

/// What counts, beside the store, the rows that are left.
enum Left {
    Postgres(sqlx::PgPool),
    Sqlite(sqlx::SqlitePool),
    Admin,
}

pub async fn postgres(url: String) -> Purlin<PostgresStore> {
    let pool = pool(&url, 16).await;
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.expect("migrates");
    Purlin {
        jobs: Jobs::new(store.clone()),
        store,
        left: Left::Postgres(pool),
    }
}

pub async fn sqlite(path: String) -> Purlin<SqliteStore> {
    let pool = SqliteConfig::new(path).connect().await.expect("opens");
    let store = SqliteStore::new(pool.clone());
    store.migrate().await.expect("migrates");
    Purlin {
        jobs: Jobs::new(store.clone()),
        store,
        left: Left::Sqlite(pool),
    }
}

pub async fn memory(_: String) -> Purlin<MemoryStore> {
    let store = MemoryStore::new();
    Purlin {
        jobs: Jobs::new(store.clone()),
        store,
        left: Left::Admin,
    }
}

async fn handle(payload: Payload, _: JobContext) -> Result<(), JobError> {
    tally::run(payload).await;
    Ok(())
}

#[async_trait]
impl<S: JobAdmin + Clone> Peer for Purlin<S> {
    async fn enqueue(&self, mut jobs: Vec<Payload>) {
        if jobs.len() == 1 {
            let job = jobs.remove(0);
            self.jobs.enqueue(job).await.expect("is enqueued");
        } else {
            self.jobs.enqueue_many(jobs).await.expect("are enqueued");
        }
    }

    async fn start(&self, _: Mode) -> Running {
        let store: Arc<dyn purlin_jobs::JobStore> = Arc::new(self.store.clone());
        let worker = Worker::from_shared(store)
            .register(handler_fn(handle))
            .with_queue(QueueName::DEFAULT, SLOTS)
            .with_prefetch(PREFETCH);
        let (stop, stopped) = oneshot::channel::<()>();
        let run = tokio::spawn(worker.run_until(stopped));
        Running::new(async move {
            let _ = stop.send(());
            run.await.expect("does not panic").expect("ends well");
        })
    }

    async fn left(&self) -> u64 {
        let left: i64 = match &self.left {
            Left::Postgres(pool) => {
                let count = "select count(*) from purlin_jobs_jobs";
                sqlx::query_scalar(count).fetch_one(pool).await
            }
            Left::Sqlite(pool) => {
                let count = "select count(*) from purlin_jobs";
                sqlx::query_scalar(count).fetch_one(pool).await
            }
            Left::Admin => {
                let counts = self.store.counts(None).await.expect("counts");
                return counts.ready + counts.scheduled + counts.leased;
            }
        }
        .expect("counts");
        left.unsigned_abs()
    }
}
