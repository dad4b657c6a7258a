use std::collections::HashSet;

use purlin_store::StoreError;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::adding::json;
use super::row::{self, Micros, after, hex, list};
use super::sql;
use crate::store::{Outcome, Settled, Settlement};
use crate::{JobId, LeaseId};

pub(super) async fn settle(
    connection: &mut SqliteConnection,
    lease: LeaseId,
    settlements: &[Settlement],
    now: Micros,
) -> Result<Vec<Settled>, StoreError> {
    let lease = &lease.as_uuid().as_bytes()[..];
    let ids = list(settlements.iter().map(|settlement| settlement.id.as_uuid()));
    let leased: Vec<Vec<u8>> = sqlx::query_scalar(sql::UNLEASE)
        .bind(ids)
        .bind(lease)
        .fetch_all(&mut *connection)
        .await?;
    if leased.is_empty() {
        return Ok(vec![Settled::Stale; settlements.len()]);
    }
    let mut leased: HashSet<JobId> = row::job_ids(&leased)?.into_iter().collect();
    let mut changes = Changes::default();
    let mut settled = Vec::with_capacity(settlements.len());
    for settlement in settlements {
        settled.push(if leased.remove(&settlement.id) {
            changes.add(settlement, now);
            Settled::Applied
        } else {
            Settled::Stale
        });
    }
    changes.write(connection, now).await?;
    let end = sqlx::query(sql::END_LEASE).bind(lease);
    end.execute(connection).await?;
    Ok(settled)
}

/// What becomes of jobs that are in no lease any more.
#[derive(Default)]
struct Changes<'a> {
    done: Vec<JobId>,
    /// Done, dead or cancelled.
    ended: Vec<JobId>,
    released: Vec<JobId>,
    changed: Vec<Change<'a>>,
}

#[derive(Serialize)]
struct Change<'a> {
    id: String,
    run_at: Option<Micros>,
    error: Option<&'a str>,
    finished_as: Option<&'static str>,
}

impl<'a> Changes<'a> {
    fn add(&mut self, settlement: &'a Settlement, now: Micros) {
        let id = settlement.id;
        let mut change = Change {
            id: hex(id.as_uuid()),
            run_at: None,
            error: None,
            finished_as: None,
        };
        match &settlement.outcome {
            Outcome::Done => {
                self.done.push(id);
                self.ended.push(id);
                return;
            }
            Outcome::Retry { after: later, error } => {
                change.run_at = Some(after(now, *later));
                change.error = Some(error);
            }
            Outcome::Snooze { after: later } => change.run_at = Some(after(now, *later)),
            Outcome::Discard { error } => {
                change.error = Some(error);
                change.finished_as = Some("dead");
                self.ended.push(id);
            }
            Outcome::Cancelled => {
                change.finished_as = Some("cancelled");
                self.ended.push(id);
            }
            Outcome::Release => self.released.push(id),
        }
        self.changed.push(change);
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        now: Micros,
    ) -> Result<(), StoreError> {
        if !self.changed.is_empty() {
            let changed = json(&self.changed)?;
            let change = sqlx::query(sql::CHANGE).bind(&changed).bind(now);
            change.execute(&mut *connection).await?;
            if self.changed.iter().any(|change| change.run_at.is_some()) {
                // Those that are due are promoted in their turn.
                let always = Micros::MIN;
                let schedule = sqlx::query(sql::SCHEDULE).bind(&changed).bind(always);
                schedule.execute(&mut *connection).await?;
            }
        }
        for (ids, statement) in [
            (&self.released, sql::READY),
            (&self.ended, sql::FREE_KEYS),
            (&self.done, sql::DELETE),
        ] {
            if !ids.is_empty() {
                let ids = list(ids.iter().map(JobId::as_uuid));
                let write = sqlx::query(statement).bind(ids);
                write.execute(&mut *connection).await?;
            }
        }
        Ok(())
    }
}
