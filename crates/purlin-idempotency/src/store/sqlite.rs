mod guard;
mod lease;
mod row;
mod sql;
mod under_way;
mod unit_of_work;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use purlin_store::{
    Clock, Migration, Migrations, SqliteMigrator, StoreError, SystemClock, deadline, unix_micros,
};
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteQueryResult};
use sqlx::{Sqlite, SqliteConnection, query::Query};
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::row::{after, stored};
use self::under_way::UnderWay;
use super::{Completion, Fenced, Lease, Nonce};
use crate::{Fingerprint, Inbox, Received, RecordId};

const NAME: &str = "sqlite";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The only right of this store to write.
type Turn = OwnedMutexGuard<()>;

type Statement = Query<'static, Sqlite, SqliteArguments>;

const MIGRATIONS: Migrations = Migrations::new(
    "idempotency",
    &[Migration::new(
        1,
        "create",
        1,
        include_str!("../../migrations/sqlite/0001_create.sql"),
        include_str!("../../migrations/sqlite/0001_create.down.sql"),
    )],
);

/// Records in an SQLite file: for both guarantees on one host, in one process or several. They
/// survive `kill -9`, and a loss of power as far as the pool's
/// [`Durability`](purlin_store::sqlite::Durability) says.
///
/// The pool is one of [`SqliteConfig`](purlin_store::sqlite::SqliteConfig) (WAL, a busy timeout, and
/// connections whose transaction SQLite has rolled back by itself are closed).
///
/// # Statements
///
/// | | statements | commits |
/// |---|---|---|
/// | `claim`: new, or a lapsed lease taken over | 2 | 1 |
/// | `claim`: there is a record; `get` | 1, a read without a lock | 0 |
/// | `extend`, `complete`, `release`, `abandon`, `remove`, `erase_scope`, `purge_expired` | 1 | 1 |
/// | a unit of work: `begin`, handler, `commit` | 2 beside `BEGIN`, the handler's and `COMMIT` | none but that `COMMIT` |
/// | a unit of work: `begin`, handler, `refuse` | 2 beside `BEGIN`, the handler's and `ROLLBACK` | 1 |
/// | `begin`: there is a record | 1; without the lock while this process writes | 0 |
/// | `begin`: this process is writing | 1 more | 0 |
/// | `begin`: at work in this process | 0 | 0 |
/// | `complete_in`, `receive_in` | 1 | 0 |
///
/// # Writers wait for each other
///
/// A file has one writer at a time. A unit of work is a writer from `begin` to its end: other writes,
/// those for other ids and those of a handler beside its transaction included, wait for it. Those
/// through this store wait in the order in which they came, without a connection, for up to the
/// pool's time limit for one, and fail with [`Timeout`](purlin_store::StoreErrorKind::Timeout). Those
/// of other processes wait for up to the busy timeout and fail with
/// [`Conflict`](purlin_store::StoreErrorKind::Conflict). Replays do not wait for this process; for
/// another one that is writing they may, for as long as the busy timeout.
///
/// Clones share that queue, and the table of ids that are under way, by which a duplicate in the
/// same process is told so at once. Make one store for each process and clone it.
///
/// # Hooks
///
/// SQLite may roll a transaction back by itself, when the disk is full or by `ON CONFLICT ROLLBACK`. A
/// unit of work sets the commit hook and the rollback hook of its connection, so that what a handler
/// writes after that is refused, as is a `COMMIT` of its own, and removes them at its end. Hooks of the
/// application on the pool's connections are lost by this; a handler that sets one of the two in the
/// transaction loses the protection.
///
/// # Time
///
/// It is the clock of the process, read before a write waits for another process: a lease is at
/// most shorter than was asked for.
///
/// # Cancel safety
///
/// Each call is one atomic statement or ends a transaction, so that a future that is dropped leaves
/// the state from before or from after.
#[derive(Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    under_way: UnderWay,
    writer: Arc<Mutex<()>>,
}

