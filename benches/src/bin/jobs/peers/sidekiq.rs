use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use sidekiq::{Processor, ProcessorConfig, RedisConnectionManager, RedisPool, Worker};

use crate::{
    peer::{Mode, Peer, Running},
    tally::{self, Payload},
};

pub struct Sidekiq {
    pool: RedisPool,
    count: MultiplexedConnection,
}

const QUEUE: &str = "bench";

#[derive(Clone)]
struct Handler;

#[async_trait]
impl Worker<Payload> for Handler {
    fn opts() -> sidekiq::WorkerOpts<Payload, Self> {
        sidekiq::WorkerOpts::new().queue(QUEUE)
    }

    async fn perform(&self, payload: Payload) -> sidekiq::Result<()> {
        tally::run(payload).await;
        Ok(())
    }
}

const WORKERS: usize = 100;

pub async fn redis(url: String) -> Sidekiq {
    let manager = RedisConnectionManager::new(url.clone()).expect("is a URL");
    let pool = bb8::Pool::builder()
        .max_size(WORKERS as u32 + 8)
        .build(manager);
    let client = redis::Client::open(url).expect("is a URL");
    let count = client.get_multiplexed_async_connection().await;
    Sidekiq {
        pool: pool.await.expect("connects"),
        count: count.expect("connects"),
    }
}

#[async_trait]
impl Peer for Sidekiq {
    /// It has no call for many.
    async fn enqueue(&self, jobs: Vec<Payload>) {
        for job in jobs {
            Handler::perform_async(&self.pool, job)
                .await
                .expect("is added");
        }
    }

    async fn start(&self, _: Mode) -> Running {
        let mut processor = Processor::new(self.pool.clone(), vec![QUEUE.to_owned()])
            .with_config(ProcessorConfig::default().num_workers(WORKERS));
        processor.register(Handler);
        let cancel = processor.get_cancellation_token();
        let run = tokio::spawn(processor.run());
        Running::new(async move {
            cancel.cancel();
            let _ = run.await;
        })
    }

    /// A job that is taken is gone: what is in the hands of a worker that dies is lost, and here not counted.
    async fn left(&self) -> u64 {
        let mut count = redis::cmd("LLEN");
        let left = count
            .arg(format!("queue:{QUEUE}"))
            .query_async(&mut self.count.clone())
            .await;
        left.expect("counts")
    }
}
