use std::time::Duration;

use async_trait::async_trait;
use purlin_store::SchemaName;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;

use crate::QueueName;
use crate::store::ear::{Ear, RECONNECT_DELAY};
use crate::store::{Wake, Wakeups};

/// Where the jobs of one schema are told of. A digest, since a name of Postgres has 63 bytes at most, and
/// so may that of the schema.
pub(super) fn channel(schema: &SchemaName) -> String {
    let digest = Sha256::digest(schema.as_str().as_bytes());
    let hex = digest[..8].iter().map(|byte| format!("{byte:02x}"));
    format!("purlin_jobs_{}", hex.collect::<String>())
}

/// Nothing is heard: whoever waits polls.
#[derive(Debug)]
pub(super) struct Deaf;

#[async_trait]
impl Wakeups for Deaf {
    async fn next(&mut self, up_to: Duration) -> Wake {
        tokio::time::sleep(up_to).await;
        Wake::Elapsed
    }
}

/// Hears notifications. Listens once this returns.
pub(super) async fn ear(
    pool: &PgPool,
    channel: String,
    queues: &[QueueName],
) -> Result<Ear, sqlx::Error> {
    let single = super::single(pool);
    let first = listen(&single, &channel).await?;
    let queues = queues.to_vec();
    Ok(Ear::new(async move |told| {
        let mut listener = first;
        loop {
            hear(&mut listener, &queues, &told).await;
            drop(listener);
            listener = loop {
                match listen(&single, &channel).await {
                    Ok(listener) => break listener,
                    Err(error) => {
                        tracing::warn!(%error, "jobs are polled for: listening has failed");
                        tokio::time::sleep(RECONNECT_DELAY).await;
                    }
                }
            };
            // What was told meanwhile was not heard.
            told.notify_one();
        }
    }))
}

async fn listen(pool: &PgPool, channel: &str) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    Ok(listener)
}

/// Returns when the connection is lost.
async fn hear(listener: &mut PgListener, queues: &[QueueName], told: &Notify) {
    while let Ok(Some(notification)) = listener.try_recv().await {
        let queue = notification.payload();
        // Without a name it is any.
        if queue.is_empty() || queues.iter().any(|own| own.as_str() == queue) {
            told.notify_one();
        }
    }
}
