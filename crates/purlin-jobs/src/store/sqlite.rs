mod adding;
mod admin;
mod claiming;
mod flows;
mod groups;
mod notes;
mod promoting;
mod row;
mod schedules;
mod settling;
mod sql;
mod wakeups;
mod workers;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use purlin_store::sqlite::begin_immediate;
use purlin_store::{
    Clock, Migration, Migrations, SqliteMigrator, StoreError, SystemClock, deadline, unix_micros,
};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use self::groups::Stirred;
use self::row::Micros;
use self::wakeups::Changes;
use super::limits::{GROUP_WINDOW, Hints};
use super::{
    Beat, Claim, Claimed, Enqueued, Entry, JobStore, KeptResult, LimitStore, Note, NoteStore,
    Noted, Notes, Outcome, Promoted, Rescue, Rescued, ScheduleStore, Settled, Settlement,
    TransactionalJobStore, Wakeups,
};
use crate::{JobId, LeaseId, QueueName, WorkerId};

const NAME: &str = "sqlite";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_millis(50);

const MIGRATIONS: Migrations = Migrations::new(
    "jobs",
    &[Migration::new(
        1,
        "create",
        1,
        include_str!("../../migrations/sqlite/0001_create.sql"),
        include_str!("../../migrations/sqlite/0001_create.down.sql"),
    )],
);

/// Jobs in an SQLite file: for one host, in one process or several.
///
/// The pool is one of [`SqliteConfig`](purlin_store::sqlite::SqliteConfig) (WAL, a busy timeout, and
/// connections whose transaction SQLite has rolled back by itself are closed).
///
/// # What it survives
///
/// What a call has confirmed survives `kill -9` of every process that has the file open. With
/// [`Durability::PowerLoss`](purlin_store::sqlite::Durability::PowerLoss), the default, it survives a
/// loss of power too. With
/// [`Durability::ProcessCrash`](purlin_store::sqlite::Durability::ProcessCrash) (`synchronous=NORMAL`)
/// a loss of power takes the last commits back, all of them from some moment on and none before: jobs
/// that were enqueued since then are gone, and jobs that were done since then run again.
///
/// # Statements
///
/// All writes of a call are one transaction, so that there is one wait for the disk for a whole batch.
///
/// | | statements beside `BEGIN IMMEDIATE` and `COMMIT` |
/// |---|---|
/// | `enqueue` | 2, and 1 each when some are ready or scheduled; 2 more when some have a unique key; 1 when some replace others, and 2 for each that is replaced |
/// | `claim` | 5, and 1 when a unique key is held until the start; 2 when nothing is ready |
/// | `enqueue` of jobs of which some wait for others | 2 more |
/// | whatever ends jobs of flows | 1 to 9 more |
/// | `settle`, `complete_in` | 3, and 1 each when some are done, not done, put off, released, wait for a signal, and for each result; 1 when none was leased |
/// | `join` | 1 |
/// | `heartbeat` | 2 |
/// | `leave` | 6 |
/// | `rescue` | 6; 1 when nobody is dead |
/// | `put_schedule`, `list_schedules` | 1 |
/// | `fire_schedule` | 1, and those of `enqueue` when it is the first |
/// | `note`, `note_in` | 3; 1 when it is not leased |
/// | `signal` | 4, and 3 when it makes a job ready |
/// | `promote` | 4, and 1 before `BEGIN`; when nothing is due, that one alone |
///
/// Jobs with a group cost up to 9 more for each group of a call, and 2 more for each group and 1 for the call when
/// they are enqueued, claimed or settled.
/// Otherwise they do not depend on the number of jobs in a call. Each looks its rows up in an index. `list`
/// and `counts` read every job that is not done; a claim reads past jobs of kinds that it is not asked for.
///
/// # Writers wait for each other
///
/// A file has one writer at a time, and a caller's transaction that was given to
/// [`enqueue_in`](TransactionalJobStore::enqueue_in) or
/// [`complete_in`](TransactionalJobStore::complete_in) is one until it ends. Writes through this store
/// and its clones wait in the order in which they came, without a connection, for up to the pool's
/// time limit for one, and fail with [`Timeout`](purlin_store::StoreErrorKind::Timeout); for other
/// writers, in this process and in others, they wait for up to the busy timeout and fail with
/// [`Conflict`](purlin_store::StoreErrorKind::Conflict). Heartbeats are such other writers. Make one store
/// for each process and clone it.
///
/// # Wake-ups
///
/// What is made ready through this store and its clones wakes workers of the same process at once. What comes
/// by `enqueue_in` or from another process is found by `PRAGMA data_version`, asked on a
/// connection of its own beside the pool every [poll interval](Self::with_poll_interval).
///
/// # Time
///
/// It is the clock of the process, read when the write lock is there. All processes are on one host.
///
/// # Cancel safety
///
/// Each call is one transaction, so that a future that is dropped leaves the state from before or from
/// after.
#[derive(Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    poll_interval: Duration,
    writer: Arc<Mutex<()>>,
    changes: Arc<watch::Sender<()>>,
    hints: Arc<Hints>,
    window: u32,
}

