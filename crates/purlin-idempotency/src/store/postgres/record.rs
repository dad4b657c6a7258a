use std::time::Duration;

use bytes::Bytes;
use sqlx::{
    Row as _,
    error::BoxDynError,
    postgres::{PgRow, types::PgInterval},
};

use crate::store::{Existing, Lease, Nonce, State};
use crate::{Fingerprint, RecordId};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A row of the table, as a statement has read it.
#[derive(Debug)]
pub(super) struct Record {
    attempt: u64,
    nonce: Nonce,
    fingerprint: Option<Fingerprint>,
    pub(super) expired: bool,
    state: State,
}

impl Record {
    /// What a statement has read; `None` where there is no row of the table.
    pub(super) fn read(row: &PgRow) -> Result<Option<Self>, sqlx::Error> {
        let Some(state) = row.try_get::<Option<i16>, _>("state")? else {
            return Ok(None);
        };
        let remaining = left(row, "left")?;
        let (state, expired) = match state {
            0 => match left(row, "lease_left")? {
                Duration::ZERO => (State::Lapsed, remaining.is_zero()),
                remaining => (State::InFlight { remaining }, false),
            },
            1 => {
                let answer = Bytes::from(row.try_get::<Vec<u8>, _>("answer")?);
                (State::Completed { answer, remaining }, remaining.is_zero())
            }
            _ => return Err(corrupt("an unknown state")),
        };
        let fingerprint = match row.try_get::<Option<&[u8]>, _>("fingerprint")? {
            Some(bytes) => {
                Some(Fingerprint::from_bytes(bytes).ok_or_else(|| corrupt("no fingerprint"))?)
            }
            None => None,
        };
        Ok(Some(Self {
            attempt: attempt(row)?,
            nonce: Nonce::from_bytes(row.try_get("nonce")?).ok_or_else(|| corrupt("no nonce"))?,
            fingerprint,
            expired,
            state,
        }))
    }

    pub(super) fn is_of(&self, lease: &Lease) -> bool {
        (self.attempt, self.nonce) == (lease.attempt, lease.nonce)
    }

    pub(super) fn is_completed(&self) -> bool {
        matches!(self.state, State::Completed { .. })
    }

    pub(super) fn is_lapsed(&self) -> bool {
        self.state == State::Lapsed
    }

    /// The lease, if it is live and of this claim.
    pub(super) fn live_lease(&self, id: RecordId, nonce: Nonce) -> Option<Lease> {
        let live = matches!(self.state, State::InFlight { .. }) && self.nonce == nonce;
        live.then_some(Lease {
            id,
            attempt: self.attempt,
            nonce,
        })
    }

    pub(super) fn fits(&self, fingerprint: Option<Fingerprint>) -> bool {
        self.fingerprint
            .zip(fingerprint)
            .is_none_or(|(known, now)| known == now)
    }

    /// As one that somebody is about to change, for so long as his transaction takes.
    pub(super) fn held(mut self, remaining: Duration) -> Existing {
        // An expired one is not there, and what takes its place is not known yet.
        if self.expired {
            self.fingerprint = None;
            self.attempt = 1;
        }
        self.state = State::InFlight { remaining };
        self.into()
    }
}

impl From<Record> for Existing {
    fn from(record: Record) -> Self {
        Self::new(record.fingerprint, record.attempt, record.state)
    }
}

pub(super) fn attempt(row: &PgRow) -> Result<u64, sqlx::Error> {
    u64::try_from(row.try_get::<i64, _>("attempt")?).map_err(|_| corrupt("a negative attempt"))
}

/// What is left of a time that may be over; what Postgres subtracts has days of 24 hours.
fn left(row: &PgRow, column: &str) -> Result<Duration, sqlx::Error> {
    let left: PgInterval = row.try_get(column)?;
    let micros = i64::from(left.days) * MICROS_PER_DAY + left.microseconds;
    Ok(Duration::from_micros(
        u64::try_from(micros).unwrap_or_default(),
    ))
}

fn corrupt(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(BoxDynError::from(what))
}
