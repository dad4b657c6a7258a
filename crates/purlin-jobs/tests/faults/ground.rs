//! Where the jobs and the log are: one place for each cell, known to the test and to its processes.

use std::path::PathBuf;
use std::sync::Arc;

use purlin_jobs::store::{JobView, Settled};
use purlin_jobs::{
    EnqueueError, JobAdmin, JobContext, JobId, JobStore, Jobs, NewJob, PostgresStore, SqliteStore,
};
use purlin_store::StoreError;
use purlin_store::postgres::{Pooling, PostgresConfig};
use purlin_store::sqlite::{Durability, SqliteConfig, begin_immediate};
use purlin_testkit::{TestDatabase, TestFile};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, SqliteConnection, SqlitePool};

use crate::PATIENCE;
use crate::log::Log;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Postgres,
    /// Postgres through PgBouncer in transaction mode.
    PgBouncer,
    Sqlite,
}

/// What a process is told of its ground.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// A URL, or the path of a file.
    pub(crate) url: String,
    pub(crate) log: PathBuf,
}

/// A place with its tables and its log.
#[derive(Debug)]
pub(crate) struct Ground {
    /// For the processes.
    pub(crate) place: Place,
    /// For the test, without anything in between.
    pub(crate) open: Open,
    /// For the application that enqueues.
    pub(crate) client: Open,
    pub(crate) log: Log,
    // Dropped after the connections.
    _database: Option<TestDatabase>,
    _file: TestFile,
}

/// The place, opened by one process.
#[derive(Clone, Debug)]
pub(crate) enum Open {
    Postgres {
        pool: PgPool,
        store: PostgresStore,
    },
    Sqlite {
        pool: SqlitePool,
        store: SqliteStore,
    },
}

/// What jobs do in their transactions, and leases of jobs that another lease has too, which no moment
/// may see.
const WATCH_POSTGRES: &str = "
create table effects (job text);
create table two_leases (job uuid);
create function watch_leases() returns trigger language plpgsql as $$ begin
    insert into two_leases select j.id from purlin_jobs_jobs j
    where j.id = any (new.ids) and exists (
        select from purlin_jobs_leases l where l.id <> new.id and j.id = any (l.ids));
    return null;
end $$;
create trigger watch after insert or update on purlin_jobs_leases
    for each row execute function watch_leases();";

const WATCH_SQLITE: &str = "
create table effects (job text);
create table two_leases (job blob);
create trigger watch after insert on purlin_jobs_leased begin
    insert into two_leases select new.job where exists (
        select 1 from purlin_jobs_leased l where l.job = new.job and l.lease <> new.lease);
end;";

impl Ground {
    /// In a database of its own; `None` without a server.
    pub(crate) async fn create(kind: Kind) -> Option<Self> {
        let file = TestFile::new();
        let (url, database) = match kind {
            Kind::Postgres => {
                let database = TestDatabase::create()?;
                (database.url(), Some(database))
            }
            Kind::Sqlite => (file.path().display().to_string(), None),
            Kind::PgBouncer => unreachable!("it stands before a server of the test's own"),
        };
        Some(Self::prepare(kind, url, file, database).await)
    }

    /// On a server of the test's own.
    pub(crate) async fn on_postgres(url: String) -> Self {
        Self::prepare(Kind::Postgres, url, TestFile::new(), None).await
    }

    async fn prepare(
        kind: Kind,
        url: String,
        file: TestFile,
        database: Option<TestDatabase>,
    ) -> Self {
        let log = file.folder().join("log.db");
        let place = Place { kind, url, log };
        let log = Log::create(&place.log).await;
        let open = place.open(2).await;
        match &open {
            Open::Postgres { store, .. } => store.migrate().await.unwrap(),
            Open::Sqlite { store, .. } => store.migrate().await.unwrap(),
        };
        let ground = Self {
            place,
            client: open.clone(),
            open,
            log,
            _database: database,
            _file: file,
        };
        match kind {
            Kind::Sqlite => ground.execute(WATCH_SQLITE).await,
            Kind::Postgres | Kind::PgBouncer => ground.execute(WATCH_POSTGRES).await,
        }
        ground
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match &self.open {
            Open::Postgres { pool, .. } => drop(sql.execute(pool).await.unwrap()),
            Open::Sqlite { pool, .. } => drop(sql.execute(pool).await.unwrap()),
        }
    }

