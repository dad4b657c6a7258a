use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use graphile_worker::{
    Database, IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler,
    WorkerContext, WorkerOptions, WorkerUtils,
};
use purlin_benches::servers::pool;
use sqlx::PgPool;

use crate::{
    peer::{Mode, Peer, Running},
    tally::{self, Payload},
};

pub struct Graphile {
    pool: PgPool,
    utils: WorkerUtils,
}

impl TaskHandler for Payload {
    const IDENTIFIER: &'static str = "bench";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        tally::run(self).await;
        Ok::<(), String>(())
    }
}

const SCHEMA: &str = "graphile_worker";

pub async fn postgres(url: String) -> Graphile {
    let pool = pool(&url, 16).await;
    let utils = WorkerUtils::new(Database::from(pool.clone()), SCHEMA);
    utils.migrate().await.expect("migrates");
    Graphile { pool, utils }
}

#[async_trait]
impl Peer for Graphile {
    async fn enqueue(&self, mut jobs: Vec<Payload>) {
        if jobs.len() == 1 {
            let job = jobs.remove(0);
            let added = self.utils.add_job(job, JobSpec::default()).await;
            added.expect("is added");
            return;
        }
        let specs: Vec<_> = jobs
            .iter()
            .map(|job| RawJobSpec {
                identifier: Payload::IDENTIFIER.to_owned(),
                payload: serde_json::to_value(job).expect("is JSON"),
                spec: JobSpec::default(),
            })
            .collect();
        self.utils.add_raw_jobs(&specs).await.expect("are added");
    }

    /// As its own benchmark, `perf_test`, but for the poll interval of an idle worker, which is its default.
    async fn start(&self, mode: Mode) -> Running {
        let mut options = WorkerOptions::default()
            .pg_pool(self.pool.clone())
            .schema(SCHEMA)
            .concurrency(500)
            .listen_os_shutdown_signals(false)
            .complete_job_batch_delay(Duration::from_millis(5))
            .local_queue(LocalQueueConfig::default().with_size(5_000))
            .define_job::<Payload>();
        if mode == Mode::Drain {
            options = options.poll_interval(Duration::from_millis(5));
        }
        let worker = Arc::new(options.init().await.expect("starts"));
        let run = tokio::spawn({
            let worker = Arc::clone(&worker);
            async move { worker.run().await }
        });
        Running::new(async move {
            worker.request_shutdown();
            let _ = run.await;
        })
    }

    async fn left(&self) -> u64 {
        let count = "select count(*) from graphile_worker._private_jobs";
        let left = sqlx::query_scalar::<_, i64>(count).fetch_one(&self.pool);
        left.await.expect("counts").unsigned_abs()
    }
}
