use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use awa::{
    Client, InsertOpts, InsertParams, JobContext, JobError, JobResult, QueueConfig, QueueStorage,
    QueueStorageConfig, migrations,
};
use sqlx_08::PgPool;

use crate::{
    peer::{Mode, Peer, Running},
    peers::pool_08,
    tally::{self, Payload},
};

pub struct Awa {
    pool: PgPool,
    store: QueueStorage,
}

const QUEUE: &str = "bench";
const KIND: &str = "bench";

pub async fn postgres(url: String) -> Awa {
    let pool = pool_08(&url, 16).await;
    migrations::run(&pool).await.expect("migrates");
    let store = QueueStorage::new(QueueStorageConfig::default()).expect("is a configuration");
    store.install(&pool).await.expect("installs");
    Awa { pool, store }
}

struct Handler;

#[async_trait]
impl awa::Worker for Handler {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn perform(&self, context: &JobContext) -> Result<JobResult, JobError> {
        let payload = serde_json::from_value(context.job.args.clone()).expect("is JSON");
        tally::run(payload).await;
        Ok(JobResult::Completed)
    }
}

#[async_trait]
impl Peer for Awa {
    /// By `COPY`, as its documents say for many.
    async fn enqueue(&self, jobs: Vec<Payload>) {
        let params: Vec<_> = jobs
            .iter()
            .map(|job| InsertParams {
                kind: KIND.to_owned(),
                args: serde_json::to_value(job).expect("is JSON"),
                opts: InsertOpts {
                    queue: QUEUE.to_owned(),
                    ..InsertOpts::default()
                },
            })
            .collect();
        let inserted = match params.len() {
            1 => self.store.enqueue_params_batch(&self.pool, &params).await,
            _ => self.store.enqueue_params_copy(&self.pool, &params).await,
        };
        inserted.expect("are inserted");
    }

    async fn start(&self, mode: Mode) -> Running {
        let config = QueueConfig {
            max_workers: 1_024,
            claim_batch_size: 512,
            deadline_duration: Duration::ZERO,
            ..QueueConfig::default()
        };
        let config = match mode {
            Mode::Drain => QueueConfig {
                poll_interval: Duration::from_millis(50),
                ..config
            },
            Mode::Idle => config,
        };
        let client = Client::builder(self.pool.clone())
            .queue(QUEUE, config)
            .register_worker(Handler)
            .build();
        let client = Arc::new(client.expect("is a configuration"));
        client.start().await.expect("starts");
        Running::new(async move { client.shutdown(Duration::from_secs(5)).await })
    }

    async fn left(&self) -> u64 {
        let counts = self.store.queue_counts(&self.pool, QUEUE).await;
        let counts = counts.expect("counts");
        (counts.available + counts.running).unsigned_abs()
    }
}
