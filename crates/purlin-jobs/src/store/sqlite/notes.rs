use async_trait::async_trait;
use bytes::Bytes;
use purlin_store::{StoreError, deadline};
use sqlx::{SqliteConnection, SqliteExecutor};

use super::groups::Stirred;
use super::row::{Micros, after, corrupt, list, until};
use super::{NAME, SqliteStore, admin, sql};
use crate::store::{Found, KeptResult, Note, NoteKind, NoteStore, Noted, Notes, Signalled, State};
use crate::{JobId, LeaseId};

/// How many signals, and kind, name, value and time of a note.
type Row = (
    u32,
    Option<i16>,
    Option<String>,
    Option<Vec<u8>>,
    Option<Micros>,
);

#[async_trait]
impl NoteStore for SqliteStore {
    async fn recall(&self, job: JobId) -> Result<Option<Notes>, StoreError> {
        let notes = recall(&self.pool, job, || self.now());
        deadline(NAME, "recall", self.timeout, notes).await
    }

    async fn note(&self, lease: LeaseId, job: JobId, kept: &Note) -> Result<Noted, StoreError> {
        deadline(NAME, "note", self.timeout, async {
            let mut write = self.begin("note").await?;
            let noted = note(&mut write, lease, job, kept, self.now()).await?;
            write.commit().await?;
            Ok::<_, StoreError>(noted)
        })
        .await
    }

    async fn signal(&self, job: JobId, name: &str, value: &Bytes) -> Result<Signalled, StoreError> {
        let (signalled, is_awake) = deadline(NAME, "signal", self.timeout, async {
            let mut write = self.begin("signal").await?;
            let (now, mut stirred) = (self.now(), Stirred::new());
            let signalled = signal(&mut write, job, name, value, now, &mut stirred).await?;
            self.admit(&mut write, &mut stirred, now).await?;
            write.commit().await?;
            Ok::<_, StoreError>(signalled)
        })
        .await?;
        if is_awake {
            self.wake();
        }
        Ok(signalled)
    }

    async fn result(&self, job: JobId) -> Result<Found, StoreError> {
        deadline(NAME, "result", self.timeout, async {
            let found: (Option<Vec<u8>>, bool) = sqlx::query_as(sql::RESULT)
                .bind(&job.as_uuid().as_bytes()[..])
                .bind(self.now())
                .fetch_one(&self.pool)
                .await?;
            Ok::<_, StoreError>(match found {
                (Some(value), _) => Found::Result(value.into()),
                (None, true) => Found::Pending,
                (None, false) => Found::Nothing,
            })
        })
        .await
    }
}

pub(super) async fn recall(
    executor: impl SqliteExecutor<'_>,
    job: JobId,
    now: impl Fn() -> Micros,
) -> Result<Option<Notes>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(sql::NOTES)
        .bind(&job.as_uuid().as_bytes()[..])
        .fetch_all(executor)
        .await?;
    let Some((signals, ..)) = rows.first() else {
        return Ok(None);
    };
    let (signals, now) = (*signals, now());
    let notes = rows.into_iter().filter_map(|row| read(row, now));
    let notes = notes.collect::<Result<_, _>>()?;
    Ok(Some(Notes { signals, notes }))
}

pub(super) async fn note(
    connection: &mut SqliteConnection,
    lease: LeaseId,
    job: JobId,
    note: &Note,
    now: Micros,
) -> Result<Noted, StoreError> {
    let is_leased: bool = sqlx::query_scalar(sql::IS_LEASED)
        .bind(&lease.as_uuid().as_bytes()[..])
        .bind(&job.as_uuid().as_bytes()[..])
        .fetch_one(&mut *connection)
        .await?;
    if !is_leased {
        return Ok(Noted::Stale);
    }
    add(connection, job, note, 0, now).await
}

/// Adds a note of a job that is there, which counts as so many signals if it is new.
async fn add(
    connection: &mut SqliteConnection,
    job: JobId,
    note: &Note,
    signals: u32,
    now: Micros,
) -> Result<Noted, StoreError> {
    let job = &job.as_uuid().as_bytes()[..];
    let statement = match note.kind {
        NoteKind::Progress => sql::REPORT,
        _ => sql::NOTE,
    };
    let added = sqlx::query(statement)
        .bind(job)
        .bind(note.kind.number())
        .bind(&note.name)
        .bind(note.value.as_deref())
        .bind(note.due_in.map(|due_in| after(now, due_in)))
        .execute(&mut *connection)
        .await?;
    if added.rows_affected() == 0 {
        return Ok(Noted::Existing);
    }
    let has_notes = sqlx::query(sql::HAS_NOTES).bind(job).bind(signals);
    has_notes.execute(connection).await?;
    Ok(Noted::Kept)
}

/// Says too whether that made the job ready.
async fn signal(
    connection: &mut SqliteConnection,
    job: JobId,
    name: &str,
    value: &Bytes,
    now: Micros,
    stirred: &mut Stirred,
) -> Result<(Signalled, bool), StoreError> {
    let Some(standing) = admin::standing(connection, job).await? else {
        return Ok((Signalled::Unknown, false));
    };
    if matches!(standing.state, State::Dead | State::Cancelled) {
        return Ok((Signalled::Ended, false));
    }
    let signal = Note {
        kind: NoteKind::Signal,
        name: name.to_owned(),
        value: Some(value.clone()),
        due_in: None,
    };
    if add(connection, job, &signal, 1, now).await? == Noted::Existing {
        return Ok((Signalled::Existing, false));
    }
    let id = &job.as_uuid().as_bytes()[..];
    let waits: bool = sqlx::query_scalar(sql::IS_WAITING)
        .bind(id)
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
    let is_awake = waits && standing.state == State::Scheduled;
    if is_awake {
        for statement in [sql::UNSCHEDULE, sql::BACK] {
            let step = sqlx::query(statement).bind(id);
            step.execute(&mut *connection).await?;
        }
        let place = if standing.group.is_some() {
            sql::HOLD
        } else {
            sql::READY
        };
        let ready = sqlx::query(place).bind(list([job.as_uuid()]));
        ready.execute(connection).await?;
        stirred.extend(standing.group);
    }
    Ok((Signalled::Sent, is_awake))
}

/// Keeps the result of a job that is done.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    job: JobId,
    result: &KeptResult,
    now: Micros,
) -> Result<(), StoreError> {
    let keep = sqlx::query(sql::KEEP_RESULT)
        .bind(&job.as_uuid().as_bytes()[..])
        .bind(after(now, result.ttl))
        .bind(&result.value[..]);
    keep.execute(connection).await?;
    Ok(())
}

/// `None` in the row of a job that has none.
fn read(row: Row, now: Micros) -> Option<Result<Note, StoreError>> {
    let (_, kind, name, value, due_at) = row;
    let Some(kind) = NoteKind::from_number(kind?) else {
        return Some(Err(corrupt("an unknown kind of note")));
    };
    Some(Ok(Note {
        kind,
        name: name?,
        value: value.map(Bytes::from),
        due_in: due_at.map(|due_at| until(now, due_at)),
    }))
}
