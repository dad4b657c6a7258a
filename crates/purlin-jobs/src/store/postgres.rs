mod admin;
mod enqueue;
mod flows;
mod limits;
mod listen;
mod low_water;
mod notes;
mod row;
mod schedules;
mod settle;
mod sql;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use purlin_store::{
    Clock, Migration, Migrations, PostgresMigrator, SchemaName, StoreError, StoreErrorKind,
    SystemClock, deadline,
    postgres::{Pooling, PostgresRunner},
};
use sqlx::{
    PgPool, Postgres, Row as _, SqlStr,
    postgres::{PgArguments, PgPoolOptions, types::PgInterval},
    query::Query,
};
use tokio::time::Instant;
use uuid::Uuid;

use self::listen::Deaf;
use self::low_water::LowWater;
use self::sql::{BATCH, Statements};
use super::limits::{GROUP_WINDOW, Hints};
use super::{
    Beat, Claim, Claimed, Enqueued, Entry, JobStore, LimitStore, NoteStore, Promoted, Rescue,
    Rescued, ScheduleStore, Settled, Settlement, Wakeups,
};
use crate::{JobId, LeaseId, QueueName, WorkerId};

const NAME: &str = "postgres";

const MIGRATIONS: Migrations = Migrations::new(
    "jobs",
    &[Migration::new(
        1,
        "create",
        1,
        include_str!("../../migrations/postgres/0001_create.sql"),
        include_str!("../../migrations/postgres/0001_create.down.sql"),
    )],
);

const TIMEOUT: Duration = Duration::from_secs(30);

const CRASHED: &str = "the worker died while it had this job";

/// Jobs in tables of Postgres (feature `postgres`, needs Postgres 12).
///
/// The tables are made by [`migrate`](Self::migrate) or by the SQL of [`migrator`](Self::migrator). Whoever uses them
/// needs `usage` of the schema, `select`, `insert`, `update` and `delete` on the tables
/// `purlin_jobs_…`, and for [`check_schema`](Self::check_schema) `select` on `purlin_jobs_migrations`. Clones
/// share the pool.
///
/// # Round trips
///
/// Statements are prepared once for each connection. What sqlx's pool adds when it lends a
/// connection (`test_before_acquire`, by default one trip) is not counted.
///
/// | call | [`Pooling::Session`] | [`Pooling::Transaction`] |
/// | --- | --- | --- |
/// | `enqueue` of jobs without unique keys | 1 | 4 |
/// | `enqueue` of jobs with unique keys that are free | 5 | 8 |
/// | … with one that is taken: more, by 2 or 3 | 7 | 12 |
/// | `enqueue` of jobs of which some wait for others: one statement more, and a transaction | 4 | 5 |
/// | `claim`; 2 and 8 when it finds nothing, and has not looked at the whole queue | 1 | 4 |
/// | `claim` when a group was told something, or starts jobs by a rate; 3 and 12 if that admits what it returns | 2 | 8 |
/// | `settle`, `join`, `heartbeat`, `cancel`, `replay`, `get`, `list`, `counts`, `pause`, `resume` | 1 | 4 |
/// | `rescue` when no worker is dead | 1 | 4 |
/// | `rescue` when some are; one more if a job of theirs is settled at that moment | 3 | 12 |
/// | `leave` | 4 | 6 |
/// | `promote`, for each 1 000 jobs; one statement more when it reaches its limit | 1 | 4 |
/// | `limit_group`, `limit_queue`, `group` | 1 | 4 |
/// | `purge_finished`, for each 1 000 rows of a kind | 4 | 16 |
/// | `note`, `recall`, `result` | 1 | 4 |
/// | `signal`; 4 of them when the job has ended | 5 | 5 |
/// | `keep_in`, `recall_in`; `note_in` is 2 and 4 | 1 | 2 |
/// | `put_schedule`, `list_schedules`, `pause_schedule`, `resume_schedule`, `remove_schedule` | 1 | 4 |
/// | `fire_schedule` of jobs without unique keys; 3 when somebody else was faster | 4 | 6 |
/// | `enqueue_in` of jobs without unique keys | 1 | 2 |
/// | `complete_in` | 2 | 4 |
///
/// # Locks
///
/// A claim waits for nobody: it skips what others are taking. A settlement waits for a call that
/// changes the same job at that moment, and for a transaction that has said
/// [`complete_in`](super::TransactionalJobStore::complete_in) of the same job; not for one that has said it
/// of another job of the lease. Whoever enqueues a unique key waits for a transaction that has just
/// enqueued it or completed its job. Whoever ends a job that others wait for takes the row of each of
/// these, in which it counts, until it commits: jobs of one batch that are completed in transactions wait for
/// each other there, so complete them last. A rescue leaves out a job that somebody completes in a
/// transaction, until that ends; `leave` waits for it.
///
/// Calls that enqueue or end jobs of a [`Group`](crate::Group) wait for each other, one group after the other in the order of
/// their names, until the end of the call. Claims do not, but for those from a queue with a rate. `enqueue_in` and
/// `complete_in` lock no group, and leave word: who claims or promotes next admits jobs.
///
/// # Cancel safety
///
/// Every call is one statement or one transaction. `BEGIN` runs in a task of its own: sqlx gives a
/// connection on which it was interrupted to the next user with the transaction open. An
/// application that shares the pool, and may be interrupted in a `begin` of its own, needs a pool
/// that cleans connections which come back, as that of
/// [`PostgresConfig`](purlin_store::postgres::PostgresConfig) does.
#[derive(Clone)]
pub struct PostgresStore {
    runner: PostgresRunner,
    schema: SchemaName,
    sql: Arc<Statements>,
    channel: Arc<str>,
    low_water: Arc<LowWater>,
    hints: Arc<Hints>,
    window: u32,
    clock: Arc<dyn Clock>,
    listens: bool,
    timeout: Duration,
}

