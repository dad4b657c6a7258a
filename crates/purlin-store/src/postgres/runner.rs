use std::panic::resume_unwind;

use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{Error, Postgres, Transaction};

use super::Pooling;

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Runs the statements of a store, one at a time, whatever stands behind its pool.
///
/// Given a connection, a statement runs on it, in the transaction of whoever lends it. Otherwise it is
/// one of its own: one round trip with [`Pooling::Session`], and with [`Pooling::Transaction`] four, those
/// of `BEGIN` and `COMMIT` and one to prepare it.
///
/// # Errors
///
/// All methods fail with what the driver says.
///
/// # Cancel safety
///
/// A statement that is dropped early may take effect, all or nothing. None leaves a transaction open.
#[derive(Debug, Clone)]
pub struct PostgresRunner {
    pool: PgPool,
    pooling: Pooling,
}

impl PostgresRunner {
    /// Of a pool whose connections are sessions.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            pooling: Pooling::Session,
        }
    }

    /// Whether connections are sessions. Default [`Pooling::Session`].
    #[must_use]
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Whether connections are sessions.
    #[must_use]
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Begins a transaction by this text, `begin` for instance.
    ///
    /// In a task of its own: sqlx lends a connection on which `begin` was interrupted to the next
    /// user, with the transaction open.
    ///
    /// # Errors
    ///
    /// [`Error::WorkerCrashed`] when the runtime shuts down.
    pub async fn begin(&self, text: &'static str) -> Result<Transaction<'static, Postgres>, Error> {
        let pool = self.pool.clone();
        let begun = tokio::spawn(async move { pool.begin_with(text).await }).await;
        begun.unwrap_or_else(|ended| match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Error::WorkerCrashed),
        })
    }

    /// All rows of a statement.
    pub async fn fetch_all(
        &self,
        connection: Option<&mut PgConnection>,
        statement: Statement<'_>,
    ) -> Result<Vec<PgRow>, Error> {
        let statement = statement.persistent(self.is_session());
        if let Some(connection) = connection {
            return statement.fetch_all(connection).await;
        }
        if self.is_session() {
            return statement.fetch_all(&self.pool).await;
        }
        let mut transaction = self.begin("begin").await?;
        let rows = statement.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }

    /// The row of a statement that has at most one.
    pub async fn fetch_optional(
        &self,
        connection: Option<&mut PgConnection>,
        statement: Statement<'_>,
    ) -> Result<Option<PgRow>, Error> {
        let rows = self.fetch_all(connection, statement).await?;
        Ok(rows.into_iter().next())
    }

    /// The row of a statement that has one.
    ///
    /// # Errors
    ///
    /// [`Error::RowNotFound`] when it has none.
    pub async fn fetch_one(
        &self,
        connection: Option<&mut PgConnection>,
        statement: Statement<'_>,
    ) -> Result<PgRow, Error> {
        let row = self.fetch_optional(connection, statement).await?;
        row.ok_or(Error::RowNotFound)
    }

    /// How many rows a statement has changed.
    pub async fn execute(
        &self,
        connection: Option<&mut PgConnection>,
        statement: Statement<'_>,
    ) -> Result<u64, Error> {
        let statement = statement.persistent(self.is_session());
        let done = if let Some(connection) = connection {
            statement.execute(connection).await?
        } else if self.is_session() {
            statement.execute(&self.pool).await?
        } else {
            let mut transaction = self.begin("begin").await?;
            let done = statement.execute(&mut *transaction).await?;
            transaction.commit().await?;
            done
        };
        Ok(done.rows_affected())
    }

    fn is_session(&self) -> bool {
        self.pooling == Pooling::Session
    }
}
