use std::time::Duration;

use purlin_store::StoreError;
use purlin_store::redis::RedisHandle;
use purlin_store::redis::driver::cmd;
use tokio::sync::Notify;

use super::{RedisStore, WAKE};
use crate::QueueName;
use crate::store::ear::{Ear, RECONNECT_DELAY};

/// How long the server keeps one question open. It is asked again at once.
const BLOCK: Duration = Duration::from_secs(5);

/// How many entries the stream has at most, as `place.lua` says. Who is given so many may have missed
/// some.
const ENTRIES: usize = 256;

type Entries = Vec<(String, Vec<(String, Vec<String>)>)>;

impl RedisStore {
    pub(super) async fn listen(&self, queues: &[QueueName]) -> Result<Ear, StoreError> {
        let apart = self.apart_with(
            self.redis
                .apart()
                .with_timeout(self.redis.timeout().saturating_add(BLOCK)),
        );
        let (first, any_ready) = self.subscribe(queues).await?;
        let queues = queues.to_vec();
        Ok(Ear::new(async move |told| {
            if any_ready {
                told.notify_one();
            }
            let mut last = first;
            loop {
                let key = &apart.keys[WAKE];
                let Err(error) = hear(&apart.redis, key, &queues, &mut last, &told).await;
                tracing::warn!(%error, "jobs are polled for: listening has failed");
                // A server that has lost what it had may count from an earlier time.
                last = loop {
                    tokio::time::sleep(RECONNECT_DELAY).await;
                    if let Ok((last, _)) = apart.subscribe(&queues).await {
                        break last;
                    }
                };
                told.notify_one();
            }
        }))
    }

    /// The last entry of the stream, and whether something is ready in these queues.
    async fn subscribe(&self, queues: &[QueueName]) -> Result<(String, bool), StoreError> {
        let mut call = self.on(&self.scripts.subscribe);
        for queue in queues {
            call = call.arg(queue.as_str());
        }
        self.redis.run("wakeups", &call).await
    }
}

/// Reads the stream until that fails.
async fn hear(
    redis: &RedisHandle,
    key: &str,
    queues: &[QueueName],
    last: &mut String,
    told: &Notify,
) -> Result<std::convert::Infallible, StoreError> {
    loop {
        let mut read = cmd("XREAD");
        read.arg("COUNT")
            .arg(ENTRIES)
            .arg("BLOCK")
            .arg(BLOCK.as_millis() as u64);
        read.arg("STREAMS").arg(key).arg(&*last);
        let streams: Option<Entries> = redis.query("wakeups", &read).await?;
        let entries: Vec<_> = streams
            .into_iter()
            .flatten()
            .flat_map(|(_, entries)| entries)
            .collect();
        if let Some((id, _)) = entries.last() {
            last.clone_from(id);
        }
        let names = entries.iter().filter_map(|(_, fields)| fields.get(1));
        let mut names = names.filter(|name| queues.iter().any(|own| own.as_str() == **name));
        if names.next().is_some() || entries.len() >= ENTRIES {
            told.notify_one();
        }
    }
}
