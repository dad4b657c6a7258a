//! Jobs that wait for others.

use std::collections::{HashMap, HashSet};

use purlin_store::StoreError;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::enqueue::{after, at, uuids};
use super::{NAME, PostgresStore, row};
use crate::JobId;
use crate::store::flows::parent_is_taken;
use crate::store::{Enqueued, Entry, On};

/// A job waits for others, or did.
const IS_CHILD: i16 = 1;
/// Others wait for it, or did.
pub(super) const HAS_CHILDREN: i16 = 2;

/// Who waits or is waited for: what the column says of each job that is added.
#[derive(Default)]
pub(super) struct Flows(HashMap<JobId, i16>);

impl Flows {
    pub(super) fn of(jobs: &[Entry]) -> Self {
        let mut flows = Self::default();
        for job in jobs.iter().filter(|job| !job.parents.is_empty()) {
            flows.add(job.id, IS_CHILD);
            for parent in &job.parents {
                flows.add(parent.id, HAS_CHILDREN);
            }
        }
        flows
    }

    pub(super) fn add(&mut self, id: JobId, bit: i16) {
        *self.0.entry(id).or_default() |= bit;
    }

    /// As short as it can be: what is missing is null.
    pub(super) fn column(&self, jobs: &[&Entry]) -> Vec<Option<i16>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        jobs.iter()
            .map(|job| self.0.get(&job.id).copied())
            .collect()
    }
}

impl PostgresStore {
    /// Lets those wait that were added in this transaction, for others that were.
    pub(super) async fn link(
        &self,
        connection: &mut PgConnection,
        jobs: &[Entry],
        enqueued: &[Enqueued],
    ) -> Result<(), StoreError> {
        let is_new = |(job, enqueued): (&Entry, &Enqueued)| {
            let is_new = !matches!(enqueued, Enqueued::Existing(_));
            is_new.then_some(job.id)
        };
        let new: HashSet<JobId> = jobs.iter().zip(enqueued).filter_map(is_new).collect();
        let mut listed = HashSet::new();
        let mut blocked: Vec<&Entry> = Vec::new();
        for job in jobs.iter().filter(|job| !job.parents.is_empty()) {
            if !new.contains(&job.id) || !listed.insert(job.id) {
                continue;
            }
            if !job.parents.iter().all(|parent| new.contains(&parent.id)) {
                return Err(parent_is_taken(NAME));
            }
            blocked.push(job);
        }
        if blocked.is_empty() {
            return Ok(());
        }
        let waits_for = |job: &&Entry| i32::try_from(job.parents.len()).unwrap_or(i32::MAX);
        let edges = || {
            let edges = |job: &'_ &Entry| {
                let (id, parents) = (*job.id.as_uuid(), job.parents.clone());
                parents.into_iter().map(move |parent| (parent, id))
            };
            blocked.iter().flat_map(edges)
        };
        let parents: Vec<Uuid> = edges().map(|(parent, _)| *parent.id.as_uuid()).collect();
        let query = sqlx::query(self.sql.link.clone())
            .bind(uuids(blocked.iter().copied()))
            .bind(blocked.iter().map(waits_for).collect::<Vec<_>>())
            .bind(blocked.iter().map(|job| at(job)).collect::<Vec<_>>())
            .bind(blocked.iter().map(|job| after(job)).collect::<Vec<_>>())
            .bind(parents)
            .bind(edges().map(|(_, child)| child).collect::<Vec<_>>())
            .bind(
                edges()
                    .map(|(parent, _)| parent.on == On::Ended)
                    .collect::<Vec<_>>(),
            );
        self.runner.fetch_all(Some(connection), query).await?;
        Ok(())
    }

    /// Claims have to look where the jobs stand that go on by what was read.
    pub(super) fn goes_on(&self, row: &PgRow) -> Result<(), sqlx::Error> {
        if let Some(lowest) = row::micros(row, "lowest")? {
            self.low_water.lower_all(lowest);
        }
        Ok(())
    }
}