impl SqliteStore {
    /// A store in the file of this pool. The tables are made by [`migrate`](Self::migrate).
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        Self {
            pool,
            clock: Arc::new(SystemClock),
            timeout: DEFAULT_TIMEOUT,
            under_way: UnderWay::default(),
            writer: Arc::default(),
        }
    }

    /// Judges leases and expiry by this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long one call may take. Default 30 s. The busy timeout of the pool, if shorter, ends the
    /// wait for another writer before that.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What makes and checks the tables: for their SQL, as [`SqliteMigrator::sql`] exports it, for
    /// the way back, and for another time limit.
    #[must_use]
    pub fn migrator() -> SqliteMigrator {
        SqliteMigrator::new(MIGRATIONS)
    }

    /// Makes the tables, or brings them up to date, and returns their version then.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteMigrator::migrate`].
    ///
    /// # Cancel safety
    ///
    /// All or nothing.
    pub async fn migrate(&self) -> Result<u32, StoreError> {
        Self::migrator().migrate(&self.pool).await
    }

    /// Says whether this code can work with the tables that are there.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteMigrator::check_schema`].
    ///
    /// # Cancel safety
    ///
    /// Reads only.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        Self::migrator().check_schema(&self.pool).await
    }

    /// [`complete`](super::IdempotencyStore::complete) within a transaction of the caller: the record is
    /// completed if and only if that is committed. Begin it with
    /// [`begin_immediate`](purlin_store::sqlite::begin_immediate).
    ///
    /// After [`Fenced::Lost`], and after an error of this or of any other statement, the caller must
    /// roll back: the work is somebody else's, or SQLite has rolled back already.
    ///
    /// # Errors
    ///
    /// [`Conflict`](purlin_store::StoreErrorKind::Conflict) when the transaction had not taken the
    /// write lock and another writer has it; `Unavailable`, `Timeout`, `Corrupt`, `Schema`.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the caller does not know whether the transaction has it: roll back.
    pub async fn complete_in(
        &self,
        connection: &mut SqliteConnection,
        lease: &Lease,
        completion: &Completion,
    ) -> Result<Fenced, StoreError> {
        let complete = self.completing(lease, completion).execute(connection);
        let done = deadline(NAME, "complete in", self.timeout, complete).await?;
        Ok(fenced(&done))
    }

    /// Remembers a message in the transaction of the caller that does its work, or says that this was
    /// done before. Begin it with [`begin_immediate`](purlin_store::sqlite::begin_immediate).
    ///
    /// After an error of this or of any other statement the caller must roll back.
    ///
    /// # Errors
    ///
    /// Those of [`complete_in`](Self::complete_in).
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the caller does not know whether the transaction has it: roll back.
    pub async fn receive_in(
        &self,
        connection: &mut SqliteConnection,
        inbox: &Inbox,
        message_id: &[u8],
    ) -> Result<Received, StoreError> {
        let id = inbox.record_id(message_id);
        let statement = self.keeping(&id, None, &[], inbox.retention());
        let receive = statement.execute(connection);
        let done = deadline(NAME, "receive in", self.timeout, receive).await?;
        Ok(match done.rows_affected() {
            0 => Received::Duplicate,
            _ => Received::First,
        })
    }

    fn now(&self) -> i64 {
        unix_micros(self.clock.now())
    }

    /// Waits until nobody else writes through this store, for as long as for a connection.
    ///
    /// SQLite would wait by itself, but in a connection that readers may need, and by looking again
    /// every now and then.
    async fn turn(&self, operation: &'static str) -> Result<Turn, StoreError> {
        let limit = self.pool.options().get_acquire_timeout();
        let turn = Arc::clone(&self.writer).lock_owned();
        let turn = async { Ok::<_, StoreError>(turn.await) };
        deadline(NAME, operation, limit, turn).await
    }

    /// The turn of this process, if nobody in it is writing.
    fn free_turn(&self) -> Option<Turn> {
        Arc::clone(&self.writer).try_lock_owned().ok()
    }

    /// Makes one write when its turn has come.
    async fn write<T>(
        &self,
        operation: &'static str,
        write: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        deadline(NAME, operation, self.timeout, async {
            let _turn = self.turn(operation).await?;
            Ok::<_, StoreError>(write.await?)
        })
        .await
    }

    /// A statement whose first parameters are a lease and the time.
    fn owned(&self, sql: &'static str, lease: &Lease) -> Statement {
        sqlx::query(sql)
            .bind(&lease.id.as_bytes()[..])
            .bind(stored(lease.attempt))
            .bind(&lease.nonce.as_bytes()[..])
            .bind(self.now())
    }

    fn completing(&self, lease: &Lease, completion: &Completion) -> Statement {
        let now = self.now();
        sqlx::query(sql::COMPLETE)
            .bind(&lease.id.as_bytes()[..])
            .bind(&lease.id.scope().as_bytes()[..])
            .bind(stored(lease.attempt))
            .bind(&lease.nonce.as_bytes()[..])
            .bind(&completion.fingerprint.as_bytes()[..])
            .bind(after(now, completion.retention))
            .bind(&completion.answer[..])
            .bind(now)
    }

    fn keeping(
        &self,
        id: &RecordId,
        fingerprint: Option<&Fingerprint>,
        answer: &[u8],
        retention: Duration,
    ) -> Statement {
        let now = self.now();
        sqlx::query(sql::KEEP)
            .bind(&id.as_bytes()[..])
            .bind(&id.scope().as_bytes()[..])
            .bind(&Nonce::new().as_bytes()[..])
            .bind(fingerprint.map(|fingerprint| &fingerprint.as_bytes()[..]))
            .bind(after(now, retention))
            .bind(answer)
            .bind(now)
    }
}

fn fenced(done: &SqliteQueryResult) -> Fenced {
    match done.rows_affected() {
        0 => Fenced::Lost,
        _ => Fenced::Applied,
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("clock", &self.clock)
            .field("timeout", &self.timeout)
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}