impl SqliteStore {
    /// A store in the file of this pool. The tables are made by [`migrate`](Self::migrate).
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        Self {
            pool,
            clock: Arc::new(SystemClock),
            timeout: DEFAULT_TIMEOUT,
            poll_interval: DEFAULT_POLL_INTERVAL,
            writer: Arc::default(),
            changes: Arc::default(),
            hints: Arc::default(),
            window: GROUP_WINDOW,
        }
    }

    /// Judges times by this clock.
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

    /// How often [`Wakeups`] look for jobs of other processes and of callers' transactions. Default
    /// 50 ms; at least 1 ms.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How many jobs of a group that declares no limit are ready or leased at a time. Default 16; at least 1.
    #[must_use]
    pub fn with_group_window(mut self, jobs: u32) -> Self {
        self.window = jobs.max(1);
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

    fn now(&self) -> Micros {
        unix_micros(self.clock.now())
    }

    /// Begins to write when nobody else writes through this store, for which it waits as long as for
    /// a connection.
    ///
    /// SQLite would wait by itself, but in a connection that readers may need, and by looking again
    /// every now and then.
    async fn begin(&self, operation: &'static str) -> Result<Write, StoreError> {
        let limit = self.pool.options().get_acquire_timeout();
        let turn = Arc::clone(&self.writer).lock_owned();
        let turn = async { Ok::<_, StoreError>(turn.await) };
        let turn = deadline(NAME, operation, limit, turn).await?;
        Ok(Write {
            transaction: begin_immediate(&self.pool).await?,
            _turn: turn,
        })
    }

    async fn add(
        &self,
        connection: &mut SqliteConnection,
        jobs: &[Entry],
    ) -> Result<Vec<Enqueued>, StoreError> {
        let (now, mut stirred) = (self.now(), Stirred::new());
        let enqueued = adding::add(connection, jobs, now, &mut stirred).await?;
        self.admit(connection, &mut stirred, now).await?;
        Ok(enqueued)
    }

    /// Settles, and says whether others are ready by that.
    async fn end_jobs(
        &self,
        connection: &mut SqliteConnection,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<(Vec<Settled>, bool), StoreError> {
        let (now, mut stirred) = (self.now(), Stirred::new());
        let (settled, goes_on) =
            settling::settle(connection, lease, settlements, now, &mut stirred).await?;
        let admitted = self.admit(connection, &mut stirred, now).await?;
        Ok((settled, goes_on || admitted.jobs > 0))
    }

    /// Tells workers of this process that there may be jobs for them.
    fn wake(&self) {
        self.changes.send_replace(());
    }
}

/// A transaction that has the write lock. Rolled back on drop, and then the next one's turn.
#[derive(Debug)]
struct Write {
    transaction: Transaction<'static, Sqlite>,
    _turn: OwnedMutexGuard<()>,
}

impl Write {
    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

impl Deref for Write {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

#[async_trait]
impl JobStore for SqliteStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn enqueue(&self, jobs: &[Entry]) -> Result<Vec<Enqueued>, StoreError> {
        let enqueued = deadline(NAME, "enqueue", self.timeout, async {
            let mut write = self.begin("enqueue").await?;
            let enqueued = self.add(&mut write, jobs).await?;
            write.commit().await?;
            Ok::<_, StoreError>(enqueued)
        })
        .await?;
        self.wake();
        Ok(enqueued)
    }

    fn carries_flows(&self) -> bool {
        true
    }

    async fn join(&self, worker: WorkerId, ttl: Duration) -> Result<(), StoreError> {
        deadline(NAME, "join", self.timeout, async {
            let mut write = self.begin("join").await?;
            workers::join(&mut write, worker, self.now(), ttl).await?;
            write.commit().await
        })
        .await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        deadline(NAME, "claim", self.timeout, async {
            let mut write = self.begin("claim").await?;
            let (now, mut stirred) = (self.now(), Stirred::new());
            let (claimed, more_in) = claiming::claim(&mut write, claim, now, &mut stirred).await?;
            let admitted = self.admit(&mut write, &mut stirred, now).await?;
            write.commit().await?;
            self.hints.more_in(&claim.queue, more_in);
            if admitted.jobs > 0 {
                self.wake();
            }
            Ok::<_, StoreError>(claimed)
        })
        .await
    }

    async fn settle(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        let (settled, wakes) = deadline(NAME, "settle", self.timeout, async {
            let mut write = self.begin("settle").await?;
            let settled = self.end_jobs(&mut write, lease, settlements).await?;
            write.commit().await?;
            Ok::<_, StoreError>(settled)
        })
        .await?;
        let may_be_ready =
            |outcome: &Outcome| matches!(outcome, Outcome::Release | Outcome::Await { .. });
        if wakes || settlements.iter().any(|s| may_be_ready(&s.outcome)) {
            self.wake();
        }
        Ok(settled)
    }

    async fn heartbeat(&self, worker: WorkerId, ttl: Duration) -> Result<Beat, StoreError> {
        deadline(NAME, "heartbeat", self.timeout, async {
            let mut write = self.begin("heartbeat").await?;
            let beat = workers::beat(&mut write, worker, self.now(), ttl).await?;
            write.commit().await?;
            Ok::<_, StoreError>(beat)
        })
        .await
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        deadline(NAME, "leave", self.timeout, async {
            let mut write = self.begin("leave").await?;
            let (now, mut stirred) = (self.now(), Stirred::new());
            workers::leave(&mut write, worker, now, &mut stirred).await?;
            self.admit(&mut write, &mut stirred, now).await?;
            write.commit().await
        })
        .await?;
        self.wake();
        Ok(())
    }

    async fn rescue(&self, rescue: &Rescue) -> Result<Rescued, StoreError> {
        let (rescued, wakes) = deadline(NAME, "rescue", self.timeout, async {
            let mut write = self.begin("rescue").await?;
            let (now, mut stirred) = (self.now(), Stirred::new());
            let (rescued, goes_on) = workers::rescue(&mut write, rescue, now, &mut stirred).await?;
            let admitted = self.admit(&mut write, &mut stirred, now).await?;
            write.commit().await?;
            Ok::<_, StoreError>((rescued, goes_on || admitted.jobs > 0))
        })
        .await?;
        if wakes || rescued.ready > 0 {
            self.wake();
        }
        Ok(rescued)
    }

    async fn promote(&self, limit: u32) -> Result<Promoted, StoreError> {
        let promoted = deadline(NAME, "promote", self.timeout, async {
            if let Some(promoted) = promoting::nothing_due(&self.pool, self.now()).await? {
                return Ok(promoted);
            }
            let mut write = self.begin("promote").await?;
            let promoted = promoting::promote(&mut write, self, limit, self.now()).await?;
            write.commit().await?;
            Ok::<_, StoreError>(promoted)
        })
        .await?;
        if promoted.jobs > 0 {
            self.wake();
        }
        Ok(promoted)
    }

    fn apart(&self) -> Arc<dyn JobStore> {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with((*self.pool.connect_options()).clone());
        Arc::new(Self {
            pool,
            // Whoever has the turn may wait for a connection of a pool that handlers have emptied.
            writer: Arc::default(),
            ..self.clone()
        })
    }

    async fn wakeups(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        deadline(NAME, "wakeups", self.timeout, async {
            let changes = Changes::watch(self, queues).await?;
            Ok::<_, StoreError>(Box::new(changes) as Box<dyn Wakeups>)
        })
        .await
    }

    fn schedules(&self) -> Option<&dyn ScheduleStore> {
        Some(self)
    }

    fn limits(&self) -> Option<&dyn LimitStore> {
        Some(self)
    }

    fn notes(&self) -> Option<&dyn NoteStore> {
        Some(self)
    }
}

/// Begin the transaction with [`begin_immediate`]. After an error of a call, and of any other
/// statement, roll it back: SQLite may have done so already.
///
/// # Errors
///
/// [`Conflict`](purlin_store::StoreErrorKind::Conflict) when the transaction had not taken the write
/// lock and another writer has it, or has had it since the first read.
#[async_trait]
impl TransactionalJobStore<SqliteConnection> for SqliteStore {
    async fn enqueue_in(
        &self,
        connection: &mut SqliteConnection,
        jobs: &[Entry],
    ) -> Result<Vec<Enqueued>, StoreError> {
        deadline(NAME, "enqueue in", self.timeout, self.add(connection, jobs)).await
    }

    async fn complete_in(
        &self,
        connection: &mut SqliteConnection,
        lease: LeaseId,
        job: JobId,
    ) -> Result<Settled, StoreError> {
        deadline(NAME, "complete in", self.timeout, async {
            let outcome = Outcome::Done;
            let done = [Settlement { id: job, outcome }];
            let (settled, _) = self.end_jobs(connection, lease, &done).await?;
            Ok::<_, StoreError>(settled[0])
        })
        .await
    }

    async fn recall_in(
        &self,
        connection: &mut SqliteConnection,
        job: JobId,
    ) -> Result<Option<Notes>, StoreError> {
        let notes = notes::recall(connection, job, || self.now());
        deadline(NAME, "recall in", self.timeout, notes).await
    }

    async fn note_in(
        &self,
        connection: &mut SqliteConnection,
        lease: LeaseId,
        job: JobId,
        note: &Note,
    ) -> Result<Noted, StoreError> {
        let noted = notes::note(connection, lease, job, note, self.now());
        deadline(NAME, "note in", self.timeout, noted).await
    }

    async fn keep_in(
        &self,
        connection: &mut SqliteConnection,
        job: JobId,
        result: &KeptResult,
    ) -> Result<(), StoreError> {
        let kept = notes::keep(connection, job, result, self.now());
        deadline(NAME, "keep in", self.timeout, kept).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("clock", &self.clock)
            .field("timeout", &self.timeout)
            .field("poll_interval", &self.poll_interval)
            .finish_non_exhaustive()
    }
}
