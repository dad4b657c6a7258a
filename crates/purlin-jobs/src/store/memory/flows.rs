use std::collections::{HashMap, HashSet};

use purlin_store::StoreError;

use super::{Micros, NAME, Place, Shelf, micros};
use crate::store::flows::{check_parents, parent_is_taken};
use crate::store::{Entry, On};
use crate::{JobId, OnConflict, Span};

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Dead,
    Cancelled,
}

impl Shelf {
    /// Refuses a call in which a job that is added waits for one that is not.
    pub(super) fn check_flow(&self, jobs: &[Entry], now: Micros) -> Result<(), StoreError> {
        check_parents(NAME, jobs)?;
        if jobs.iter().all(|job| job.parents.is_empty()) {
            return Ok(());
        }
        let mut trial = Trial::default();
        for job in jobs {
            let is_added = trial.adds(self, job, now);
            let has_all = |trial: &Trial| job.parents.iter().all(|p| trial.added.contains(&p.id));
            if is_added && !has_all(&trial) {
                return Err(parent_is_taken(NAME));
            }
        }
        Ok(())
    }

    /// Lets a job wait for its parents.
    pub(super) fn block(&mut self, entry: &Entry) {
        for parent in &entry.parents {
            self.edges.insert((parent.id, entry.id), parent.on);
        }
        self.stand(entry.id, Place::Blocked);
    }

    /// Lets a job wait for nobody.
    pub(super) fn unblock(&mut self, id: JobId) {
        let parents = self
            .jobs
            .get_mut(&id)
            .map(|row| std::mem::take(&mut row.parents));
        for parent in parents.into_iter().flatten() {
            self.edges.remove(&(parent, id));
        }
    }

    /// Those who wait for `old` wait for `new`.
    pub(super) fn hand_children_on(&mut self, old: JobId, new: JobId) {
        for (child, on) in self.children(old) {
            self.edges.remove(&(old, child));
            self.edges.insert((new, child), on);
            if let Some(row) = self.jobs.get_mut(&child) {
                row.parents.remove(&old);
                row.parents.insert(new);
            }
        }
    }

    /// Tells those who wait for a job that it has ended, and those who wait for the ones that are
    /// cancelled by that.
    pub(super) fn tell_children(&mut self, id: JobId, end: End, now: Micros) {
        let mut ended = vec![(id, end)];
        while let Some((parent, end)) = ended.pop() {
            for (child, on) in self.children(parent) {
                match (on, end) {
                    (On::Done, End::Dead) => {}
                    (On::Done, End::Cancelled) => {
                        self.unblock(child);
                        self.stand(child, Place::Cancelled { at: now });
                        ended.push((child, End::Cancelled));
                    }
                    (On::Done, End::Done) | (On::Ended, _) => self.tell(parent, child, end, now),
                }
            }
        }
    }

    fn tell(&mut self, parent: JobId, child: JobId, end: End, now: Micros) {
        self.edges.remove(&(parent, child));
        let Some(row) = self.jobs.get_mut(&child) else {
            return;
        };
        *match end {
            End::Done => &mut row.tally.done,
            End::Dead => &mut row.tally.dead,
            End::Cancelled => &mut row.tally.cancelled,
        } += 1;
        row.parents.remove(&parent);
        if row.parents.is_empty() {
            self.begin(child, now);
        }
    }

    fn children(&self, parent: JobId) -> Vec<(JobId, On)> {
        let least = JobId::from_uuid(uuid::Uuid::nil());
        self.edges
            .range((parent, least)..)
            .take_while(|((id, _), _)| *id == parent)
            .map(|((_, child), on)| (*child, *on))
            .collect()
    }
}

/// What would become of a call's jobs.
#[derive(Default)]
struct Trial {
    added: HashSet<JobId>,
    replaced: HashSet<JobId>,
    keys: HashMap<crate::UniqueKey, JobId>,
}

impl Trial {
    fn adds(&mut self, shelf: &Shelf, job: &Entry, now: Micros) -> bool {
        let is_old = shelf.jobs.contains_key(&job.id) && !self.replaced.contains(&job.id);
        if is_old || self.added.contains(&job.id) {
            return false;
        }
        if let Some(unique) = &job.options.unique {
            if self.keys.contains_key(&unique.key) {
                return false;
            }
            if let Some(holder) = shelf.holder(&unique.key, now) {
                let waits = shelf.jobs.get(&holder).is_some_and(|row| {
                    matches!(
                        row.place,
                        Place::Ready { .. } | Place::Held { .. } | Place::Scheduled { .. }
                    )
                });
                if unique.on_conflict == OnConflict::Keep || !waits {
                    return false;
                }
                self.replaced.insert(holder);
            }
            // A period that is over at once excludes nobody.
            if !matches!(unique.span, Span::For(period) if micros(period) == 0) {
                self.keys.insert(unique.key, job.id);
            }
        }
        self.added.insert(job.id);
        true
    }
}