    /// One number.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let query = AssertSqlSafe(sql);
        match &self.open {
            Open::Postgres { pool, .. } => sqlx::query_scalar(query).fetch_one(pool).await,
            Open::Sqlite { pool, .. } => sqlx::query_scalar(query).fetch_one(pool).await,
        }
        .unwrap()
    }

    /// Enqueues them in one call, which is confirmed, and says so in the log.
    pub(crate) async fn enqueue(&self, jobs: impl IntoIterator<Item = NewJob>) {
        let jobs: Vec<_> = jobs.into_iter().collect();
        let ids: Vec<_> = jobs.iter().map(NewJob::id).collect();
        self.client.enqueue_many(jobs).await.unwrap();
        self.log.enqueued(ids).await;
    }

    pub(crate) async fn get(&self, id: JobId) -> Option<JobView> {
        self.open.admin().get(id).await.unwrap()
    }

    /// How many rows there are of jobs that are not done, of places where they stand, of keys.
    pub(crate) async fn rows(&self) -> i64 {
        let tables = match &self.open {
            Open::Postgres { .. } => ["_jobs", "_ready", "_scheduled", "_unique"].as_slice(),
            Open::Sqlite { .. } => &[
                " where finished_as is null",
                "_ready",
                "_scheduled",
                "_leased",
                "_unique",
            ],
        };
        let mut rows = 0;
        for table in tables {
            let sql = format!("select count(*) from purlin_jobs{table}");
            rows += self.count(&sql).await;
        }
        rows
    }

    /// The jobs whose effect is there, for each time that it is.
    pub(crate) async fn effects(&self) -> Vec<String> {
        let sql = "select job from effects";
        match &self.open {
            Open::Postgres { pool, .. } => sqlx::query_scalar(sql).fetch_all(pool).await,
            Open::Sqlite { pool, .. } => sqlx::query_scalar(sql).fetch_all(pool).await,
        }
        .unwrap()
    }

    /// All rows but those of workers, of which a heartbeat changes one.
    pub(crate) async fn dump(&self) -> Vec<String> {
        let mut rows = Vec::new();
        match &self.open {
            Open::Postgres { pool, .. } => {
                for table in ["jobs", "ready", "scheduled", "leases", "unique", "finished"] {
                    let sql = format!(
                        "select '{table} ' || t::text from purlin_jobs_{table} t order by 1"
                    );
                    let found = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql));
                    rows.extend(found.fetch_all(pool).await.unwrap());
                }
            }
            Open::Sqlite { pool, .. } => {
                let sql = "select concat_ws(' ', 'job', hex(id), failures, crashes, error, finished_as) from purlin_jobs
                    union all select concat_ws(' ', 'ready', hex(id), rank) from purlin_jobs_ready
                    union all select concat_ws(' ', 'scheduled', hex(id), run_at) from purlin_jobs_scheduled
                    union all select concat_ws(' ', 'lease', hex(id), hex(worker)) from purlin_jobs_leases
                    union all select concat_ws(' ', 'leased', hex(lease), hex(job)) from purlin_jobs_leased
                    union all select concat_ws(' ', 'unique', hex(key), hex(job)) from purlin_jobs_unique
                    order by 1";
                let found = sqlx::query_scalar::<_, String>(sql);
                rows.extend(found.fetch_all(pool).await.unwrap());
            }
        }
        rows
    }
}

impl Place {
    pub(crate) async fn open(&self, max_connections: u32) -> Open {
        match self.kind {
            Kind::Postgres | Kind::PgBouncer => {
                let pooling = match self.kind {
                    Kind::PgBouncer => Pooling::Transaction,
                    _ => Pooling::Session,
                };
                let pool = PostgresConfig::new(&self.url)
                    .unwrap()
                    .with_pooling(pooling)
                    .with_max_connections(max_connections)
                    .with_acquire_timeout(PATIENCE)
                    .connect()
                    .await
                    .unwrap();
                let store = PostgresStore::new(pool.clone()).with_pooling(pooling);
                Open::Postgres { pool, store }
            }
            Kind::Sqlite => {
                let pool = SqliteConfig::new(&self.url)
                    .with_max_connections(max_connections)
                    // A machine that loses power is not part of this matrix.
                    .with_durability(Durability::ProcessCrash)
                    .with_busy_timeout(PATIENCE)
                    .connect()
                    .await
                    .unwrap();
                let store = SqliteStore::new(pool.clone());
                Open::Sqlite { pool, store }
            }
        }
    }
}

