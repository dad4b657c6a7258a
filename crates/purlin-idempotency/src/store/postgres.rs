mod joined;
mod record;
mod sql;
mod unit;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use purlin_store::{
    Clock, Migration, Migrations, PostgresMigrator, SchemaName, StoreError, SystemClock, deadline,
    postgres::{Pooling, PostgresRunner},
};
use sqlx::{PgPool, Postgres, Row as _, postgres::PgArguments, query::Query};

use self::record::Record;
use self::sql::Statements;
use super::{Claim, Claimed, Completion, Existing, Fenced, IdempotencyStore, Lease, LeaseLost};
use crate::{Fingerprint, RecordId, ScopeId};

const NAME: &str = "postgres";

const MIGRATIONS: Migrations = Migrations::new(
    "idempotency",
    &[Migration::new(
        1,
        "create",
        1,
        include_str!("../../migrations/postgres/0001_create.sql"),
        include_str!("../../migrations/postgres/0001_create.down.sql"),
    )],
);

const TIMEOUT: Duration = Duration::from_secs(30);

/// How long somebody is said to be at work whose transaction is about to end it, which is no lease
/// and has no end that is known.
const HELD: Duration = Duration::from_secs(1);

/// Records in a table of Postgres, for both guarantees (feature `postgres`, needs Postgres 12).
///
/// The table is made by [`migrate`](Self::migrate) or by the SQL of [`migrator`](Self::migrator). Whoever
/// uses it needs `usage` of the schema, `select`, `insert`, `update` and `delete` on
/// `purlin_idempotency_records`, `execute` on `purlin_idempotency_add` and
/// `purlin_idempotency_is_free`, which everybody has by default, and for
/// [`check_schema`](Self::check_schema) `select` on `purlin_idempotency_migrations`. Clones share the pool.
///
/// # Round trips
///
/// Statements are prepared once for each connection. What sqlx's pool adds when it lends a
/// connection (`test_before_acquire`, by default one trip) is not counted.
///
/// | call | [`Pooling::Session`] | [`Pooling::Transaction`] |
/// | --- | --- | --- |
/// | `claim` of a new key, or of one that has a record (which only reads) | 1 | 4 |
/// | `claim` that takes over a lapsed or expired record | 2 | 8 |
/// | `claim` of one that a transaction has locked | 3 | 12 |
/// | `extend`, `release`, `abandon`, `get`, `remove`, `erase_scope`, `purge_expired` | 1 | 4 |
/// | `complete` | 1 | 4 |
/// | `complete` without the record, or by a lease that is not the current one | 2 | 8 |
/// | `begin` of a new key: `BEGIN` and one statement | 2 | 3 |
/// | `begin` of one that has a record, or is being worked on; `ROLLBACK` is not waited for | 2 | 3 |
/// | `commit`: one statement and `COMMIT` | 2 | 3 |
/// | `refuse`: `ROLLBACK AND CHAIN`, one statement, `COMMIT` | 3 | 4 |
/// | `complete_in`, `receive_in`, in a transaction of the caller's | 1 | 2 |
///
/// # Locks
///
/// Nobody waits for a unit of work: a duplicate finds its advisory lock taken. A claim does not wait
/// for a row that [`complete_in`](Self::complete_in) has locked; `extend`, `complete`, `release`,
/// `abandon` and `remove` of that record do, until that transaction ends. So does a claim of an id
/// *without* a record that an uncommitted transaction has just added, which only
/// [`receive_in`](Self::receive_in) and the `complete_in` of a record that was gone do for long.
///
/// # Cancel safety
///
/// Every call of [`IdempotencyStore`] is one statement at a time, each atomic by itself.
/// `BEGIN` runs in a task of its own: sqlx gives a connection on which it was interrupted to the next
/// user with the transaction open. An application that shares the pool, and may be interrupted in
/// a `begin` of its own, needs a pool that cleans connections which come back, as that of
/// [`PostgresConfig`](purlin_store::postgres::PostgresConfig) does: otherwise a claim may be
/// acquired in such a transaction, and never committed.
#[derive(Clone)]
pub struct PostgresStore {
    runner: PostgresRunner,
    schema: SchemaName,
    sql: Arc<Statements>,
    clock: Arc<dyn Clock>,
    begin: &'static str,
    timeout: Duration,
}

