//! Units of work: the record is committed with the work.

use async_trait::async_trait;
use http::Extensions;
use purlin_store::{StoreError, StoreErrorKind, deadline};
use sqlx::{Postgres, Row as _, Transaction, postgres::types::PgInterval};

use super::joined::{Keep, Kept};
use super::record::Record;
use super::{NAME, PostgresStore};
use crate::RecordId;
use crate::record_id::digest;
use crate::store::{Begun, Completion, Nonce, Settled, TransactionalStore, UnitOfWork};
use crate::transaction::{Home, Lent};

#[derive(Debug)]
struct PostgresUnit {
    store: PostgresStore,
    id: RecordId,
    home: Home<Postgres>,
    /// When the server says that the transaction began, since 1970.
    begun: PgInterval,
}

#[async_trait]
impl TransactionalStore for PostgresStore {
    async fn begin(&self, id: &RecordId) -> Result<Begun, StoreError> {
        deadline(NAME, "begin", self.timeout, self.begin_unit(id)).await
    }
}

impl PostgresStore {
    async fn begin_unit(&self, id: &RecordId) -> Result<Begun, sqlx::Error> {
        loop {
            if let Some(begun) = self.try_begin(id).await? {
                return Ok(begun);
            }
        }
    }

    /// `None` when the work was done by somebody else since the statement began: the next one sees it.
    async fn try_begin(&self, id: &RecordId) -> Result<Option<Begun>, sqlx::Error> {
        // Dropped without the commit, it is rolled back while nobody waits for it.
        let mut transaction = self.runner.begin(self.begin).await?;
        let query = self
            .query(&self.sql.begin)
            .bind(id.as_bytes().as_slice())
            .bind(self.lock_key(id));
        let row = self
            .runner
            .fetch_optional(Some(&mut *transaction), query)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;
        let record = Record::read(&row)?.filter(|record| !record.expired);
        if let Some(record) = record {
            return Ok(Some(Begun::Existing(record.into())));
        }
        Ok(match row.try_get("free")? {
            None => Some(Begun::Busy),
            Some(false) => None,
            Some(true) => Some(Begun::Started(Box::new(PostgresUnit {
                store: self.clone(),
                id: *id,
                home: Home::new(Lent::new(transaction, drop)),
                begun: row.try_get("begun")?,
            }))),
        })
    }

    /// Advisory locks share one space of 64-bit keys with everybody else in the database: the key is
    /// a hash of what nobody else hashes. Two ids with one key would only find each other busy.
    fn lock_key(&self, id: &RecordId) -> i64 {
        let parts = [
            &b"purlin idempotency lock"[..],
            self.schema.as_str().as_bytes(),
            id.as_bytes(),
        ];
        let mut first = [0; 8];
        first.copy_from_slice(&digest(parts)[..8]);
        i64::from_be_bytes(first)
    }
}

impl PostgresUnit {
    async fn keep(
        &self,
        transaction: &mut Transaction<'static, Postgres>,
        completion: &Completion,
        begun: Option<PgInterval>,
    ) -> Result<Kept, sqlx::Error> {
        let keep = Keep {
            id: &self.id,
            attempt: 1,
            nonce: Nonce::new(),
            fingerprint: Some(&completion.fingerprint),
            retention: completion.retention,
            answer: &completion.answer,
            begun,
        };
        self.store.keep(Some(transaction), &keep).await
    }
}

#[async_trait]
impl UnitOfWork for PostgresUnit {
    fn share(&mut self, extensions: &mut Extensions) {
        extensions.insert(self.home.slot());
    }

    async fn commit(self: Box<Self>, completion: &Completion) -> Result<Settled, StoreError> {
        let Some(mut transaction) = self.home.take().map(Lent::into_inner) else {
            return Ok(Settled::NotReturned);
        };
        deadline(NAME, "commit", self.store.timeout, async {
            let begun = Some(self.begun);
            match self.keep(&mut transaction, completion, begun).await? {
                Kept::Yes => {
                    transaction.commit().await?;
                    Ok(Settled::Applied)
                }
                Kept::No(_) => {
                    transaction.rollback().await?;
                    Ok(Settled::Lost)
                }
                Kept::ElseWhere => Err(StoreError::new(StoreErrorKind::Refused, NAME, "commit")
                    .with_source("the handler has ended the transaction itself")),
            }
        })
        .await
    }

    async fn refuse(self: Box<Self>, completion: &Completion) -> Result<Settled, StoreError> {
        let Some(mut transaction) = self.home.take().map(Lent::into_inner) else {
            return Ok(Settled::NotReturned);
        };
        deadline(NAME, "refuse", self.store.timeout, async {
            // The next transaction begins at once, on this connection: no other is waited for.
            sqlx::raw_sql("rollback and chain")
                .execute(&mut *transaction)
                .await?;
            match self.keep(&mut transaction, completion, None).await? {
                Kept::Yes => {
                    transaction.commit().await?;
                    Ok::<_, sqlx::Error>(Settled::Applied)
                }
                Kept::No(_) | Kept::ElseWhere => {
                    transaction.rollback().await?;
                    Ok(Settled::Lost)
                }
            }
        })
        .await
    }

    async fn roll_back(self: Box<Self>) -> Result<(), StoreError> {
        let Some(transaction) = self.home.take().map(Lent::into_inner) else {
            return Ok(());
        };
        deadline(
            NAME,
            "roll back",
            self.store.timeout,
            transaction.rollback(),
        )
        .await
    }
}
