use std::time::Duration;

use async_trait::async_trait;
use purlin_store::StoreError;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{SqliteStore, sql};
use crate::QueueName;
use crate::store::{Wake, Wakeups};

/// Hears of this process's jobs by a channel, and of all others by looking for commits.
#[derive(Debug)]
pub(super) struct Changes {
    own: watch::Receiver<()>,
    others: Commits,
    poll_interval: Duration,
}

impl Changes {
    pub(super) async fn watch(
        store: &SqliteStore,
        queues: &[QueueName],
    ) -> Result<Self, StoreError> {
        let own = store.changes.subscribe();
        let queues: Value = queues.iter().map(QueueName::as_str).collect();
        let options = (*store.pool.connect_options()).clone();
        let mut others = Commits {
            queues: queues.to_string(),
            options,
            connection: None,
            seen: None,
        };
        others.seen = Some(others.version().await?);
        Ok(Self {
            own,
            others,
            poll_interval: store.poll_interval,
        })
    }
}

#[async_trait]
impl Wakeups for Changes {
    async fn next(&mut self, up_to: Duration) -> Wake {
        let begun = Instant::now();
        loop {
            let left = up_to.saturating_sub(begun.elapsed());
            let look = sleep_until(Instant::now() + left.min(self.poll_interval));
            tokio::select! {
                Ok(()) = self.own.changed() => return Wake::Jobs,
                () = look => {}
            }
            match self.others.look().await {
                Ok(true) => return Wake::Jobs,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot look for jobs of other processes");
                    self.others.connection = None;
                }
            }
            if begun.elapsed() >= up_to {
                return Wake::Elapsed;
            }
        }
    }
}

/// Commits of all other connections to the file.
#[derive(Debug)]
struct Commits {
    queues: String,
    options: SqliteConnectOptions,
    /// Its own, since a version is that of one connection
    /// (<https://sqlite.org/pragma.html#pragma_data_version>).
    connection: Option<SqliteConnection>,
    /// The version up to which nothing was ready.
    seen: Option<i64>,
}

impl Commits {
    /// Whether something was committed, and something is ready.
    async fn look(&mut self) -> Result<bool, sqlx::Error> {
        let version = self.version().await?;
        if self.seen == Some(version) {
            return Ok(false);
        }
        let any_ready = sqlx::query_scalar(sql::ANY_READY).bind(self.queues.clone());
        let connection = self.connected().await?;
        let any_ready = any_ready.fetch_one(connection).await?;
        self.seen = Some(version);
        Ok(any_ready)
    }

    async fn version(&mut self) -> Result<i64, sqlx::Error> {
        let version = sqlx::query_scalar(sql::DATA_VERSION);
        version.fetch_one(self.connected().await?).await
    }

    async fn connected(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            none => {
                let connection = self.options.connect().await?;
                self.seen = None;
                Ok(none.insert(connection))
            }
        }
    }
}