impl PostgresStore {
    /// A store in the schema `public` of the database of `pool`.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        let schema = SchemaName::default();
        Self {
            runner: PostgresRunner::new(pool),
            sql: Arc::new(Statements::of(&schema)),
            schema,
            clock: Arc::new(SystemClock),
            begin: "begin",
            timeout: TIMEOUT,
        }
    }

    /// In another schema, which must exist.
    #[must_use]
    pub fn with_schema(mut self, schema: SchemaName) -> Self {
        self.sql = Arc::new(Statements::of(&schema));
        self.schema = schema;
        self
    }

    /// Judges leases and expiry by this clock; by default it is the server's `statement_timestamp()`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// What stands behind the pool. Default [`Pooling::Session`].
    #[must_use]
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.runner = self.runner.with_pooling(pooling);
        self
    }

    /// How a unit of work begins, where `begin` is not enough: for instance
    /// `begin; set local statement_timeout = '4s'`. What is set so does not hold any more when
    /// [`refuse`](super::UnitOfWork::refuse) adds its record.
    ///
    /// Isolation above `read committed` is possible; then a conflict that is otherwise
    /// [`Lost`](super::Settled::Lost) may be an error of kind
    /// [`Conflict`](purlin_store::StoreErrorKind::Conflict).
    #[must_use]
    pub fn with_begin(mut self, begin: &'static str) -> Self {
        self.begin = begin;
        self
    }

    /// How long one call may take, waiting for a connection and for locks included. Default 30 s.
    /// The layer has a limit of its own, which is shorter. `erase_scope` and `purge_expired` have none
    /// but that of the server.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes the table, or brings it to the version of this release, which is returned.
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

    /// Says whether the table that is there is one for this release, and changes nothing.
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

    async fn change_leased<'a>(
        &'a self,
        operation: &'static str,
        query: Query<'a, Postgres, PgArguments>,
    ) -> Result<Fenced, StoreError> {
        let changed = deadline(
            NAME,
            operation,
            self.timeout,
            self.runner.execute(None, query),
        )
        .await?;
        Ok(if changed > 0 {
            Fenced::Applied
        } else {
            Fenced::Lost
        })
    }

    /// A statement that begins with the clock.
    fn query(&self, sql: &sqlx::SqlStr) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(sql.clone()).bind(self.clock.override_micros())
    }

    /// A statement on the record of a lease.
    fn leased<'a>(&self, sql: &sqlx::SqlStr, lease: &'a Lease) -> Query<'a, Postgres, PgArguments> {
        self.query(sql)
            .bind(lease.id.as_bytes().as_slice())
            .bind(attempt(lease.attempt))
            .bind(lease.nonce.as_bytes().as_slice())
    }

    /// Tries to take over what stands in the way of a claim.
    async fn take_over(&self, claim: &Claim) -> Result<Option<Lease>, sqlx::Error> {
        let query = self
            .query(&self.sql.take_over)
            .bind(claim.id.as_bytes().as_slice())
            .bind(claim.nonce.as_bytes().as_slice())
            .bind(fingerprint(claim.fingerprint.as_ref()))
            .bind(micros(claim.lease_ttl))
            .bind(micros(claim.unresolved_ttl))
            .bind(claim.lease_lost == LeaseLost::Reexecute);
        let Some(row) = self.runner.fetch_optional(None, query).await? else {
            return Ok(None);
        };
        Ok(Some(Lease {
            id: claim.id,
            attempt: record::attempt(&row)?,
            nonce: claim.nonce,
        }))
    }

    /// What one round of a claim finds; `None` when somebody was there between two looks.
    async fn try_claim(&self, claim: &Claim) -> Result<Option<Found>, sqlx::Error> {
        let query = self
            .query(&self.sql.claim)
            .bind(claim.id.as_bytes().as_slice())
            .bind(claim.id.scope().as_bytes().to_vec())
            .bind(claim.nonce.as_bytes().as_slice())
            .bind(fingerprint(claim.fingerprint.as_ref()))
            .bind(micros(claim.lease_ttl))
            .bind(micros(claim.unresolved_ttl));
        let row = self
            .runner
            .fetch_optional(None, query)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;
        if row.try_get::<Option<bool>, _>("fresh")? == Some(true) {
            return Ok(Some(Found::Settled(Claimed::Acquired(Lease {
                id: claim.id,
                attempt: 1,
                nonce: claim.nonce,
            }))));
        }
        let Some(record) = Record::read(&row)? else {
            return Ok(None);
        };
        if let Some(lease) = record.live_lease(claim.id, claim.nonce) {
            return Ok(Some(Found::Settled(Claimed::Acquired(lease))));
        }
        let lapsed = record.is_lapsed()
            && claim.lease_lost == LeaseLost::Reexecute
            && record.fits(claim.fingerprint);
        Ok(Some(if record.expired || lapsed {
            Found::Free(record)
        } else {
            Found::Settled(Claimed::Existing(record.into()))
        }))
    }

    async fn claim_record(&self, claim: &Claim) -> Result<Claimed, sqlx::Error> {
        let mut tried = false;
        loop {
            match self.try_claim(claim).await? {
                None => {}
                Some(Found::Settled(claimed)) => return Ok(claimed),
                // It could not be taken over and still looks as if it could: its row is locked.
                Some(Found::Free(record)) if tried => {
                    return Ok(Claimed::Existing(record.held(HELD)));
                }
                Some(Found::Free(_)) => {
                    if let Some(lease) = self.take_over(claim).await? {
                        return Ok(Claimed::Acquired(lease));
                    }
                    tried = true;
                }
            }
        }
    }
}

