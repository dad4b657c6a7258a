use std::sync::Arc;

use async_trait::async_trait;
use sqlx_08::{PgPool, Postgres, Transaction};
use underway::{Queue, Task, Worker, task};

use crate::{
    peer::{Mode, Peer, Running},
    peers::pool_08,
    tally::{self, Payload},
};

pub struct Underway {
    pool: PgPool,
    queue: Arc<Queue<Handler>>,
}

/// Each job that runs holds a connection of the pool.
const CONNECTIONS: u32 = 16;

#[derive(Clone)]
struct Handler;

impl Task for Handler {
    type Input = Payload;
    type Output = ();

    async fn execute(&self, _: Transaction<'_, Postgres>, payload: Payload) -> task::Result<()> {
        tally::run(payload).await;
        Ok(())
    }
}

pub async fn postgres(url: String) -> Underway {
    let pool = pool_08(&url, CONNECTIONS).await;
    underway::run_migrations(&pool).await.expect("migrates");
    let queue = Queue::builder().name("bench").pool(pool.clone()).build();
    let queue = Arc::new(queue.await.expect("is made"));
    Underway { pool, queue }
}

#[async_trait]
impl Peer for Underway {
    async fn enqueue(&self, jobs: Vec<Payload>) {
        if let [job] = &jobs[..] {
            let enqueued = self.queue.enqueue(&self.pool, &Handler, job).await;
            enqueued.expect("is enqueued");
        } else {
            let enqueued = self.queue.enqueue_multi(&self.pool, &Handler, &jobs).await;
            enqueued.expect("are enqueued");
        }
    }

    async fn start(&self, _: Mode) -> Running {
        let mut worker = Worker::new(Arc::clone(&self.queue), Handler);
        worker.set_concurrency_limit(CONNECTIONS as usize - 4);
        let run = tokio::spawn(async move { worker.run().await });
        Running::new(async move {
            run.abort();
            let _ = run.await;
        })
    }

    async fn left(&self) -> u64 {
        let count = "select count(*) from underway.task where state <> 'succeeded'";
        let left = sqlx_08::query_scalar::<_, i64>(count).fetch_one(&self.pool);
        left.await.expect("counts").unsigned_abs()
    }
}
