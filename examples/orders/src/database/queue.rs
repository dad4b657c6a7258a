use std::{error::Error, time::Duration};

use purlin_jobs::{
    EnqueueError, JobAdmin as _, JobContext, JobId, Jobs, NewJob, PostgresStore, Schedule,
    Scheduler, SqliteStore, Worker,
    store::{JobView, Settled},
};
use purlin_store::StoreError;

use super::{Connection, Database, PURGE_BATCH};

/// The queue of jobs, in the same database. Clones are of the same queue.
#[derive(Debug, Clone)]
pub(crate) enum JobQueue {
    Postgres(Jobs<PostgresStore>),
    Sqlite(Jobs<SqliteStore>),
}

const ONE_KIND: &str = "the connection is of the database that the queue is in";

impl JobQueue {
    pub(super) fn new(database: &Database) -> Self {
        match database.clone() {
            Database::Postgres(pool) => Self::Postgres(Jobs::new(PostgresStore::new(pool))),
            Database::Sqlite(pool) => Self::Sqlite(Jobs::new(SqliteStore::new(pool))),
        }
    }

    /// Adds a job in the transaction of the connection: it is there when that is committed.
    pub(crate) async fn enqueue_in(
        &self,
        connection: Connection<'_>,
        job: impl Into<NewJob>,
    ) -> Result<(), EnqueueError> {
        match (self, connection) {
            (Self::Postgres(jobs), Connection::Postgres(c)) => jobs.enqueue_in(c, job).await?,
            (Self::Sqlite(jobs), Connection::Sqlite(c)) => jobs.enqueue_in(c, job).await?,
            _ => unreachable!("{ONE_KIND}"),
        };
        Ok(())
    }

    /// Completes the job that is running, in the transaction of the connection: it is done when
    /// that is committed.
    pub(crate) async fn complete_in(
        &self,
        connection: Connection<'_>,
        context: &JobContext,
    ) -> Result<Settled, StoreError> {
        match (self, connection) {
            (Self::Postgres(jobs), Connection::Postgres(c)) => {
                context.complete_in(jobs.store(), c).await
            }
            (Self::Sqlite(jobs), Connection::Sqlite(c)) => {
                context.complete_in(jobs.store(), c).await
            }
            _ => unreachable!("{ONE_KIND}"),
        }
    }

    /// Adds the job of a schedule now, besides those of its times.
    pub(crate) async fn trigger(&self, schedule: Schedule) -> Result<(), Box<dyn Error>> {
        let name = schedule.name().to_owned();
        match self {
            Self::Postgres(jobs) => {
                Scheduler::new(jobs.clone(), [schedule])?
                    .trigger(&name)
                    .await?
            }
            Self::Sqlite(jobs) => {
                Scheduler::new(jobs.clone(), [schedule])?
                    .trigger(&name)
                    .await?
            }
        };
        Ok(())
    }

    /// A job and where it stands; `None` when it is done or was never there.
    pub(crate) async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        match self {
            Self::Postgres(jobs) => jobs.store().get(id).await,
            Self::Sqlite(jobs) => jobs.store().get(id).await,
        }
    }

    /// Tries a dead job again; `false` when it is not dead.
    pub(crate) async fn replay(&self, id: JobId) -> Result<bool, StoreError> {
        match self {
            Self::Postgres(jobs) => jobs.store().replay(id).await,
            Self::Sqlite(jobs) => jobs.store().replay(id).await,
        }
    }

    /// Deletes jobs that have been dead or cancelled for this long.
    pub(crate) async fn purge(&self, age: Duration) -> Result<u64, StoreError> {
        match self {
            Self::Postgres(jobs) => jobs.store().purge_finished(age, PURGE_BATCH).await,
            Self::Sqlite(jobs) => jobs.store().purge_finished(age, PURGE_BATCH).await,
        }
    }

    /// A worker that has no handlers yet.
    pub(crate) fn worker(&self) -> Worker {
        match self {
            Self::Postgres(jobs) => Worker::new(jobs.store().clone()),
            Self::Sqlite(jobs) => Worker::new(jobs.store().clone()),
        }
    }

    #[cfg(test)]
    pub(crate) async fn counts(&self) -> Result<purlin_jobs::store::Counts, StoreError> {
        match self {
            Self::Postgres(jobs) => jobs.store().counts(None).await,
            Self::Sqlite(jobs) => jobs.store().counts(None).await,
        }
    }
}
