use async_trait::async_trait;
use bullmq::{
    Job, Queue, QueueOptions, Worker, WorkerOptions, options::RedisConnectionOptions,
    types::RemoveOnFinish, worker::CancellationToken,
};

use crate::{
    peer::{Mode, Peer, Running},
    tally::{self, Payload},
};

pub struct BullMq {
    connection: RedisConnectionOptions,
    queue: Queue,
}

const QUEUE: &str = "bench";

pub async fn redis(url: String) -> BullMq {
    let connection = RedisConnectionOptions {
        url,
        ..RedisConnectionOptions::default()
    };
    let options = QueueOptions {
        connection: connection.clone(),
        ..QueueOptions::default()
    };
    let queue = Queue::with_options(QUEUE, options).await.expect("connects");
    BullMq { connection, queue }
}

#[async_trait]
impl Peer for BullMq {
    async fn enqueue(&self, jobs: Vec<Payload>) {
        let json = |job| serde_json::to_value(job).expect("is JSON");
        if let [job] = &jobs[..] {
            self.queue.add("bench", json(job)).await.expect("is added");
            return;
        }
        let jobs = jobs
            .iter()
            .map(|job| bullmq::BulkJob::new("bench", json(job)));
        self.queue
            .add_bulk(jobs.collect())
            .await
            .expect("are added");
    }

    async fn start(&self, _: Mode) -> Running {
        let processor = |job: Job, _: CancellationToken| async move {
            let payload = serde_json::from_value(job.data().clone()).expect("is JSON");
            tally::run(payload).await;
            Ok(serde_json::Value::Null)
        };
        let options = WorkerOptions {
            connection: self.connection.clone(),
            concurrency: 100,
            remove_on_complete: Some(RemoveOnFinish::Bool(true)),
            ..WorkerOptions::default()
        };
        let worker = Worker::with_options(QUEUE, processor, options)
            .await
            .expect("starts");
        Running::new(async move {
            let _ = worker.close(5_000).await;
        })
    }

    async fn left(&self) -> u64 {
        let waiting = self.queue.get_waiting_count().await.expect("counts");
        let active = self.queue.get_active_count().await.expect("counts");
        (waiting + active) as u64
    }
}