enum Found {
    Settled(Claimed),
    /// A record that may be taken over.
    Free(Record),
}

#[async_trait]
impl IdempotencyStore for PostgresStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        deadline(NAME, "claim", self.timeout, self.claim_record(claim)).await
    }

    async fn extend(&self, lease: &Lease, ttl: Duration) -> Result<Fenced, StoreError> {
        let query = self.leased(&self.sql.extend, lease).bind(micros(ttl));
        self.change_leased("extend", query).await
    }

    async fn complete(&self, lease: &Lease, completion: &Completion) -> Result<Fenced, StoreError> {
        let done = self.complete_record(None, lease, completion);
        deadline(NAME, "complete", self.timeout, done).await
    }

    async fn release(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        let query = self.leased(&self.sql.release, lease);
        self.change_leased("release", query).await
    }

    async fn abandon(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        let query = self.leased(&self.sql.abandon, lease);
        self.change_leased("abandon", query).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Existing>, StoreError> {
        let query = self.query(&self.sql.get).bind(id.as_bytes().as_slice());
        deadline(NAME, "get", self.timeout, async {
            let row = self.runner.fetch_optional(None, query).await?;
            let record = row.as_ref().map(Record::read).transpose()?.flatten();
            let visible = record.filter(|record| !record.expired);
            Ok::<_, sqlx::Error>(visible.map(Existing::from))
        })
        .await
    }

    async fn remove(&self, id: &RecordId) -> Result<bool, StoreError> {
        let query = self.query(&self.sql.remove).bind(id.as_bytes().as_slice());
        deadline(NAME, "remove", self.timeout, async {
            let row = self.runner.fetch_optional(None, query).await?;
            row.map_or(Ok(false), |row| row.try_get("visible"))
        })
        .await
    }

    async fn erase_scope(&self, scope: &ScopeId) -> Result<u64, StoreError> {
        let query = self
            .query(&self.sql.erase)
            .bind(scope.as_bytes().as_slice());
        deadline(NAME, "erase scope", Duration::MAX, async {
            let row = self
                .runner
                .fetch_optional(None, query)
                .await?
                .ok_or(sqlx::Error::RowNotFound)?;
            Ok::<_, sqlx::Error>(row.try_get::<i64, _>("erased")?.unsigned_abs())
        })
        .await
    }

    async fn purge_expired(&self, limit: u32) -> Result<u64, StoreError> {
        let query = self.query(&self.sql.purge).bind(i64::from(limit));
        deadline(
            NAME,
            "purge expired",
            Duration::MAX,
            self.runner.execute(None, query),
        )
        .await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("schema", &self.schema)
            .field("clock", &self.clock)
            .field("pooling", &self.runner.pooling())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// As long as nobody will wait for, since a date of Postgres has an end too.
fn micros(ttl: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    i64::try_from(ttl.min(CENTURY).as_micros()).unwrap_or(i64::MAX)
}

/// No attempt that was stored is greater than `i64::MAX`.
fn attempt(attempt: u64) -> i64 {
    i64::try_from(attempt).unwrap_or(-1)
}

fn fingerprint(fingerprint: Option<&Fingerprint>) -> Option<&[u8]> {
    fingerprint.map(|fingerprint| fingerprint.as_bytes().as_slice())
}
