//! Jobs that stand in the lines of their groups, and rates.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use purlin_store::StoreError;

use super::{MemoryStore, Micros, Place, Shelf, micros};
use crate::store::limits::Standing;
use crate::store::{GroupView, LimitStore};
use crate::{JobId, Limits, QueueName, Rate};

/// The line of a group.
#[derive(Debug, Default)]
pub(super) struct Line {
    limits: Limits,
    is_set: bool,
    /// By rank.
    held: BTreeSet<(Micros, JobId)>,
    /// The admitted jobs, and whether each has a token that it has not spent.
    slots: HashMap<JobId, bool>,
    tat: Option<Micros>,
    /// When it is to be looked at again.
    due_at: Option<Micros>,
}

#[derive(Debug, Default)]
pub(super) struct Pace {
    rate: Option<Rate>,
    tat: Option<Micros>,
}

impl Pace {
    /// How many may start now.
    pub(super) fn tokens(&self, now: Micros) -> usize {
        self.rate
            .map_or(usize::MAX, |rate| rate.tokens(self.tat, now) as usize)
    }

    pub(super) fn started(&mut self, now: Micros, jobs: usize) {
        if let Some(rate) = self.rate {
            let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
            self.tat = Some(rate.started(self.tat, now, jobs));
        }
    }
}

impl Line {
    fn standing(&self, window: u32) -> Standing {
        let reserved = self.slots.values().filter(|reserved| **reserved).count();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Standing {
            limits: self.limits,
            window,
            tat: self.tat,
            admitted: count(self.slots.len()),
            reserved: count(reserved),
        }
    }

    /// Says when it is to be looked at again; `false` when it may be forgotten.
    fn settle(&mut self, now: Micros, window: u32) -> bool {
        let is_empty = self.held.is_empty() && self.slots.is_empty();
        let standing = self.standing(window);
        self.due_at = standing.due_at(now, !self.held.is_empty());
        !is_empty || self.is_set || self.due_at.is_some()
    }
}

impl Shelf {
    fn group_of(&self, id: JobId) -> Option<&str> {
        let group = self.jobs.get(&id)?.entry.options.group.as_ref()?;
        Some(&group.name)
    }

    /// What is declared of the group of a job that is added.
    pub(super) fn declare(&mut self, id: JobId) {
        let group = self.jobs.get(&id).map(|row| &row.entry.options.group);
        if let Some(Some(group)) = group {
            let line = self.groups.entry(group.name.clone()).or_default();
            if !line.is_set {
                line.limits = group.limits;
            }
            self.stirred.insert(group.name.clone());
        }
    }

    /// Puts a job into the line of its group; `false` when it has none.
    pub(super) fn hold(&mut self, id: JobId, rank: Micros) -> bool {
        let group = self.jobs.get(&id).map(|row| &row.entry.options.group);
        let Some(Some(group)) = group else {
            return false;
        };
        let (name, limits) = (group.name.clone(), group.limits);
        let line = self.groups.entry(name.clone()).or_insert_with(|| Line {
            limits,
            ..Line::default()
        });
        line.held.insert((rank, id));
        self.stirred.insert(name);
        true
    }

    pub(super) fn unhold(&mut self, id: JobId, rank: Micros) {
        if let Some(name) = self.group_of(id).map(str::to_owned)
            && let Some(line) = self.groups.get_mut(&name)
        {
            line.held.remove(&(rank, id));
            self.stirred.insert(name);
        }
    }

    /// Takes the slot of a job that is not ready or leased any more.
    pub(super) fn free_slot(&mut self, id: JobId) {
        if let Some(name) = self.group_of(id).map(str::to_owned)
            && let Some(line) = self.groups.get_mut(&name)
            && line.slots.remove(&id).is_some()
        {
            self.stirred.insert(name);
        }
    }

    /// Lets a job that is claimed spend its token.
    pub(super) fn start(&mut self, id: JobId, now: Micros) {
        if let Some(name) = self.group_of(id).map(str::to_owned)
            && let Some(line) = self.groups.get_mut(&name)
            && let Some(reserved) = line.slots.get_mut(&id)
            && std::mem::take(reserved)
            && let Some(rate) = line.limits.rate
        {
            line.tat = Some(rate.started(line.tat, now, 1));
            self.stirred.insert(name);
        }
    }

