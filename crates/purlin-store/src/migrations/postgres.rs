use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};

use crate::deadline::LONGEST_WAIT;
use crate::migrations::script::Script;
use crate::migrations::{Applied, Migrations};
use crate::{SchemaName, StoreError, StoreErrorKind, deadline};

const STORE: &str = "postgres";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Applies, checks and takes back the [`Migrations`] of one block in one schema of Postgres.
///
/// Every call is one explicit transaction without named statements, so it also works through
/// PgBouncer in transaction mode. Those that write take `pg_advisory_xact_lock` with a key of their
/// block and schema: of several processes that start at once, one migrates and the others find it
/// done. The lock goes with the transaction, so no error and no kill leaves it behind.
///
/// The schema must exist; who may create schemas is not for a library to decide.
#[derive(Debug, Clone)]
pub struct PostgresMigrator {
    migrations: Migrations,
    schema: SchemaName,
    timeout: Duration,
}

impl PostgresMigrator {
    /// The migrations of a block, for the tables in `schema`.
    #[must_use]
    pub fn new(migrations: Migrations, schema: SchemaName) -> Self {
        Self {
            migrations,
            schema,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// How long one call may take, waiting for locks included. Default 30 s.
    ///
    /// The server is told nine tenths of it as `lock_timeout`, so that it stops waiting by itself:
    /// a backend that waits for a lock does not notice that its client has left.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Applies the steps that are missing, all in one transaction, and returns the version of the
    /// tables then. Does nothing when there are none, nor when a newer release has migrated
    /// already in a way that this one can live with.
    ///
    /// # Errors
    ///
    /// [`Schema`](StoreErrorKind::Schema) when the tables are too new, or not the ones this code
    /// knows, or the schema does not exist; [`Conflict`](StoreErrorKind::Conflict) when a lock was
    /// not free in time; [`Timeout`](StoreErrorKind::Timeout);
    /// [`Refused`](StoreErrorKind::Refused) when the user may not create tables;
    /// [`Unavailable`](StoreErrorKind::Unavailable).
    ///
    /// # Cancel safety
    ///
    /// Dropped before the commit was sent, nothing has happened. Dropped later, all steps have
    /// been applied. Never a part of them.
    pub async fn migrate(&self, pool: &PgPool) -> Result<u32, StoreError> {
        deadline(STORE, "migrate", self.timeout, async {
            let script = self.script();
            let mut tx = self.begin_locked(pool).await?;
            run(&mut tx, script.create_table()).await?;
            let applied = self
                .migrations
                .judge(&self.rows(&mut tx).await?)
                .map_err(schema)?;
            let steps = self.migrations.after(applied);
            for step in steps {
                run(&mut tx, script.up(step)).await?;
            }
            tx.commit().await?;
            Ok::<_, StoreError>(steps.last().map_or(applied, |step| step.version))
        })
        .await
    }

    /// Says whether this code can work with the tables that are there, and changes nothing. To be
    /// called at start, by services that leave DDL to somebody else.
    ///
    /// # Errors
    ///
    /// [`Schema`](StoreErrorKind::Schema), with a [`SchemaError`](crate::SchemaError) that says
    /// what is missing, as the source; [`Timeout`](StoreErrorKind::Timeout),
    /// [`Refused`](StoreErrorKind::Refused), [`Unavailable`](StoreErrorKind::Unavailable).
    ///
    /// # Cancel safety
    ///
    /// Reads only.
    pub async fn check_schema(&self, pool: &PgPool) -> Result<(), StoreError> {
        deadline(STORE, "check schema", self.timeout, async {
            let mut tx = pool.begin().await?;
            let rows = if self.table_exists(&mut tx).await? {
                self.rows(&mut tx).await?
            } else {
                vec![]
            };
            tx.commit().await?;
            self.migrations.judge_complete(&rows).map_err(schema)
        })
        .await
    }

    /// Takes back every step beyond `version`, newest first, in one transaction, and returns the
    /// version of the tables then. 0 takes back everything, the bookkeeping table included.
    ///
    /// The way back deletes what the steps added, data included. Run it by the release that has
    /// the steps.
    ///
    /// # Errors
    ///
    /// As [`migrate`](Self::migrate); [`Schema`](StoreErrorKind::Schema) also when the tables have
    /// steps that this code does not know.
    ///
    /// # Cancel safety
    ///
    /// As [`migrate`](Self::migrate): all or nothing.
    pub async fn revert_to(&self, pool: &PgPool, version: u32) -> Result<u32, StoreError> {
        deadline(STORE, "revert", self.timeout, async {
            let script = self.script();
            let mut tx = self.begin_locked(pool).await?;
            if !self.table_exists(&mut tx).await? {
                return Ok(0);
            }
            let rows = self.rows(&mut tx).await?;
            let steps = self
                .migrations
                .judge_revert(&rows, version)
                .map_err(schema)?;
            for step in &steps {
                run(&mut tx, script.down(step)).await?;
            }
            if version == 0 {
                run(&mut tx, script.drop_table()).await?;
            }
            tx.commit().await?;
            let applied = rows.last().map_or(0, |row| row.version);
            Ok::<_, StoreError>(applied.min(version))
        })
        .await
    }

    /// The script that leads from `after` (0: from nothing) to the latest version, bookkeeping
    /// included, for teams that have a person or another tool run DDL. After it,
    /// [`check_schema`](Self::check_schema) is content and [`migrate`](Self::migrate) finds nothing
    /// to do. It is one transaction and holds the same lock as `migrate`.
    #[must_use]
    pub fn sql(&self, after: u32) -> String {
        self.script().forward(after)
    }

    /// The script that leads from the latest version back to `version`, bookkeeping included.
    #[must_use]
    pub fn revert_sql(&self, version: u32) -> String {
        self.script().back(version)
    }

    fn script(&self) -> Script<'_> {
        Script {
            migrations: &self.migrations,
            schema: Some(self.schema.quoted().to_string()),
            begin: format!("begin;\nselect pg_advisory_xact_lock({});", self.lock_key()),
            applied_at: "applied_at timestamptz not null default clock_timestamp()\n)",
        }
    }

    async fn begin_locked(
        &self,
        pool: &PgPool,
    ) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut tx = pool.begin().await?;
        let lock_timeout = self.timeout.min(LONGEST_WAIT) * 9 / 10;
        // 0 would be no limit at all.
        let lock_timeout = format!("{}ms", lock_timeout.as_millis().max(1));
        sqlx::query("select set_config('lock_timeout', $1, true), pg_advisory_xact_lock($2)")
            .persistent(false)
            .bind(lock_timeout)
            .bind(self.lock_key())
            .execute(&mut *tx)
            .await?;
        Ok(tx)
    }

