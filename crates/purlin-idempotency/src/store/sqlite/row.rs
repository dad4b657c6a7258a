use std::time::Duration;

use bytes::Bytes;
use purlin_store::{StoreError, StoreErrorKind};
use sqlx::SqliteExecutor;

use super::{NAME, sql};
use crate::store::{Claim, Existing, Lease, LeaseLost, Nonce, State};
use crate::{Fingerprint, RecordId};

/// As the reference does, for durations that do not fit.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

/// `ttl` from `now`, in microseconds since 1970.
pub(super) fn after(now: i64, ttl: Duration) -> i64 {
    let ttl = i64::try_from(ttl.min(CENTURY).as_micros()).unwrap_or(i64::MAX);
    now.saturating_add(ttl)
}

fn until(now: i64, at: i64) -> Duration {
    Duration::from_micros(u64::try_from(at.saturating_sub(now)).unwrap_or_default())
}

/// An attempt as SQLite keeps it. Every `u64` comes back as what it was.
pub(super) fn stored(attempt: u64) -> i64 {
    attempt.cast_signed()
}

/// A record that is visible.
pub(super) struct Row {
    attempt: i64,
    nonce: Vec<u8>,
    fingerprint: Option<Vec<u8>>,
    lease_until: Option<i64>,
    expires_at: i64,
    answer: Option<Vec<u8>>,
}

type Columns = (
    i64,
    Vec<u8>,
    Option<Vec<u8>>,
    Option<i64>,
    i64,
    Option<Vec<u8>>,
);

impl Row {
    /// One read, without a lock.
    pub(super) async fn find(
        executor: impl SqliteExecutor<'_>,
        id: &RecordId,
        now: i64,
    ) -> Result<Option<Self>, sqlx::Error> {
        let columns: Option<Columns> = sqlx::query_as(sql::FIND)
            .bind(&id.as_bytes()[..])
            .bind(now)
            .fetch_optional(executor)
            .await?;
        Ok(columns.map(
            |(attempt, nonce, fingerprint, lease_until, expires_at, answer)| Self {
                attempt,
                nonce,
                fingerprint,
                lease_until,
                expires_at,
                answer,
            },
        ))
    }

    /// The lease of this very claim, if it is live.
    pub(super) fn lease_of(&self, id: RecordId, nonce: Nonce, now: i64) -> Option<Lease> {
        let live = self.lease_until.is_some_and(|until| now < until);
        (live && self.nonce == nonce.as_bytes()).then(|| Lease {
            id,
            attempt: self.attempt.cast_unsigned(),
            nonce,
        })
    }

    pub(super) fn may_be_taken_over(&self, claim: &Claim, now: i64) -> Result<bool, StoreError> {
        let lapsed = self.lease_until.is_some_and(|until| until <= now);
        let same = match (self.fingerprint()?, claim.fingerprint) {
            (Some(known), Some(now)) => known == now,
            _ => true,
        };
        Ok(lapsed && same && claim.lease_lost == LeaseLost::Reexecute)
    }

    fn fingerprint(&self) -> Result<Option<Fingerprint>, StoreError> {
        let decode = |bytes: &Vec<u8>| {
            Fingerprint::from_bytes(bytes).ok_or_else(|| {
                StoreError::new(StoreErrorKind::Corrupt, NAME, "read")
                    .with_source("the stored fingerprint is not one")
            })
        };
        self.fingerprint.as_ref().map(decode).transpose()
    }

    pub(super) fn into_existing(self, now: i64) -> Result<Existing, StoreError> {
        let fingerprint = self.fingerprint()?;
        let state = match self.lease_until {
            Some(until_micros) if now < until_micros => State::InFlight {
                remaining: until(now, until_micros),
            },
            Some(_) => State::Lapsed,
            None => State::Completed {
                answer: Bytes::from(self.answer.unwrap_or_default()),
                remaining: until(now, self.expires_at),
            },
        };
        Ok(Existing::new(
            fingerprint,
            self.attempt.cast_unsigned(),
            state,
        ))
    }
}
