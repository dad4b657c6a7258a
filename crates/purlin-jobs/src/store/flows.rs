use std::collections::HashSet;

use purlin_store::{StoreError, StoreErrorKind};

use super::Entry;
use crate::JobId;

/// A job that another one waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Which.
    pub id: JobId,
    /// For what of it.
    pub on: On,
}

/// For what of another job one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum On {
    /// That it is done. If it is cancelled, so is the one that waits.
    Done,
    /// That it has ended: done, dead or cancelled.
    Ended,
}

/// How the jobs have ended that another one has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Those that were done.
    pub done: u32,
    /// Those that were dead. One that is replayed later is not counted again.
    pub dead: u32,
    /// Those that were cancelled.
    pub cancelled: u32,
}

impl Tally {
    /// So many of each.
    #[must_use]
    pub const fn new(done: u32, dead: u32, cancelled: u32) -> Self {
        Self {
            done,
            dead,
            cancelled,
        }
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.done
            .saturating_add(self.dead)
            .saturating_add(self.cancelled)
    }
}

/// Refuses jobs with a parent that does not stand before them, or stands there twice.
pub(super) fn check_parents(store: &'static str, jobs: &[Entry]) -> Result<(), StoreError> {
    if jobs.iter().all(|job| job.parents.is_empty()) {
        return Ok(());
    }
    let mut before = HashSet::with_capacity(jobs.len());
    for job in jobs {
        let mut parents = HashSet::with_capacity(job.parents.len());
        let is_known = |parent: &Parent| before.contains(&parent.id) && parents.insert(parent.id);
        let is_linked = job.parents.iter().all(is_known);
        if !is_linked || (!before.insert(job.id) && !job.parents.is_empty()) {
            return Err(
                StoreError::new(StoreErrorKind::Refused, store, "enqueue").with_source(
                    "a job waits for one that does not stand before it, or for one twice",
                ),
            );
        }
    }
    Ok(())
}

/// What is said when a job would wait for one that was not added.
pub(super) fn parent_is_taken(store: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Conflict, store, "enqueue")
        .with_source("a job that others wait for has an id or a unique key that is taken")
}