    async fn table_exists(&self, conn: &mut PgConnection) -> Result<bool, StoreError> {
        let exists = sqlx::query_scalar("select to_regclass($1) is not null")
            .persistent(false)
            .bind(self.script().table())
            .fetch_one(conn)
            .await?;
        Ok(exists)
    }

    async fn rows(&self, conn: &mut PgConnection) -> Result<Vec<Applied>, StoreError> {
        let rows: Vec<(i32, i32, String)> = sqlx::query_as(AssertSqlSafe(self.script().rows()))
            .persistent(false)
            .fetch_all(conn)
            .await?;
        rows.into_iter()
            .map(|(version, compatible_from, checksum)| {
                let number = |n: i32| {
                    u32::try_from(n)
                        .map_err(|e| StoreError::of_kind(StoreErrorKind::Corrupt).with_source(e))
                };
                let (version, compatible_from) = (number(version)?, number(compatible_from)?);
                Ok(Applied {
                    version,
                    compatible_from,
                    checksum,
                })
            })
            .collect()
    }

    /// Advisory locks share one space of 64-bit keys with everybody else in the database: the key
    /// is a hash of a name that nobody else has.
    fn lock_key(&self) -> i64 {
        let name = format!(
            "purlin migrations {} {}",
            self.schema, self.migrations.block
        );
        let digest = Sha256::digest(name.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        i64::from_be_bytes(first)
    }
}

async fn run(conn: &mut PgConnection, sql: String) -> Result<(), StoreError> {
    // The simple protocol: several statements at once, and no prepared statement to leave behind.
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

fn schema(error: crate::SchemaError) -> StoreError {
    StoreError::of_kind(StoreErrorKind::Schema).with_source(error)
}
