use std::time::{Duration, SystemTime};

use bytes::Bytes;
use purlin_store::{StoreError, StoreErrorKind, from_unix_micros};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::NAME;
use crate::store::{Claimed, Failure, JobView, State, Tally};
use crate::{JobId, Priority, QueueName};

/// Microseconds since 1970.
pub(super) type Micros = i64;

/// Nothing starts later than this, so that a rank does not overflow: it is in the year 294 000.
const LATEST: Micros = i64::MAX - micros(Priority::BULK.offset());

/// `later` after `now`.
pub(super) fn after(now: Micros, later: Duration) -> Micros {
    now.saturating_add(micros(later)).min(LATEST)
}

/// As the column for a time to start takes it.
pub(super) fn run_at(at: Micros) -> Micros {
    at.min(LATEST)
}

pub(super) const fn micros(duration: Duration) -> Micros {
    let micros = duration.as_micros();
    if micros > Micros::MAX as u128 {
        Micros::MAX
    } else {
        micros as Micros
    }
}

/// `0` when it is past.
pub(super) fn until(now: Micros, at: Micros) -> Duration {
    Duration::from_micros(u64::try_from(at.saturating_sub(now)).unwrap_or_default())
}

/// Ids as statements take them in a list.
pub(super) fn list<'a>(ids: impl IntoIterator<Item = &'a Uuid>) -> String {
    let ids: Value = ids.into_iter().map(hex).collect();
    ids.to_string()
}

pub(super) fn hex(id: &Uuid) -> String {
    id.simple().to_string()
}

pub(super) fn job_id(bytes: &[u8]) -> Result<JobId, StoreError> {
    let uuid = Uuid::from_slice(bytes).map_err(corrupt)?;
    Ok(JobId::from_uuid(uuid))
}

pub(super) fn job_ids(rows: &[Vec<u8>]) -> Result<Vec<JobId>, StoreError> {
    rows.iter().map(|bytes| job_id(bytes)).collect()
}

pub(super) fn corrupt(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, NAME, "read").with_source(error)
}

pub(super) fn state(name: &str) -> Result<State, StoreError> {
    Ok(match name {
        "ready" => State::Ready,
        "scheduled" => State::Scheduled,
        "blocked" => State::Blocked,
        "leased" => State::Leased,
        "dead" => State::Dead,
        "cancelled" => State::Cancelled,
        "held" => State::Held,
        other => return Err(corrupt(format!("`{other}` is no state of a job"))),
    })
}

pub(super) fn name_of(state: State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Scheduled => "scheduled",
        State::Blocked => "blocked",
        State::Leased => "leased",
        State::Dead => "dead",
        State::Cancelled => "cancelled",
        State::Held => "held",
    }
}

pub(super) fn time(at: Micros) -> Result<SystemTime, StoreError> {
    from_unix_micros(at).ok_or_else(|| corrupt("a time is out of range"))
}

/// A job as its worker gets it, and whether it holds a unique key until its start.
pub(super) fn claimed(row: &SqliteRow) -> Result<(Claimed, bool), StoreError> {
    let timeout: Option<Micros> = row.try_get(8)?;
    let job = Claimed {
        id: job_id(row.try_get(0)?)?,
        kind: row.try_get(1)?,
        version: row.try_get(2)?,
        payload: payload(row, 3)?,
        traceparent: row.try_get(4)?,
        failures: row.try_get(5)?,
        crashes: row.try_get(6)?,
        max_attempts: row.try_get(7)?,
        timeout: timeout.map(|micros| until(0, micros)),
        enqueued_at: time(row.try_get(9)?)?,
        parents: tally(row, 12)?,
    };
    Ok((job, row.try_get(10)?))
}

pub(super) fn id(row: &SqliteRow) -> Result<&[u8], sqlx::Error> {
    row.try_get(0)
}

pub(super) fn rank(row: &SqliteRow) -> Result<Micros, sqlx::Error> {
    row.try_get(11)
}

/// Whether a claimed job has a group.
pub(super) fn has_group(row: &SqliteRow) -> Result<bool, sqlx::Error> {
    row.try_get(15)
}

fn payload(row: &SqliteRow, column: usize) -> Result<Bytes, sqlx::Error> {
    let bytes: Vec<u8> = row.try_get(column)?;
    Ok(bytes.into())
}

pub(super) fn view(row: &SqliteRow) -> Result<JobView, StoreError> {
    let state = state(row.try_get(4)?)?;
    let failure: (Option<String>, Option<Micros>) = (row.try_get(9)?, row.try_get(10)?);
    let waits = matches!(state, State::Ready | State::Held | State::Scheduled);
    let run_at = waits.then(|| row.try_get(12)).transpose()?;
    let finished_at: Option<Micros> = row.try_get(13)?;
    Ok(JobView {
        id: job_id(row.try_get(0)?)?,
        kind: row.try_get(1)?,
        version: row.try_get(2)?,
        queue: QueueName::new(row.try_get::<String, _>(3)?).map_err(corrupt)?,
        state,
        payload: payload(row, 5)?,
        failures: row.try_get(6)?,
        crashes: row.try_get(7)?,
        max_attempts: row.try_get(8)?,
        failure: match failure {
            (Some(error), Some(at)) => Some(Failure {
                error,
                at: time(at)?,
            }),
            _ => None,
        },
        enqueued_at: time(row.try_get(11)?)?,
        run_at: run_at.map(time).transpose()?,
        finished_at: finished_at.map(time).transpose()?,
        waits_for: row.try_get::<Option<u32>, _>(14)?.unwrap_or_default(),
        parents: tally(row, 15)?,
    })
}

fn tally(row: &SqliteRow, first: usize) -> Result<Tally, sqlx::Error> {
    let count = |column| Ok::<u32, sqlx::Error>(row.try_get::<Option<_>, _>(column)?.unwrap_or(0));
    let [done, dead, cancelled] = [count(first)?, count(first + 1)?, count(first + 2)?];
    Ok(Tally::new(done, dead, cancelled))
}
