//! One database of either kind, and the connections to it.
//!
//! Both kinds are held as what they are, not as sqlx's `Any`: that one knows neither UUIDs nor
//! instants, and hides the transaction from whoever wants to write in it beside the repositories.
//! The SQL is the same text for both, and [`on_both`] compiles each call twice.

mod migrations;
mod queue;
mod timestamp;
mod url;

use std::time::Duration;

use purlin_idempotency::{IdempotencyStore as _, PostgresStore, SqliteStore};
use purlin_store::{
    PostgresMigrator, SchemaName, SqliteMigrator, StoreError, deadline,
    postgres::PostgresConfig,
    sqlite::{SqliteConfig, begin_immediate},
};
use sqlx::{PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction};

pub(crate) use queue::JobQueue;
pub(crate) use url::DatabaseUrl;

/// How long to wait for a free connection, and on SQLite for another writer. Shorter than
/// the time limit of a statement, which begins after it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the migrations may take, and wait for those of another process.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(10);

/// How many expired records or ended jobs are deleted at once: few milliseconds on either database.
const PURGE_BATCH: u32 = 1_000;

/// When Postgres ends a statement by itself: a backend that waits for a lock does not notice that
/// its client has left. One text with `BEGIN`, so that it costs no round trip, and `LOCAL`, so that
/// it works behind a pooler in transaction mode.
const BEGIN_WRITE: &str = "begin; set local statement_timeout = '4s'";
const BEGIN_READ: &str = "begin read only; set local statement_timeout = '4s'";

/// The records of idempotency keys, in the same database.
#[derive(Debug, Clone)]
pub(crate) enum IdempotencyRecords {
    Postgres(PostgresStore),
    Sqlite(SqliteStore),
}

/// A pool of connections to the database. Cloning it is cheap.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// Everything that happens between `begin` and `commit`, or none of it: dropped without a
/// [`commit`](Self::commit), it is rolled back.
#[derive(Debug)]
pub(crate) enum UnitOfWork {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

/// What the repositories work on: a connection borrowed from a unit of work, whoever began it.
#[derive(Debug)]
pub(crate) enum Connection<'c> {
    Postgres(&'c mut PgConnection),
    Sqlite(&'c mut SqliteConnection),
}

/// Runs one sqlx call on a [`Connection`] of either kind: `on_both!(connection, c => query.execute(c).await)`.
macro_rules! on_both {
    ($connection:expr, $c:ident => $call:expr) => {
        match $connection {
            $crate::database::Connection::Postgres($c) => $call,
            $crate::database::Connection::Sqlite($c) => $call,
        }
    };
}
pub(crate) use on_both;

impl IdempotencyRecords {
    /// Deletes what has expired.
    pub(crate) async fn purge(&self) -> Result<u64, StoreError> {
        match self {
            Self::Postgres(store) => store.purge_expired(PURGE_BATCH).await,
            Self::Sqlite(store) => store.purge_expired(PURGE_BATCH).await,
        }
    }
}

impl Database {
    /// Connects, and brings the tables up to date.
    pub(crate) async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        match url {
            DatabaseUrl::Postgres { url, .. } => {
                let config = PostgresConfig::new(url)
                    .expect("the configuration has parsed this URL before")
                    .with_acquire_timeout(ACQUIRE_TIMEOUT)
                    .with_application_name("orders");
                let pool = config.connect().await?;
                PostgresMigrator::new(migrations::POSTGRES, SchemaName::default())
                    .with_timeout(MIGRATION_TIMEOUT)
                    .migrate(&pool)
                    .await?;
                PostgresStore::new(pool.clone()).migrate().await?;
                purlin_jobs::PostgresStore::new(pool.clone())
                    .migrate()
                    .await?;
                Ok(Self::Postgres(pool))
            }
            DatabaseUrl::Sqlite { path } => {
                let config = SqliteConfig::new(path).with_busy_timeout(ACQUIRE_TIMEOUT);
                let pool = config.connect().await?;
                SqliteMigrator::new(migrations::SQLITE)
                    .with_timeout(MIGRATION_TIMEOUT)
                    .migrate(&pool)
                    .await?;
                SqliteStore::new(pool.clone()).migrate().await?;
                purlin_jobs::SqliteStore::new(pool.clone())
                    .migrate()
                    .await?;
                Ok(Self::Sqlite(pool))
            }
        }
    }

    /// Begins a unit of work that writes.
    pub(crate) async fn begin(&self) -> Result<UnitOfWork, StoreError> {
        Ok(match self {
            Self::Postgres(pool) => UnitOfWork::Postgres(pool.begin_with(BEGIN_WRITE).await?),
            Self::Sqlite(pool) => UnitOfWork::Sqlite(begin_immediate(pool).await?),
        })
    }

    /// Begins a unit of work that only reads, and needs no commit. On SQLite it waits for nobody.
    pub(crate) async fn begin_read(&self) -> Result<UnitOfWork, StoreError> {
        Ok(match self {
            Self::Postgres(pool) => UnitOfWork::Postgres(pool.begin_with(BEGIN_READ).await?),
            Self::Sqlite(pool) => UnitOfWork::Sqlite(pool.begin().await?),
        })
    }

    /// The records of idempotency keys. To be made once: what is made twice does not know of the
    /// other's requests.
    pub(crate) fn idempotency_records(&self) -> IdempotencyRecords {
        match self {
            Self::Postgres(pool) => {
                let store = PostgresStore::new(pool.clone()).with_begin(BEGIN_WRITE);
                IdempotencyRecords::Postgres(store)
            }
            Self::Sqlite(pool) => IdempotencyRecords::Sqlite(SqliteStore::new(pool.clone())),
        }
    }

    /// The queue of jobs. To be made once, as the records of keys.
    pub(crate) fn job_queue(&self) -> JobQueue {
        JobQueue::new(self)
    }

    /// Asks the database for a sign of life.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), StoreError> {
        deadline(self.name(), "ping", limit, async {
            let mut work = self.begin_read().await?;
            on_both!(work.connection(), c => sqlx::query("select 1").execute(c).await.map(drop))?;
            Ok::<_, StoreError>(())
        })
        .await
    }

    /// Lets go of all connections; those that are in use as soon as they are back.
    pub(crate) async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite(pool) => pool.close().await,
        }
    }

    /// For errors and logs.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
        }
    }
}

impl Connection<'_> {
    /// The same connection for one of several calls.
    pub(crate) fn reborrow(&mut self) -> Connection<'_> {
        match self {
            Self::Postgres(connection) => Connection::Postgres(connection),
            Self::Sqlite(connection) => Connection::Sqlite(connection),
        }
    }
}

impl UnitOfWork {
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Postgres(transaction) => Connection::Postgres(transaction),
            Self::Sqlite(transaction) => Connection::Sqlite(transaction),
        }
    }

    /// Makes it last. When this fails it is not known whether it did.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(transaction) => transaction.commit().await?,
            Self::Sqlite(transaction) => transaction.commit().await?,
        }
        Ok(())
    }
}
