//! apalis on Postgres, SQLite and Redis.

use std::sync::atomic::{AtomicU64, Ordering};

use apalis::prelude::{ParallelizeExt as _, TaskBuilder, TaskSink as _, WorkerBuilder};
use apalis_postgres::PostgresStorage;
use apalis_redis::RedisStorage;
use apalis_sqlite::SqliteStorage;
use async_trait::async_trait;
use purlin_benches::servers::pool;
use purlin_store::sqlite::SqliteConfig;
use redis::aio::ConnectionManager;
use sqlx::{PgPool, SqlitePool};

use crate::{
    peer::{Mode, Peer, Running},
    tally::{self, Payload},
};

const QUEUE: &str = "bench";
/// By default it is ten, and slower.
const BATCH: usize = 500;

async fn handle(payload: Payload) {
    tally::run(payload).await;
}

fn json(payload: &Payload) -> Vec<u8> {
    serde_json::to_vec(payload).expect("is JSON")
}

/// The future of a worker cannot be spawned, for the compiler does not see that it is `Send`; a thread that
/// runs it beside the runtime does the same.
macro_rules! worker {
    ($backend:expr) => {{
        let worker = WorkerBuilder::new(format!("worker-{}", uuid::Uuid::now_v7()))
            .backend($backend)
            .parallelize(tokio::spawn)
            .build(handle);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = worker.run() => {}
                    _ = stopped => {}
                }
            });
        });
        Running::new(async move {
            let _ = stop.send(());
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        })
    }};
}

pub struct Postgres(PgPool);

pub async fn postgres(url: String) -> Postgres {
    let pool = pool(&url, 16).await;
    PostgresStorage::setup(&pool).await.expect("migrates");
    Postgres(pool)
}

#[async_trait]
impl Peer for Postgres {
    async fn enqueue(&self, jobs: Vec<Payload>) {
        let tasks = jobs.iter().map(|job| TaskBuilder::new(json(job)).build());
        let mut connection = self.0.acquire().await.expect("is there");
        let pushed = apalis_postgres::queries::push_tasks(&mut *connection, QUEUE, tasks.collect());
        pushed.await.expect("are pushed");
    }

    async fn start(&self, mode: Mode) -> Running {
        let config = apalis_postgres::Config::default()
            .queue(QUEUE)
            .batch_size(BATCH);
        let backend = PostgresStorage::<Payload>::new(&self.0).with_config(config);
        match mode {
            Mode::Drain => worker!(backend),
            Mode::Idle => worker!(backend.with_pubsub()),
        }
    }

    async fn left(&self) -> u64 {
        let count = "select count(*) from apalis.jobs where status <> 'Done'";
        let left = sqlx::query_scalar::<_, i64>(count).fetch_one(&self.0);
        left.await.expect("counts").unsigned_abs()
    }
}

pub struct Sqlite(SqlitePool);

pub async fn sqlite(path: String) -> Sqlite {
    let pool = SqliteConfig::new(path).connect().await.expect("opens");
    SqliteStorage::setup(&pool).await.expect("migrates");
    Sqlite(pool)
}

#[async_trait]
impl Peer for Sqlite {
    /// It has a statement for each; one transaction around them is what makes many of them fast.
    async fn enqueue(&self, jobs: Vec<Payload>) {
        let tasks = jobs.iter().map(|job| TaskBuilder::new(json(job)).build());
        let tasks: Vec<_> = tasks.collect();
        let mut transaction = self.0.begin().await.expect("begins");
        let pushed = apalis_sqlite::queries::push_tasks(&mut *transaction, QUEUE, &tasks);
        pushed.await.expect("are pushed");
        transaction.commit().await.expect("commits");
    }

    async fn start(&self, _: Mode) -> Running {
        let config = apalis_sqlite::Config::default()
            .queue(QUEUE)
            .batch_size(BATCH);
        worker!(SqliteStorage::<Payload>::new(&self.0).with_config(config))
    }

    async fn left(&self) -> u64 {
        let count = "select count(*) from Jobs where status <> 'Done'";
        let left = sqlx::query_scalar::<_, i64>(count).fetch_one(&self.0);
        left.await.expect("counts").unsigned_abs()
    }
}

/// With how many jobs it was given: it counts those that are done.
pub struct Redis(ConnectionManager, AtomicU64);

pub async fn redis(url: String) -> Redis {
    Redis(
        apalis_redis::connect(url).await.expect("connects"),
        AtomicU64::new(0),
    )
}

impl Redis {
    fn storage(&self) -> RedisStorage<Payload, ConnectionManager> {
        let config = apalis_redis::Config::default()
            .queue(QUEUE)
            .batch_size(BATCH);
        RedisStorage::new(self.0.clone()).with_config(config)
    }
}

#[async_trait]
impl Peer for Redis {
    async fn enqueue(&self, jobs: Vec<Payload>) {
        self.1.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        self.storage().push_bulk(jobs).await.expect("are pushed");
    }

    async fn start(&self, _: Mode) -> Running {
        worker!(self.storage())
    }

    async fn left(&self) -> u64 {
        let done = apalis_redis::Config::default().queue(QUEUE).done_jobs_set();
        let mut connection = self.0.clone();
        let mut count = redis::cmd("ZCARD");
        let done: u64 = count
            .arg(done)
            .query_async(&mut connection)
            .await
            .expect("counts");
        self.1.load(Ordering::Relaxed).saturating_sub(done)
    }
}
