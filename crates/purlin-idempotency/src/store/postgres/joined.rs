//! What joins a transaction of the caller's.

use purlin_store::{StoreError, deadline};
use sqlx::{PgConnection, Row as _, postgres::types::PgInterval};

use super::record::Record;
use super::{NAME, PostgresStore, attempt, fingerprint, micros};
use crate::store::{Completion, Fenced, Lease, Nonce};
use crate::{Fingerprint, Inbox, Received, RecordId};

/// A completed record that is to be kept.
pub(super) struct Keep<'a> {
    pub(super) id: &'a RecordId,
    pub(super) attempt: u64,
    pub(super) nonce: Nonce,
    pub(super) fingerprint: Option<&'a Fingerprint>,
    pub(super) retention: std::time::Duration,
    pub(super) answer: &'a [u8],
    /// When the transaction began in which it must be kept, since 1970.
    pub(super) begun: Option<PgInterval>,
}

/// What came of keeping one.
pub(super) enum Kept {
    Yes,
    /// There was one before, as the statement saw it; `None` when it appeared meanwhile.
    No(Option<Record>),
    /// The transaction is not the one in which the work was begun.
    ElseWhere,
}

impl PostgresStore {
    /// Ends the work of a lease in the transaction of `connection`: its other writes and the
    /// answer are there together, or neither is.
    ///
    /// On [`Fenced::Lost`] roll the transaction back: somebody else owns the work by now. Once this
    /// has succeeded nobody takes the work over until the transaction ends; a claim is answered that it
    /// is in flight. Call it last: an [`extend`](crate::IdempotencyStore::extend) of the same lease
    /// waits for the transaction.
    ///
    /// One round trip; two when the record is gone or the lease is lost.
    ///
    /// # Errors
    ///
    /// Those of the database. The transaction can then only be rolled back.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, roll the transaction back: it is not known what it holds.
    pub async fn complete_in(
        &self,
        connection: &mut PgConnection,
        lease: &Lease,
        completion: &Completion,
    ) -> Result<Fenced, StoreError> {
        let done = self.complete_record(Some(connection), lease, completion);
        deadline(NAME, "complete in", self.timeout, done).await
    }

    /// Remembers a message in the transaction of `connection`, which does its work when this says
    /// [`Received::First`].
    ///
    /// A second delivery that arrives while the transaction of the first is open waits for it, and is
    /// a duplicate if it commits, the first if it does not. Above `read committed` it is an
    /// error of kind [`Conflict`](purlin_store::StoreErrorKind::Conflict) in place of a duplicate.
    ///
    /// One statement, one round trip.
    ///
    /// # Errors
    ///
    /// Those of the database. The transaction can then only be rolled back.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, roll the transaction back: it is not known what it holds.
    pub async fn receive_in(
        &self,
        connection: &mut PgConnection,
        inbox: &Inbox,
        message_id: &[u8],
    ) -> Result<Received, StoreError> {
        let id = inbox.record_id(message_id);
        let keep = Keep {
            id: &id,
            attempt: 1,
            nonce: Nonce::new(),
            fingerprint: None,
            retention: inbox.retention(),
            answer: &[],
            begun: None,
        };
        deadline(NAME, "receive in", self.timeout, async {
            Ok::<_, sqlx::Error>(match self.keep(Some(connection), &keep).await? {
                Kept::Yes => Received::First,
                Kept::No(_) | Kept::ElseWhere => Received::Duplicate,
            })
        })
        .await
    }

    pub(super) async fn complete_record(
        &self,
        mut connection: Option<&mut PgConnection>,
        lease: &Lease,
        completion: &Completion,
    ) -> Result<Fenced, sqlx::Error> {
        loop {
            let query = self
                .leased(&self.sql.complete, lease)
                .bind(completion.fingerprint.as_bytes().as_slice())
                .bind(micros(completion.retention))
                .bind(&*completion.answer);
            if self
                .runner
                .execute(connection.as_deref_mut(), query)
                .await?
                > 0
            {
                return Ok(Fenced::Applied);
            }
            let keep = Keep {
                id: &lease.id,
                attempt: lease.attempt,
                nonce: lease.nonce,
                fingerprint: Some(&completion.fingerprint),
                retention: completion.retention,
                answer: &completion.answer,
                begun: None,
            };
            match self.keep(connection.as_deref_mut(), &keep).await? {
                Kept::Yes => return Ok(Fenced::Applied),
                Kept::No(Some(record)) if !record.expired => {
                    if !record.is_of(lease) {
                        return Ok(Fenced::Lost);
                    }
                    if record.is_completed() {
                        return Ok(Fenced::Applied);
                    }
                }
                // Somebody was there between two looks.
                Kept::No(_) | Kept::ElseWhere => {}
            }
        }
    }

    pub(super) async fn keep(
        &self,
        connection: Option<&mut PgConnection>,
        keep: &Keep<'_>,
    ) -> Result<Kept, sqlx::Error> {
        let scope = keep.id.scope();
        let query = self
            .query(&self.sql.keep)
            .bind(keep.id.as_bytes().as_slice())
            .bind(scope.as_bytes().as_slice())
            .bind(attempt(keep.attempt))
            .bind(keep.nonce.as_bytes().as_slice())
            .bind(fingerprint(keep.fingerprint))
            .bind(micros(keep.retention))
            .bind(keep.answer)
            .bind(keep.begun.as_ref());
        let row = self
            .runner
            .fetch_optional(connection, query)
            .await?
            .ok_or(sqlx::Error::RowNotFound)?;
        Ok(if row.try_get("kept")? {
            Kept::Yes
        } else if row.try_get("same")? {
            Kept::No(Record::read(&row)?)
        } else {
            Kept::ElseWhere
        })
    }
}
