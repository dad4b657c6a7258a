//! The end of the work on jobs.

use std::collections::HashSet;
use std::time::UNIX_EPOCH;

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{PostgresStore, interval, row};
use crate::store::{Failure, KeptResult, Outcome, Settled, Settlement};
use crate::{JobId, LeaseId};

impl PostgresStore {
    pub(super) async fn settle_leased(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, sqlx::Error> {
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        let mut seen = HashSet::with_capacity(settlements.len());
        let firsts: Vec<_> = settlements
            .iter()
            .filter(|settlement| seen.insert(settlement.id))
            .collect();
        let ids: Vec<Uuid> = firsts.iter().map(|first| *first.id.as_uuid()).collect();
        let all_done = firsts.iter().all(|first| first.outcome == Outcome::Done);
        let query = if all_done {
            self.query(&self.sql.settle_done)
                .bind(lease.as_uuid())
                .bind(ids)
                .bind(&*self.channel)
        } else {
            let columns: Vec<_> = firsts.iter().map(|first| columns(&first.outcome)).collect();
            let outcomes: Vec<_> = columns.iter().map(|column| column.0).collect();
            let (afters, errors): (Vec<_>, Vec<_>) = columns
                .into_iter()
                .map(|(_, after, error)| (after, error))
                .unzip();
            let results = firsts.iter().map(|first| result(&first.outcome));
            let results: Vec<_> = results.collect();
            let value = |kept: &Option<&KeptResult>| kept.map(|kept| kept.value.to_vec());
            let ttl = |kept: &Option<&KeptResult>| kept.map(|kept| interval(kept.ttl));
            self.query(&self.sql.settle)
                .bind(lease.as_uuid())
                .bind(ids)
                .bind(outcomes)
                .bind(afters)
                .bind(errors)
                .bind(&*self.channel)
                .bind(Vec::from_iter(
                    firsts.iter().map(|first| signals(&first.outcome)),
                ))
                .bind(Vec::from_iter(results.iter().map(value)))
                .bind(Vec::from_iter(results.iter().map(ttl)))
        };
        let row = self.runner.fetch_one(None, query).await?;
        self.goes_on(&row)?;
        self.heard(&row)?;
        let may_be_ready =
            |outcome: &Outcome| matches!(outcome, Outcome::Release | Outcome::Await { .. });
        if firsts.iter().any(|first| may_be_ready(&first.outcome)) {
            self.low_water.forget(None);
        }
        let mut applied: HashSet<JobId> = row::ids(&row)?.into_iter().collect();
        let settled = settlements.iter().map(|settlement| {
            if applied.remove(&settlement.id) {
                Settled::Applied
            } else {
                Settled::Stale
            }
        });
        Ok(settled.collect())
    }

    pub(super) async fn complete_joined(
        &self,
        connection: &mut PgConnection,
        lease: LeaseId,
        job: JobId,
    ) -> Result<Settled, sqlx::Error> {
        let lock = sqlx::query(self.sql.lock_job.clone())
            .bind(*lease.as_uuid())
            .bind(*job.as_uuid());
        if self
            .runner
            .fetch_all(Some(&mut *connection), lock)
            .await?
            .is_empty()
        {
            return Ok(Settled::Stale);
        }
        let complete = self
            .query(&self.sql.complete_in)
            .bind(*lease.as_uuid())
            .bind(*job.as_uuid())
            .bind(&*self.channel);
        let row = self.runner.fetch_one(Some(connection), complete).await?;
        self.goes_on(&row)?;
        Ok(if row.try_get("done")? {
            Settled::Applied
        } else {
            Settled::Stale
        })
    }
}

/// An outcome as the statement knows it, the time until the job goes on, and what went wrong.
fn columns(outcome: &Outcome) -> (i16, Option<PgInterval>, Option<String>) {
    let shortened = |error: &str| Some(Failure::new(error, UNIX_EPOCH).error);
    match outcome {
        Outcome::Done => (0, None, None),
        Outcome::Retry { after, error } => (1, Some(interval(*after)), shortened(error)),
        Outcome::Discard { error } => (2, None, shortened(error)),
        Outcome::Cancelled => (3, None, None),
        Outcome::Snooze { after } => (4, Some(interval(*after)), None),
        Outcome::Release => (5, None, None),
        Outcome::DoneWith(_) => (-1, None, None),
        Outcome::Await { up_to, .. } => (6, Some(interval(*up_to)), None),
    }
}

fn result(outcome: &Outcome) -> Option<&KeptResult> {
    match outcome {
        Outcome::DoneWith(result) => Some(result),
        _ => None,
    }
}

fn signals(outcome: &Outcome) -> Option<i32> {
    match outcome {
        Outcome::Await { signals, .. } => Some(i32::try_from(*signals).unwrap_or(i32::MAX)),
        _ => None,
    }
}