impl PostgresStore {
    /// A store in the schema `public` of the database of `pool`.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        let schema = SchemaName::default();
        Self {
            runner: PostgresRunner::new(pool),
            sql: Arc::new(Statements::of(
                &schema,
                &listen::channel(&schema),
                GROUP_WINDOW,
            )),
            channel: listen::channel(&schema).into(),
            schema,
            low_water: Arc::default(),
            hints: Arc::default(),
            window: GROUP_WINDOW,
            clock: Arc::new(SystemClock),
            listens: true,
            timeout: TIMEOUT,
        }
    }

    /// In another schema, which must exist.
    #[must_use]
    pub fn with_schema(mut self, schema: SchemaName) -> Self {
        self.channel = listen::channel(&schema).into();
        self.schema = schema;
        self.with_statements()
    }

    fn with_statements(mut self) -> Self {
        let statements = Statements::of(&self.schema, &self.channel, self.window);
        self.sql = Arc::new(statements);
        self
    }

    /// How many jobs of a group that declares no limit are ready or leased at a time. Default 16; at least 1.
    #[must_use]
    pub fn with_group_window(mut self, jobs: u32) -> Self {
        self.window = jobs.clamp(1, i32::MAX.unsigned_abs());
        self.with_statements()
    }

    /// Judges all times by this clock; by default it is the server's `statement_timestamp()`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// What stands behind the pool. Default [`Pooling::Session`]. Behind a pooler of transactions
    /// nobody can listen: workers poll.
    #[must_use]
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.runner = self.runner.with_pooling(pooling);
        self
    }

    /// Whether [`wakeups`](JobStore::wakeups) listens for notifications, on one connection that is not of the pool.
    /// Default `true`. Otherwise workers hear of jobs when they poll. Whoever enqueues notifies in
    /// any case.
    #[must_use]
    pub fn with_listen(mut self, listens: bool) -> Self {
        self.listens = listens;
        self
    }

    /// How long one call may take, waiting for a connection and for locks included. Default 30 s.
    /// `list`, `counts` and `purge_finished` have no limit but that of the server.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes the tables, or brings them to the version of this release, which is returned.
    ///
    /// # Errors
    ///
    /// Those of [`PostgresMigrator::migrate`].
    ///
    /// # Cancel safety
    ///
    /// All or nothing.
    pub async fn migrate(&self) -> Result<u32, StoreError> {
        self.migrator().migrate(self.runner.pool()).await
    }

    /// Says whether the tables that are there are those of this release, and changes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`PostgresMigrator::check_schema`].
    ///
    /// # Cancel safety
    ///
    /// Reads only.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        self.migrator().check_schema(self.runner.pool()).await
    }

    /// What migrates, for teams that want the SQL
    /// ([`sql`](PostgresMigrator::sql), [`revert_sql`](PostgresMigrator::revert_sql)) or the way back
    /// ([`revert_to`](PostgresMigrator::revert_to)).
    #[must_use]
    pub fn migrator(&self) -> PostgresMigrator {
        PostgresMigrator::new(MIGRATIONS, self.schema.clone())
    }

    /// A statement that begins with the clock.
    fn query(&self, sql: &SqlStr) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(sql.clone()).bind(self.clock.override_micros())
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        let (claimed, is_stirred) = self.claim_ready(claim).await?;
        if is_stirred {
            let admitted = self.open_mail(None).await?;
            if admitted > 0 && claimed.is_empty() {
                return Ok(self.claim_from(claim, None).await?.0);
            }
        }
        Ok(claimed)
    }

    /// What is ready, and whether a group was told something.
    async fn claim_ready(&self, claim: &Claim) -> Result<(Vec<Claimed>, bool), StoreError> {
        let start = self.low_water.start(&claim.queue);
        let (claimed, is_stirred) = self.claim_from(claim, start).await?;
        if claimed.len() >= claim.limit.into()
            || start.is_none()
            || !self.low_water.may_look(&claim.queue)
        {
            return Ok((claimed, is_stirred));
        }
        self.low_water.forget(Some(&claim.queue));
        if claimed.is_empty() {
            return self.claim_from(claim, None).await;
        }
        Ok((claimed, is_stirred))
    }

    async fn claim_from(
        &self,
        claim: &Claim,
        start: Option<i64>,
    ) -> Result<(Vec<Claimed>, bool), StoreError> {
        let begun = Instant::now();
        let rows = loop {
            let query = self
                .query(&self.sql.claim)
                .bind(claim.worker.as_uuid())
                .bind(claim.lease.as_uuid())
                .bind(claim.queue.as_str())
                .bind(&claim.kinds)
                .bind(start.map(micros))
                .bind(i64::from(claim.limit))
                .bind(lock_key(claim.lease));
            match self.runner.fetch_all(None, query).await {
                // The same claim was under way and has been committed meanwhile.
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                fetched => break fetched?,
            }
        };
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        if !first.try_get("is_alive")? {
            return Err(StoreError::new(StoreErrorKind::Conflict, NAME, "claim")
                .with_source("the worker is not known, or was taken for dead"));
        }
        if let Some(highest) = row::micros(first, "highest")? {
            let took = begun.elapsed();
            self.low_water.claimed(&claim.queue, start, highest, took);
        }
        self.hints
            .more_in(&claim.queue, row::micros_of(first, "more_in")?);
        let is_stirred = first.try_get("is_stirred")?;
        let nothing = first.try_get::<Option<Uuid>, _>("id")?.is_none();
        let rows = if nothing { &[][..] } else { &rows[..] };
        let claimed = rows.iter().map(row::claimed).collect::<Result<_, _>>()?;
        Ok((claimed, is_stirred))
    }

    async fn try_rescue(&self, rescue: &Rescue) -> Result<Rescued, sqlx::Error> {
        let looked = self
            .runner
            .fetch_one(None, self.query(&self.sql.is_any_dead));
        if !looked.await?.try_get::<bool, _>("is_any")? {
            return Ok(Rescued::default());
        }
        let limit = i64::from(rescue.limit);
        let mark = self.query(&self.sql.mark_dead).bind(limit);
        self.runner.execute(None, mark).await?;
        let mut rescued = Rescued::default();
        // What was settled while the first one waited is not seen by it, but by the second.
        for _ in 0..2 {
            let query = self
                .query(&self.sql.rescue)
                .bind(limit)
                .bind(i32::from(rescue.max_crashes))
                .bind(CRASHED)
                .bind(&*self.channel);
            let row = self.runner.fetch_one(None, query).await?;
            self.heard(&row)?;
            let count = |column| row::count(&row, column).map(saturating);
            rescued.workers += count("workers")?;
            rescued.ready += count("ready")?;
            rescued.dead += count("dead")?;
            if !row.try_get::<bool, _>("is_any_left")? {
                break;
            }
        }
        self.low_water.forget(None);
        Ok(rescued)
    }

    async fn try_leave(&self, worker: WorkerId) -> Result<(), sqlx::Error> {
        let mut transaction = self.runner.begin("begin").await?;
        let forget = sqlx::query(self.sql.forget.clone()).bind(worker.as_uuid());
        self.runner
            .fetch_all(Some(&mut *transaction), forget)
            .await?;
        let give_back = self
            .query(&self.sql.give_back)
            .bind(worker.as_uuid())
            .bind(&*self.channel);
        let given_back = self.runner.fetch_one(Some(&mut *transaction), give_back);
        self.heard(&given_back.await?)?;
        transaction.commit().await?;
        self.low_water.forget(None);
        Ok(())
    }

    async fn try_promote(&self, limit: u32) -> Result<Promoted, sqlx::Error> {
        let (mut jobs, mut moved) = (0, 0);
        loop {
            let batch = (limit - moved).min(BATCH);
            let query = self
                .query(&self.sql.promote)
                .bind(i64::from(batch))
                .bind(&*self.channel);
            let row = self.runner.fetch_one(None, query).await?;
            let due = saturating(row::count(&row, "moved")?);
            moved += due;
            let (admitted, due_in) = self.heard(&row)?;
            jobs += saturating(row::count(&row, "placed")? + admitted);
            let may_be_more = due == batch;
            if may_be_more && moved < limit {
                continue;
            }
            if jobs > 0 {
                self.low_water.forget(None);
            }
            let next_in = if may_be_more {
                let next = self.runner.fetch_one(None, self.query(&self.sql.next_in));
                row::duration(&next.await?, "next_in")?
            } else {
                let next_in = row::duration(&row, "next_in")?;
                next_in.into_iter().chain(due_in).min()
            };
            return Ok(Promoted { jobs, next_in });
        }
    }
}

