//! What statements have read.

use std::time::{Duration, SystemTime};

use purlin_store::from_unix_micros;
use sqlx::Row as _;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgRow, types::PgInterval};
use uuid::Uuid;

use crate::store::{Claimed, Counts, Failure, JobView, State, Tally};
use crate::{JobId, QueueName};

type Read<T> = Result<T, sqlx::Error>;

pub(super) fn claimed(row: &PgRow) -> Read<Claimed> {
    Ok(Claimed {
        id: id(row)?,
        kind: row.try_get("kind")?,
        version: version(row)?,
        payload: row.try_get::<Vec<u8>, _>("payload")?.into(),
        traceparent: row.try_get("traceparent")?,
        failures: small(row, "failures")?,
        crashes: small(row, "crashes")?,
        max_attempts: small(row, "max_attempts")?,
        timeout: timeout(row)?,
        enqueued_at: time(row, "enqueued_at")?,
        parents: tally(row)?,
    })
}

pub(super) fn view(row: &PgRow) -> Read<JobView> {
    let failed_at = instant(row, "failed_at")?;
    let error: Option<String> = row.try_get("error")?;
    let queue: String = row.try_get("queue")?;
    Ok(JobView {
        id: id(row)?,
        kind: row.try_get("kind")?,
        version: version(row)?,
        queue: QueueName::new(queue).map_err(|_| corrupt("no name of a queue"))?,
        state: state(row)?,
        payload: row.try_get::<Vec<u8>, _>("payload")?.into(),
        failures: small(row, "failures")?,
        crashes: small(row, "crashes")?,
        max_attempts: small(row, "max_attempts")?,
        failure: error
            .zip(failed_at)
            .map(|(error, at)| Failure::new(&error, at)),
        enqueued_at: time(row, "enqueued_at")?,
        run_at: instant(row, "run_at")?,
        finished_at: instant(row, "ended_at")?,
        waits_for: number(row.try_get::<Option<i32>, _>("waits_for")?)?,
        parents: tally(row)?,
    })
}

fn tally(row: &PgRow) -> Read<Tally> {
    let counts: Option<Vec<Option<i32>>> = row.try_get("parents")?;
    match counts.unwrap_or_default()[..] {
        [done, dead, cancelled] => Ok(Tally::new(number(done)?, number(dead)?, number(cancelled)?)),
        _ => Ok(Tally::default()),
    }
}

fn number(number: Option<i32>) -> Read<u32> {
    u32::try_from(number.unwrap_or_default()).map_err(|_| corrupt("a negative number"))
}

pub(super) fn counts(row: &PgRow) -> Read<Counts> {
    Ok(Counts {
        ready: count(row, "ready")?,
        scheduled: count(row, "scheduled")?,
        blocked: count(row, "blocked")?,
        leased: count(row, "leased")?,
        dead: count(row, "dead")?,
        cancelled: count(row, "cancelled")?,
        held: count(row, "held")?,
        oldest_ready: duration(row, "oldest_ready")?,
    })
}

pub(super) fn count(row: &PgRow, column: &str) -> Read<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default())
}

pub(super) fn ids(row: &PgRow) -> Read<Vec<JobId>> {
    let ids: Vec<Uuid> = row.try_get("ids")?;
    Ok(ids.into_iter().map(JobId::from_uuid).collect())
}

/// A time as microseconds since 1970, or the difference of two; subtracted by Postgres, its days have 24 hours.
pub(super) fn micros(row: &PgRow, column: &str) -> Read<Option<i64>> {
    const PER_DAY: i64 = 86_400_000_000;
    let interval: Option<PgInterval> = row.try_get(column)?;
    Ok(interval.map(|interval| i64::from(interval.days) * PER_DAY + interval.microseconds))
}

/// What is left of a time, or nothing if that is over.
pub(super) fn duration(row: &PgRow, column: &str) -> Read<Option<Duration>> {
    let micros = micros(row, column)?.map(|micros| u64::try_from(micros).unwrap_or_default());
    Ok(micros.map(Duration::from_micros))
}

/// A number of microseconds; nothing if that is past.
pub(super) fn micros_of(row: &PgRow, column: &str) -> Read<Option<Duration>> {
    let micros: Option<i64> = row.try_get(column)?;
    Ok(micros
        .map(|micros| u64::try_from(micros).unwrap_or_default())
        .map(Duration::from_micros))
}

pub(super) fn instant(row: &PgRow, column: &str) -> Read<Option<SystemTime>> {
    let Some(micros) = micros(row, column)? else {
        return Ok(None);
    };
    let instant = from_unix_micros(micros).ok_or_else(|| corrupt("a time out of range"))?;
    Ok(Some(instant))
}

pub(super) fn time(row: &PgRow, column: &str) -> Read<SystemTime> {
    instant(row, column)?.ok_or_else(|| corrupt("no time"))
}

fn id(row: &PgRow) -> Read<JobId> {
    row.try_get("id").map(JobId::from_uuid)
}

fn version(row: &PgRow) -> Read<u16> {
    row.try_get::<i16, _>("version").map(i16::cast_unsigned)
}

fn small(row: &PgRow, column: &str) -> Read<u16> {
    u16::try_from(row.try_get::<i16, _>(column)?).map_err(|_| corrupt("a negative number"))
}

fn timeout(row: &PgRow) -> Read<Option<Duration>> {
    let micros: Option<i64> = row.try_get("timeout")?;
    let micros = micros.map(u64::try_from).transpose();
    Ok(micros
        .map_err(|_| corrupt("a negative time"))?
        .map(Duration::from_micros))
}

fn state(row: &PgRow) -> Read<State> {
    Ok(match row.try_get::<i32, _>("state")? {
        0 => State::Ready,
        1 => State::Scheduled,
        2 => State::Leased,
        3 => State::Dead,
        4 => State::Cancelled,
        5 => State::Held,
        6 => State::Blocked,
        _ => return Err(corrupt("an unknown state")),
    })
}

pub(super) fn state_number(state: State) -> i16 {
    match state {
        State::Ready => 0,
        State::Scheduled => 1,
        State::Leased => 2,
        State::Dead => 3,
        State::Cancelled => 4,
        State::Held => 5,
        State::Blocked => 6,
    }
}

pub(super) fn corrupt(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(BoxDynError::from(what))
}
