use async_trait::async_trait;
use http::Extensions;
use purlin_store::sqlite::begin_immediate;
use purlin_store::{StoreError, StoreErrorKind, deadline};
use sqlx::{Sqlite, SqliteExecutor};

use super::guard::{self, RolledBack};
use super::row::Row;
use super::under_way::{Place, Stage};
use super::{NAME, SqliteStore, Turn};
use crate::RecordId;
use crate::store::{
    Begun, Completion, IdempotencyStore as _, Settled, TransactionalStore, UnitOfWork,
};
use crate::transaction::{Home, Lent};

#[async_trait]
impl TransactionalStore for SqliteStore {
    /// Statements: `BEGIN IMMEDIATE`, which waits for other processes for up to the busy timeout of
    /// the connection ([`Conflict`](StoreErrorKind::Conflict)), and one read. When this process is
    /// writing, and when another one does not stop to, one more read before: a record that is there does
    /// not wait for the lock. An id that is being worked on in this process is [`Busy`](Begun::Busy)
    /// without a statement or a connection.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, nothing has begun.
    async fn begin(&self, id: &RecordId) -> Result<Begun, StoreError> {
        // Before any read: whoever leaves the table has committed, and is found by it.
        let place = match self.under_way.enter(*id) {
            Ok(place) => place,
            Err(Stage::Working) => return Ok(Begun::Busy),
            // Another retry, which may find the answer as this one may.
            Err(Stage::Looking) => {
                let existing = self.get(id).await?;
                return Ok(existing.map_or(Begun::Busy, Begun::Existing));
            }
        };
        deadline(NAME, "begin", self.timeout, async {
            let turn = match self.free_turn() {
                Some(turn) => turn,
                None => {
                    if let Some(existing) = self.get(id).await? {
                        return Ok(Begun::Existing(existing));
                    }
                    self.turn("begin").await?
                }
            };
            let mut transaction = match begin_immediate(&self.pool).await {
                Ok(transaction) => transaction,
                Err(busy) if busy.kind() == StoreErrorKind::Conflict => {
                    return self.get(id).await?.map(Begun::Existing).ok_or(busy);
                }
                Err(error) => return Err(error),
            };
            let now = self.now();
            if let Some(row) = Row::find(&mut *transaction, id, now).await? {
                transaction.rollback().await?;
                return Ok(Begun::Existing(row.into_existing(now)?));
            }
            let (transaction, rolled_back) = guard::set(transaction).await?;
            place.works();
            Ok::<_, StoreError>(Begun::Started(Box::new(SqliteUnit {
                home: Home::new(transaction),
                rolled_back,
                store: self.clone(),
                id: *id,
                _turn: turn,
                _place: place,
            })))
        })
        .await
    }
}

/// A transaction that has the write lock.
///
/// The fields are dropped from top to bottom: the place is given back last.
#[derive(Debug)]
struct SqliteUnit {
    home: Home<Sqlite>,
    rolled_back: RolledBack,
    store: SqliteStore,
    id: RecordId,
    _turn: Turn,
    _place: Place,
}

#[async_trait]
impl UnitOfWork for SqliteUnit {
    fn share(&mut self, extensions: &mut Extensions) {
        extensions.insert(self.home.slot());
    }

    /// Statements: the record's insert, and `COMMIT`.
    async fn commit(self: Box<Self>, completion: &Completion) -> Result<Settled, StoreError> {
        deadline(NAME, "commit", self.store.timeout, async {
            let Some(mut transaction) = self.home.take() else {
                return Ok(Settled::NotReturned);
            };
            if self.rolled_back.seen() {
                let error = StoreError::new(StoreErrorKind::Unavailable, NAME, "commit");
                return Err(error.with_source("the transaction was rolled back before its end"));
            }
            if self.keep(&mut **transaction, completion).await? {
                guard::lift(transaction).await?.commit().await?;
                return Ok(Settled::Applied);
            }
            self.end(transaction).await?;
            Ok::<_, StoreError>(Settled::Lost)
        })
        .await
    }

    /// Statements: `ROLLBACK`, and the record's insert, which commits itself.
    async fn refuse(self: Box<Self>, completion: &Completion) -> Result<Settled, StoreError> {
        deadline(NAME, "refuse", self.store.timeout, async {
            let Some(transaction) = self.home.take() else {
                return Ok(Settled::NotReturned);
            };
            self.end(transaction).await?;
            let kept = self.keep(&self.store.pool, completion).await?;
            Ok::<_, StoreError>(if kept {
                Settled::Applied
            } else {
                Settled::Lost
            })
        })
        .await
    }

    /// Statements: `ROLLBACK`.
    async fn roll_back(self: Box<Self>) -> Result<(), StoreError> {
        deadline(NAME, "roll back", self.store.timeout, async {
            match self.home.take() {
                Some(transaction) => self.end(transaction).await,
                None => Ok(()),
            }
        })
        .await
    }
}

impl SqliteUnit {
    async fn end(&self, transaction: Lent<Sqlite>) -> Result<(), StoreError> {
        match guard::lift(transaction).await?.rollback().await {
            // There is nothing to roll back any more.
            Err(_) if self.rolled_back.seen() => Ok(()),
            done => Ok(done?),
        }
    }

    async fn keep(
        &self,
        executor: impl SqliteExecutor<'_>,
        completion: &Completion,
    ) -> Result<bool, sqlx::Error> {
        let Completion {
            fingerprint,
            answer,
            retention,
        } = completion;
        let statement = (self.store).keeping(&self.id, Some(fingerprint), answer, *retention);
        Ok(statement.execute(executor).await?.rows_affected() > 0)
    }
}