    /// Admits what may be admitted in the groups that have changed. Says how many jobs.
    pub(super) fn admit(&mut self, now: Micros, window: u32) -> u32 {
        let mut admitted = 0;
        for name in std::mem::take(&mut self.stirred) {
            let Some(line) = self.groups.get_mut(&name) else {
                continue;
            };
            let room = line.standing(window).room(now) as usize;
            let is_rated = line.limits.rate.is_some();
            let mut next = Vec::new();
            while next.len() < room
                && let Some((_, id)) = line.held.pop_first()
            {
                line.slots.insert(id, is_rated);
                next.push(id);
            }
            if line.settle(now, window) {
                let due_at = line.due_at;
                self.hear_of(due_at);
            } else {
                self.groups.remove(&name);
            }
            for (id, position) in next.into_iter().zip(0..) {
                self.make_ready(id, now.saturating_add(position));
                admitted += 1;
            }
        }
        admitted
    }

    fn hear_of(&mut self, due_at: Option<Micros>) {
        self.told_due = match (self.told_due, due_at) {
            (Some(told), Some(due_at)) => Some(told.min(due_at)),
            (told, due_at) => told.or(due_at),
        };
    }

    /// Has those groups looked at whose time has come.
    pub(super) fn stir_due(&mut self, now: Micros) {
        let due = |line: &Line| line.due_at.is_some_and(|at| at <= now);
        let due = self.groups.iter().filter(|(_, line)| due(line));
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        self.stirred.extend(due);
    }

    pub(super) fn next_due(&self) -> Option<Micros> {
        self.groups.values().filter_map(|line| line.due_at).min()
    }

    /// Puts an admitted job, or one without a group, into the ready line.
    pub(super) fn make_ready(&mut self, id: JobId, run_at: Micros) {
        if let Some(row) = self.jobs.get_mut(&id) {
            row.place = Place::Ready { run_at };
            let rank = run_at.saturating_add(micros(row.entry.options.priority.offset()));
            let queue = row.entry.options.queue.clone();
            self.ready.entry(queue).or_default().insert((rank, id));
        }
    }
}

#[async_trait]
impl LimitStore for MemoryStore {
    async fn limit_group(&self, group: &str, limits: Option<Limits>) -> Result<(), StoreError> {
        let (mut shelf, now) = self.shelf();
        let line = shelf.groups.entry(group.to_owned()).or_default();
        line.is_set = limits.is_some();
        if let Some(limits) = limits {
            line.limits = limits;
        }
        shelf.stirred.insert(group.to_owned());
        shelf.admit(now, self.window);
        self.changed();
        Ok(())
    }

    async fn group(&self, name: &str) -> Result<Option<GroupView>, StoreError> {
        let (shelf, _) = self.shelf();
        Ok(shelf.groups.get(name).map(|line| GroupView {
            limits: line.limits,
            is_set: line.is_set,
            held: line.held.len() as u64,
            admitted: line.slots.len() as u64,
        }))
    }

    async fn limit_queue(&self, queue: &QueueName, rate: Option<Rate>) -> Result<(), StoreError> {
        let (mut shelf, _) = self.shelf();
        if rate.is_some() {
            shelf.paces.entry(queue.clone()).or_default().rate = rate;
        } else {
            shelf.paces.remove(queue);
        }
        self.changed();
        Ok(())
    }

    fn more_in(&self, queue: &QueueName) -> Option<Duration> {
        let (shelf, now) = self.shelf();
        let pace = shelf.paces.get(queue)?;
        let next_at = pace.rate?.next_at(pace.tat, now, 0)?;
        (next_at > now).then(|| until(now, next_at))
    }

    fn admits_in(&self) -> Option<Duration> {
        let (mut shelf, now) = self.shelf();
        shelf.told_due.take().map(|due_at| until(now, due_at))
    }
}

/// `0` when it is past.
pub(super) fn until(now: Micros, at: Micros) -> Duration {
    Duration::from_micros(u64::try_from(at.saturating_sub(now)).unwrap_or_default())
}