impl Open {
    pub(crate) fn store(&self) -> Arc<dyn JobStore> {
        match self {
            Self::Postgres { store, .. } => Arc::new(store.clone()),
            Self::Sqlite { store, .. } => Arc::new(store.clone()),
        }
    }

    pub(crate) fn admin(&self) -> Arc<dyn JobAdmin> {
        match self {
            Self::Postgres { store, .. } => Arc::new(store.clone()),
            Self::Sqlite { store, .. } => Arc::new(store.clone()),
        }
    }

    pub(crate) async fn enqueue_many(&self, jobs: Vec<NewJob>) -> Result<(), EnqueueError> {
        match self {
            Self::Postgres { store, .. } => {
                Jobs::new(store.clone()).enqueue_many(jobs).await?;
            }
            Self::Sqlite { store, .. } => {
                Jobs::new(store.clone()).enqueue_many(jobs).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn begin(&self) -> Transaction {
        self.try_begin().await.unwrap()
    }

    pub(crate) async fn try_begin(&self) -> Result<Transaction, StoreError> {
        Ok(match self {
            Self::Postgres { pool, store } => Transaction::Postgres {
                inner: pool.begin().await?,
                store: store.clone(),
            },
            Self::Sqlite { pool, store } => Transaction::Sqlite {
                inner: begin_immediate(pool).await?,
                store: store.clone(),
            },
        })
    }
}

/// A transaction of the application's.
pub(crate) enum Transaction {
    Postgres {
        inner: sqlx::Transaction<'static, sqlx::Postgres>,
        store: PostgresStore,
    },
    Sqlite {
        inner: sqlx::Transaction<'static, sqlx::Sqlite>,
        store: SqliteStore,
    },
}

impl Transaction {
    pub(crate) async fn enqueue(&mut self, job: NewJob) {
        match self {
            Self::Postgres { inner, store } => {
                let connection: &mut PgConnection = inner;
                Jobs::new(store.clone()).enqueue_in(connection, job).await
            }
            Self::Sqlite { inner, store } => {
                let connection: &mut SqliteConnection = inner;
                Jobs::new(store.clone()).enqueue_in(connection, job).await
            }
        }
        .unwrap();
    }

    pub(crate) async fn execute(&mut self, sql: &'static str) {
        let sql = sqlx::raw_sql(sql);
        match self {
            Self::Postgres { inner, .. } => drop(sql.execute(&mut **inner).await.unwrap()),
            Self::Sqlite { inner, .. } => drop(sql.execute(&mut **inner).await.unwrap()),
        }
    }

    /// What the job is for.
    pub(crate) async fn write_effect(&mut self, context: &JobContext) -> Result<(), StoreError> {
        let sql = AssertSqlSafe(format!(
            "insert into effects values ('{}')",
            context.info().id
        ));
        let sql = sqlx::raw_sql(sql);
        match self {
            Self::Postgres { inner, .. } => {
                sql.execute(&mut **inner).await?;
            }
            Self::Sqlite { inner, .. } => {
                sql.execute(&mut **inner).await?;
            }
        }
        Ok(())
    }

    /// Whether the job is done when this commits.
    pub(crate) async fn complete(&mut self, context: &JobContext) -> Result<bool, StoreError> {
        let settled = match self {
            Self::Postgres { inner, store } => {
                let connection: &mut PgConnection = inner;
                context.complete_in(store, connection).await?
            }
            Self::Sqlite { inner, store } => {
                let connection: &mut SqliteConnection = inner;
                context.complete_in(store, connection).await?
            }
        };
        Ok(settled == Settled::Applied)
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Postgres { inner, .. } => inner.commit().await?,
            Self::Sqlite { inner, .. } => inner.commit().await?,
        }
        Ok(())
    }
}
