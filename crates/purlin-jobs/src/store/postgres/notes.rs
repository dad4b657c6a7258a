//! What jobs remember and leave behind.

use async_trait::async_trait;
use bytes::Bytes;
use purlin_store::{StoreError, deadline};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row as _};

use super::{NAME, PostgresStore, interval, row};
use crate::store::{Found, KeptResult, Note, NoteKind, NoteStore, Noted, Notes, Signalled};
use crate::{JobId, LeaseId};

#[async_trait]
impl NoteStore for PostgresStore {
    async fn recall(&self, job: JobId) -> Result<Option<Notes>, StoreError> {
        deadline(NAME, "recall", self.timeout, self.notes_of(None, job)).await
    }

    async fn note(&self, lease: LeaseId, job: JobId, note: &Note) -> Result<Noted, StoreError> {
        deadline(NAME, "note", self.timeout, async {
            let row = self
                .runner
                .fetch_one(None, self.noting(lease, job, note))
                .await?;
            noted(&row)
        })
        .await
    }

    async fn signal(&self, job: JobId, name: &str, value: &Bytes) -> Result<Signalled, StoreError> {
        deadline(NAME, "signal", self.timeout, async {
            let mut is_kept = false;
            loop {
                match self.try_signal(job, name, value, is_kept).await? {
                    Signal::Told(Signalled::Existing) if is_kept => return Ok(Signalled::Sent),
                    Signal::Told(told) => return Ok::<_, sqlx::Error>(told),
                    Signal::Again { kept } => is_kept |= kept,
                }
            }
        })
        .await
    }

    async fn result(&self, job: JobId) -> Result<Found, StoreError> {
        deadline(NAME, "result", self.timeout, async {
            let query = self.query(&self.sql.result).bind(job.as_uuid());
            let row = self.runner.fetch_one(None, query).await?;
            let value: Option<Vec<u8>> = row.try_get("value")?;
            Ok::<_, sqlx::Error>(match value {
                Some(value) => Found::Result(value.into()),
                None if row.try_get("is_pending")? => Found::Pending,
                None => Found::Nothing,
            })
        })
        .await
    }
}

/// What one try to signal has come to.
enum Signal {
    Told(Signalled),
    /// Somebody else has moved the job, or does so.
    Again {
        kept: bool,
    },
}

impl PostgresStore {
    pub(super) async fn notes_of(
        &self,
        connection: Option<&mut PgConnection>,
        job: JobId,
    ) -> Result<Option<Notes>, sqlx::Error> {
        let query = self.query(&self.sql.notes).bind(job.as_uuid());
        let rows = self.runner.fetch_all(connection, query).await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let signals: i32 = first.try_get("signals")?;
        let notes = rows.iter().filter_map(|row| note(row).transpose());
        Ok(Some(Notes {
            signals: u32::try_from(signals).unwrap_or_default(),
            notes: notes.collect::<Result<_, _>>()?,
        }))
    }

    fn noting(
        &self,
        lease: LeaseId,
        job: JobId,
        note: &Note,
    ) -> Query<'static, Postgres, PgArguments> {
        let sql = match note.kind {
            NoteKind::Progress => &self.sql.report,
            _ => &self.sql.note,
        };
        self.query(sql)
            .bind(*lease.as_uuid())
            .bind(*job.as_uuid())
            .bind(note.kind.number())
            .bind(note.name.clone())
            .bind(note.value.as_deref().map(<[u8]>::to_vec))
            .bind(note.due_in.map(interval))
    }

    async fn try_signal(
        &self,
        job: JobId,
        name: &str,
        value: &Bytes,
        was_kept: bool,
    ) -> Result<Signal, sqlx::Error> {
        let mut transaction = self.runner.begin("begin").await?;
        let lock = sqlx::query(self.sql.lock_to_signal.clone()).bind(job.as_uuid());
        let locked = self.runner.fetch_one(Some(&mut *transaction), lock).await?;
        if !locked.try_get::<bool, _>("is_there")? {
            transaction.rollback().await?;
            return Ok(if locked.try_get("was_there")? {
                Signal::Again { kept: false }
            } else if locked.try_get("has_ended")? {
                Signal::Told(Signalled::Ended)
            } else {
                Signal::Told(Signalled::Unknown)
            });
        }
        let signal = self
            .query(&self.sql.signal)
            .bind(job.as_uuid())
            .bind(name)
            .bind(&value[..])
            .bind(&*self.channel)
            .bind(was_kept);
        let row = self
            .runner
            .fetch_one(Some(&mut *transaction), signal)
            .await?;
        transaction.commit().await?;
        self.heard(&row)?;
        if row.try_get("is_awake")? {
            self.low_water.forget(None);
        }
        let kept = row.try_get("is_kept")?;
        Ok(if row.try_get("is_busy")? {
            Signal::Again { kept }
        } else if kept {
            Signal::Told(Signalled::Sent)
        } else {
            Signal::Told(Signalled::Existing)
        })
    }

    pub(super) async fn note_joined(
        &self,
        connection: &mut PgConnection,
        lease: LeaseId,
        job: JobId,
        note: &Note,
    ) -> Result<Noted, sqlx::Error> {
        let lock = sqlx::query(self.sql.lock_job.clone())
            .bind(lease.as_uuid())
            .bind(job.as_uuid());
        if self
            .runner
            .fetch_all(Some(&mut *connection), lock)
            .await?
            .is_empty()
        {
            return Ok(Noted::Stale);
        }
        let noting = self.noting(lease, job, note);
        noted(&self.runner.fetch_one(Some(connection), noting).await?)
    }

    pub(super) async fn keep_joined(
        &self,
        connection: &mut PgConnection,
        job: JobId,
        result: &KeptResult,
    ) -> Result<(), sqlx::Error> {
        let keep = self
            .query(&self.sql.keep_in)
            .bind(job.as_uuid())
            .bind(interval(result.ttl))
            .bind(&result.value[..]);
        self.runner.fetch_all(Some(connection), keep).await?;
        Ok(())
    }
}

fn noted(row: &PgRow) -> Result<Noted, sqlx::Error> {
    Ok(if !row.try_get("is_held")? {
        Noted::Stale
    } else if row.try_get("is_kept")? {
        Noted::Kept
    } else {
        Noted::Existing
    })
}

/// `None` in the row of a job that has none.
fn note(row: &PgRow) -> Result<Option<Note>, sqlx::Error> {
    let Some(kind) = row.try_get("kind")? else {
        return Ok(None);
    };
    Ok(Some(Note {
        kind: NoteKind::from_number(kind).ok_or_else(|| row::corrupt("an unknown kind of note"))?,
        name: row.try_get("name")?,
        value: row.try_get::<Option<Vec<u8>>, _>("value")?.map(Bytes::from),
        due_in: row::duration(row, "due_in")?,
    }))
}
