use std::collections::{HashMap, HashSet};
use std::time::UNIX_EPOCH;

use purlin_store::StoreError;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::adding::json;
use super::flows::Ended;
use super::groups::{Stirred, by_group, free_slots};
use super::row::{self, Micros, after, hex, job_id, list};
use super::{notes, sql};
use crate::store::{Failure, KeptResult, Outcome, Settled, Settlement};
use crate::{JobId, LeaseId};

/// And says whether a job goes on that has waited for one of these.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    lease: LeaseId,
    settlements: &[Settlement],
    now: Micros,
    stirred: &mut Stirred,
) -> Result<(Vec<Settled>, bool), StoreError> {
    let lease = &lease.as_uuid().as_bytes()[..];
    let ids = list(settlements.iter().map(|settlement| settlement.id.as_uuid()));
    let rows: Vec<(Vec<u8>, Option<String>, Option<u8>)> = sqlx::query_as(sql::UNLEASE)
        .bind(ids)
        .bind(lease)
        .fetch_all(&mut *connection)
        .await?;
    if rows.is_empty() {
        return Ok((vec![Settled::Stale; settlements.len()], false));
    }
    let mut leased: HashMap<JobId, Option<u8>> = HashMap::with_capacity(rows.len());
    let mut in_groups = Vec::new();
    for (id, group, flow) in rows {
        let id = job_id(&id)?;
        leased.insert(id, flow);
        in_groups.push((id, group));
    }
    let groups = by_group(in_groups);
    let ids = list(leased.keys().map(JobId::as_uuid));
    let heard = heard_more(connection, settlements).await?;
    let mut changes = Changes {
        has_groups: !groups.is_empty(),
        ..Changes::default()
    };
    let mut settled = Vec::with_capacity(settlements.len());
    for settlement in settlements {
        settled.push(if let Some(flow) = leased.remove(&settlement.id) {
            changes.add(settlement, flow.is_some(), &heard, now);
            Settled::Applied
        } else {
            Settled::Stale
        });
    }
    changes.write(connection, &ids, now).await?;
    free_slots(connection, &groups, stirred).await?;
    let end = sqlx::query(sql::END_LEASE).bind(lease);
    end.execute(&mut *connection).await?;
    let goes_on = changes.tell_children(connection, now, stirred).await?;
    Ok((settled, goes_on))
}

#[derive(Serialize)]
struct Known {
    id: String,
    signals: u32,
}

/// Which of those jobs that wait for a signal have got one more than the attempt knew of.
async fn heard_more(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<HashSet<JobId>, StoreError> {
    let known = |settlement: &Settlement| match settlement.outcome {
        Outcome::Await { signals, .. } => Some(Known {
            id: hex(settlement.id.as_uuid()),
            signals,
        }),
        _ => None,
    };
    let known: Vec<_> = settlements.iter().filter_map(known).collect();
    if known.is_empty() {
        return Ok(HashSet::new());
    }
    let heard: Vec<Vec<u8>> = sqlx::query_scalar(sql::HEARD_MORE)
        .bind(json(&known)?)
        .fetch_all(connection)
        .await?;
    Ok(row::job_ids(&heard)?.into_iter().collect())
}

/// What becomes of jobs that are in no lease any more.
#[derive(Default)]
struct Changes {
    done: Vec<JobId>,
    put_off: Vec<JobId>,
    released: Vec<JobId>,
    changed: Vec<Change>,
    of_flows: Ended,
    /// Of flows, and cancelled if somebody wants that.
    to_wait_again: Vec<JobId>,
    has_groups: bool,
    results: Vec<(JobId, KeptResult)>,
}

#[derive(Serialize)]
struct Change {
    id: String,
    run_at: Option<Micros>,
    error: Option<String>,
    finished_as: Option<&'static str>,
}

impl Changes {
    fn add(
        &mut self,
        settlement: &Settlement,
        is_of_flow: bool,
        heard: &HashSet<JobId>,
        now: Micros,
    ) {
        let id = settlement.id;
        if is_of_flow {
            match &settlement.outcome {
                Outcome::Done | Outcome::DoneWith(_) => self.of_flows.done(id),
                Outcome::Discard { .. } => self.of_flows.as_said(id, Some("dead")),
                Outcome::Cancelled => self.of_flows.cancelled(id),
                Outcome::Retry { .. }
                | Outcome::Snooze { .. }
                | Outcome::Await { .. }
                | Outcome::Release => {
                    self.to_wait_again.push(id);
                }
            }
        }
        let mut change = Change {
            id: hex(id.as_uuid()),
            run_at: None,
            error: None,
            finished_as: None,
        };
        match &settlement.outcome {
            Outcome::Done => return self.done.push(id),
            Outcome::DoneWith(result) => {
                self.results.push((id, result.clone()));
                return self.done.push(id);
            }
            Outcome::Await { .. } if heard.contains(&id) => self.released.push(id),
            Outcome::Retry { after: later, .. }
            | Outcome::Snooze { after: later }
            | Outcome::Await { up_to: later, .. } => {
                change.run_at = Some(after(now, *later));
                self.put_off.push(id);
            }
            Outcome::Discard { .. } => change.finished_as = Some("dead"),
            Outcome::Cancelled => change.finished_as = Some("cancelled"),
            Outcome::Release => self.released.push(id),
        }
        if let Outcome::Retry { error, .. } | Outcome::Discard { error } = &settlement.outcome {
            change.error = Some(Failure::new(error, UNIX_EPOCH).error);
        }
        self.changed.push(change);
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        ids: &str,
        now: Micros,
    ) -> Result<(), StoreError> {
        if !self.changed.is_empty() {
            let change = sqlx::query(sql::CHANGE)
                .bind(json(&self.changed)?)
                .bind(now);
            change.execute(&mut *connection).await?;
        }
        let in_line = if self.has_groups {
            &*self.released
        } else {
            &[]
        };
        for (ids, statement) in [
            (&*self.done, sql::DELETE),
            (&self.put_off, sql::SCHEDULE),
            (&self.released, sql::READY),
            (in_line, sql::HOLD),
        ] {
            if !ids.is_empty() {
                let ids = list(ids.iter().map(JobId::as_uuid));
                let write = sqlx::query(statement).bind(ids);
                write.execute(&mut *connection).await?;
            }
        }
        for (job, result) in &self.results {
            notes::keep(connection, *job, result, now).await?;
        }
        let free = sqlx::query(sql::FREE_KEYS).bind(ids);
        free.execute(connection).await?;
        Ok(())
    }

    async fn tell_children(
        self,
        connection: &mut SqliteConnection,
        now: Micros,
        stirred: &mut Stirred,
    ) -> Result<bool, StoreError> {
        let mut ended = self.of_flows;
        if !self.to_wait_again.is_empty() {
            let cancelled: Vec<Vec<u8>> = sqlx::query_scalar(sql::CANCELLED)
                .bind(list(self.to_wait_again.iter().map(JobId::as_uuid)))
                .fetch_all(&mut *connection)
                .await?;
            for id in row::job_ids(&cancelled)? {
                ended.cancelled(id);
            }
        }
        ended.tell(connection, now, stirred).await
    }
}
