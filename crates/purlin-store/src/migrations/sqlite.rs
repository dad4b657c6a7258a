use std::time::Duration;

use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::migrations::script::Script;
use crate::migrations::{Applied, Migrations};
use crate::sqlite::begin_immediate;
use crate::{SchemaError, StoreError, StoreErrorKind, deadline};

const STORE: &str = "sqlite";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Applies, checks and takes back the [`Migrations`] of one block in an SQLite file.
///
/// Calls that write begin with `BEGIN IMMEDIATE`, so of several processes that start at once one
/// migrates while the others wait (as long as their busy timeout) and then find it done. SQLite's
/// DDL is transactional: a process killed half way leaves the file as it was.
///
/// ```
/// use purlin_store::sqlite::{SqliteConfig, begin_immediate};
/// use purlin_store::{Migration, Migrations, SqliteMigrator};
///
/// const NOTES: Migrations = Migrations::new("notes", &[Migration::new(
///     1,
///     "create",
///     1,
///     "create table purlin_notes (id integer primary key, body text not null) strict",
///     "drop table purlin_notes",
/// )]);
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), purlin_store::StoreError> {
/// # let path = std::env::temp_dir().join(format!("purlin-notes-{}.db", std::process::id()));
/// let pool = SqliteConfig::new(&path).connect().await?;
/// let notes = SqliteMigrator::new(NOTES);
/// notes.migrate(&pool).await?;
/// notes.check_schema(&pool).await?;
///
/// let mut transaction = begin_immediate(&pool).await?;
/// let insert = sqlx::query("insert into purlin_notes (body) values (?)");
/// insert.bind("milk").execute(&mut *transaction).await?;
/// transaction.commit().await?;
/// # pool.close().await;
/// # std::fs::remove_file(path).expect("the file was made above");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct SqliteMigrator {
    migrations: Migrations,
    timeout: Duration,
}

impl SqliteMigrator {
    /// The migrations of a block.
    #[must_use]
    pub fn new(migrations: Migrations) -> Self {
        Self {
            migrations,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// How long one call may take. Default 30 s. The busy timeout of the connection, if shorter,
    /// ends the wait for another writer before that.
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
    /// [`Schema`](StoreErrorKind::Schema) when the tables are too new or not the ones this code
    /// knows; [`Conflict`](StoreErrorKind::Conflict) when another writer did not finish in time;
    /// [`Timeout`](StoreErrorKind::Timeout); [`Corrupt`](StoreErrorKind::Corrupt) when the file is
    /// not a database; [`Unavailable`](StoreErrorKind::Unavailable) when it cannot be written.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the commit, nothing has happened; later, all steps have been applied.
    pub async fn migrate(&self, pool: &SqlitePool) -> Result<u32, StoreError> {
        deadline(STORE, "migrate", self.timeout, async {
            let script = self.script();
            let mut tx = begin_immediate(pool).await?;
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

    /// Says whether this code can work with the tables that are there, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`Schema`](StoreErrorKind::Schema), with a [`SchemaError`] that says what is missing, as the
    /// source; [`Timeout`](StoreErrorKind::Timeout), [`Corrupt`](StoreErrorKind::Corrupt),
    /// [`Unavailable`](StoreErrorKind::Unavailable).
    ///
    /// # Cancel safety
    ///
    /// Reads only.
    pub async fn check_schema(&self, pool: &SqlitePool) -> Result<(), StoreError> {
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
    pub async fn revert_to(&self, pool: &SqlitePool, version: u32) -> Result<u32, StoreError> {
        deadline(STORE, "revert", self.timeout, async {
            let script = self.script();
            let mut tx = begin_immediate(pool).await?;
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
    /// included, to be run by another tool in place of [`migrate`](Self::migrate).
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
            schema: None,
            begin: "begin immediate;".to_owned(),
            applied_at: "applied_at text not null default current_timestamp\n) strict",
        }
    }

    async fn table_exists(&self, conn: &mut SqliteConnection) -> Result<bool, StoreError> {
        let found: i64 = sqlx::query_scalar(
            "select count(*) from sqlite_schema where type = 'table' and name = ?",
        )
        .bind(self.migrations.table())
        .fetch_one(conn)
        .await?;
        Ok(found > 0)
    }

    async fn rows(&self, conn: &mut SqliteConnection) -> Result<Vec<Applied>, StoreError> {
        let rows: Vec<(u32, u32, String)> = sqlx::query_as(AssertSqlSafe(self.script().rows()))
            .fetch_all(conn)
            .await?;
        let applied = |(version, compatible_from, checksum)| Applied {
            version,
            compatible_from,
            checksum,
        };
        Ok(rows.into_iter().map(applied).collect())
    }
}

async fn run(conn: &mut SqliteConnection, sql: String) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

fn schema(error: SchemaError) -> StoreError {
    StoreError::of_kind(StoreErrorKind::Schema).with_source(error)
}