#[async_trait]
impl JobStore for PostgresStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn enqueue(&self, jobs: &[Entry]) -> Result<Vec<Enqueued>, StoreError> {
        deadline(NAME, "enqueue", self.timeout, self.add(None, jobs)).await
    }

    fn carries_flows(&self) -> bool {
        true
    }

    async fn join(&self, worker: WorkerId, ttl: Duration) -> Result<(), StoreError> {
        let query = self
            .query(&self.sql.join)
            .bind(worker.as_uuid())
            .bind(interval(ttl));
        deadline(NAME, "join", self.timeout, self.runner.execute(None, query)).await?;
        Ok(())
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        deadline(NAME, "claim", self.timeout, self.try_claim(claim)).await
    }

    async fn settle(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        let settled = self.settle_leased(lease, settlements);
        deadline(NAME, "settle", self.timeout, settled).await
    }

    async fn heartbeat(&self, worker: WorkerId, ttl: Duration) -> Result<Beat, StoreError> {
        let query = self
            .query(&self.sql.heartbeat)
            .bind(worker.as_uuid())
            .bind(interval(ttl));
        deadline(NAME, "heartbeat", self.timeout, async {
            let row = self.runner.fetch_one(None, query).await?;
            if !row.try_get("is_alive")? {
                return Ok(Beat::Lost);
            }
            let cancel: Vec<JobId> = row::ids(&row)?;
            Ok::<_, sqlx::Error>(Beat::Alive { cancel })
        })
        .await
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        deadline(NAME, "leave", self.timeout, self.try_leave(worker)).await
    }

    async fn rescue(&self, rescue: &Rescue) -> Result<Rescued, StoreError> {
        deadline(NAME, "rescue", self.timeout, self.try_rescue(rescue)).await
    }

    async fn promote(&self, limit: u32) -> Result<Promoted, StoreError> {
        deadline(NAME, "promote", self.timeout, self.try_promote(limit)).await
    }

    fn apart(&self) -> Arc<dyn JobStore> {
        let runner =
            PostgresRunner::new(single(self.runner.pool())).with_pooling(self.runner.pooling());
        Arc::new(Self {
            runner,
            ..self.clone()
        })
    }

    async fn wakeups(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        if !self.listens || self.runner.pooling() != Pooling::Session {
            return Ok(Box::new(Deaf));
        }
        let listens = listen::ear(self.runner.pool(), self.channel.to_string(), queues);
        let ear = deadline(NAME, "listen", self.timeout, listens).await?;
        Ok(Box::new(ear))
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

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("schema", &self.schema)
            .field("clock", &self.clock)
            .field("pooling", &self.runner.pooling())
            .field("listens", &self.listens)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// One connection, which is made when it is needed and kept, to the server of `pool`.
fn single(pool: &PgPool) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with((*pool.connect_options()).clone())
}

/// As long as nobody will wait for, since a date of Postgres has an end too.
fn interval(duration: Duration) -> PgInterval {
    const LONGEST: Duration = Duration::from_secs(10_000 * 365 * 86_400);
    micros(
        duration
            .min(LONGEST)
            .as_micros()
            .try_into()
            .unwrap_or(i64::MAX),
    )
}

fn micros(microseconds: i64) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds,
    }
}

/// Advisory locks share one space of 64-bit keys with everybody else in the database: the random half of
/// the id is one that nobody else takes.
fn lock_key(lease: LeaseId) -> i64 {
    let (_, random) = lease.as_uuid().as_u64_pair();
    random.cast_signed()
}

fn saturating(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
