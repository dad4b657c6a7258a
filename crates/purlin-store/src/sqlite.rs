//! An embedded SQLite file as a store (feature `sqlite`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};
use tokio::time::{Instant, sleep};

use crate::deadline::LONGEST_WAIT;
use crate::{StoreError, StoreErrorKind, deadline};

/// A process that turns WAL on needs a few milliseconds.
const WAL_RETRY_DELAY: Duration = Duration::from_millis(5);

/// What a committed transaction survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// `synchronous=FULL`: every commit waits until the disk has it, and survives a loss of power.
    #[default]
    PowerLoss,
    /// `synchronous=NORMAL`: a commit survives the end of the process in every form, `kill -9`
    /// included, since the kernel has it. A loss of power or a kernel crash may undo the last
    /// commits, though it never damages the file (<https://sqlite.org/pragma.html#pragma_synchronous>).
    ProcessCrash,
}

/// How to open an SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    path: PathBuf,
    durability: Durability,
    max_connections: u32,
    busy_timeout: Duration,
}

impl SqliteConfig {
    /// The database in the file at `path`, which is created if it is not there. Its folder must
    /// exist, and be on a local disk: WAL does not work over a network file system.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            durability: Durability::PowerLoss,
            max_connections: 4,
            busy_timeout: Duration::from_secs(5),
        }
    }

    /// What a committed transaction survives. Default [`Durability::PowerLoss`]: a key that says
    /// "this payment was made" must not be forgotten.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The most connections this process holds. Default 4: readers run beside each other and
    /// beside the one writer; more writers would only wait. 0 is taken as 1.
    #[must_use]
    pub fn with_max_connections(mut self, max_connections: u32) -> Self {
        self.max_connections = max_connections.max(1);
        self
    }

    /// How long a writer waits for another one, and for a free connection. Default 5 s, at most
    /// 24 days.
    #[must_use]
    pub fn with_busy_timeout(mut self, busy_timeout: Duration) -> Self {
        self.busy_timeout = busy_timeout.min(LONGEST_WAIT);
        self
    }

    /// Opens the file, in WAL mode and with foreign keys enforced.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::StoreErrorKind::Unavailable) when the file cannot be opened, or it or
    /// its folder cannot be written; [`Corrupt`](crate::StoreErrorKind::Corrupt) when it is not a
    /// database; [`Conflict`](crate::StoreErrorKind::Conflict) or
    /// [`Timeout`](crate::StoreErrorKind::Timeout) when another process keeps it locked for the busy
    /// timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, there is no pool; the file may have been created.
    pub async fn connect(&self) -> Result<SqlitePool, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match self.durability {
                Durability::PowerLoss => SqliteSynchronous::Full,
                Durability::ProcessCrash => SqliteSynchronous::Normal,
            })
            .busy_timeout(self.busy_timeout)
            .foreign_keys(true)
            // As for Postgres: a statement in a log may hold what a user typed.
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.busy_timeout)
            // A connection to a file does not go stale, and a new one has to warm its cache.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            // SQLite itself rolls a transaction back when the disk is full or does not answer
            // (sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction"). sqlx
            // does not notice, and no transaction could begin on that connection any more.
            .after_release(|connection, _| {
                Box::pin(async {
                    // Comes back when the roll-back that a dropped transaction has queued is done.
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            });
        let patience = self.busy_timeout.saturating_mul(2);
        let begun = Instant::now();
        deadline("sqlite", "connect", patience, async {
            loop {
                let connected = pool.clone().connect_with(options.clone()).await;
                let error = match connected {
                    Ok(pool) => return Ok(pool),
                    Err(error) => StoreError::from(error),
                };
                // Turning WAL on takes a lock for which SQLite does not wait, whatever the busy
                // timeout. Processes that meet on a new file all want it.
                if error.kind() != StoreErrorKind::Conflict || begun.elapsed() >= self.busy_timeout
                {
                    return Err(error);
                }
                sleep(WAL_RETRY_DELAY).await;
            }
        })
        .await
    }
}

/// Begins a transaction that will write.
///
/// `BEGIN IMMEDIATE` takes the write lock at once, waiting up to the busy timeout. A plain `BEGIN`
/// takes it at the first write, and when another writer was there since the first read, SQLite
/// answers busy immediately, whatever the timeout (<https://sqlite.org/rescode.html#busy_snapshot>).
///
/// # Errors
///
/// [`Conflict`](crate::StoreErrorKind::Conflict) when another writer did not finish in time,
/// [`Timeout`](crate::StoreErrorKind::Timeout) when no connection was free.
///
/// # Cancel safety
///
/// Dropped early, nothing has begun. The transaction, when dropped, is rolled back.
pub async fn begin_immediate(
    pool: &SqlitePool,
) -> Result<Transaction<'static, Sqlite>, StoreError> {
    let begun = Instant::now();
    pool.begin_with("BEGIN IMMEDIATE").await.map_err(|error| {
        StoreError::from(error)
            .during("sqlite", "begin")
            .with_tried_for(begun.elapsed())
    })
}
