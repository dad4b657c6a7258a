//! What a store of jobs has to say, by its contract alone. It shares nothing with the memory store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use purlin_jobs::store::{
    Claim, Enqueued, Entry, JobView, Outcome, Promoted, Rescue, Rescued, Settled, Settlement, State,
};
use purlin_jobs::{JobId, LeaseId, OnConflict, QueueName, Run, Span, UniqueKey, WorkerId};
use purlin_store::unix_micros;

/// Microseconds since 1970.
pub(crate) type Micros = i64;

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) entry: Entry,
    pub(crate) state: State,
    /// When it may start, if it waits; when it ended, if it has.
    pub(crate) at: Micros,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) is_cancelled: bool,
    pub(crate) failures: u16,
    pub(crate) crashes: u16,
    enqueued_at: Micros,
    /// When it last came into another state.
    pub(crate) moved_at: Micros,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) workers: BTreeMap<WorkerId, Micros>,
    /// Whose, and which jobs are left, in the order in which they were claimed.
    pub(crate) leases: BTreeMap<LeaseId, (WorkerId, Vec<JobId>)>,
    /// Who has it, and when that is over whatever becomes of the job.
    keys: BTreeMap<UniqueKey, (JobId, Option<Micros>)>,
    pub(crate) paused: BTreeSet<QueueName>,
    /// When a queue was last seen paused.
    pub(crate) paused_at: BTreeMap<QueueName, Micros>,
    /// How many were added. One that is done can be added again.
    added: u64,
    /// All that were ever added.
    pub(crate) ever: BTreeSet<JobId>,
    pub(crate) gone: u64,
}

pub(crate) fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap()
}

impl Model {
    pub(crate) fn enqueue(&mut self, entries: &[Entry], now: Micros) -> Vec<Enqueued> {
        let before: BTreeSet<JobId> = self.jobs.keys().copied().collect();
        let each = entries.iter();
        each.map(|entry| self.add(entry, &before, now)).collect()
    }

    fn add(&mut self, entry: &Entry, before: &BTreeSet<JobId>, now: Micros) -> Enqueued {
        let id = entry.id;
        if self.jobs.contains_key(&id) {
            return Enqueued::Existing(id);
        }
        let mut old = None;
        if let Some(unique) = entry.options.unique {
            if let Some(holder) = self.holder(unique.key(), now) {
                let waits = self.jobs.get(&holder).is_some_and(Job::waits);
                let replaces = unique.on_conflict() == OnConflict::Replace;
                if !replaces || !waits || !before.contains(&holder) {
                    return Enqueued::Existing(holder);
                }
                self.jobs.remove(&holder);
                self.gone += 1;
                old = Some(holder);
            }
            let until = match unique.span() {
                Span::For(period) => Some(now + micros(period)),
                _ => None,
            };
            self.keys.insert(*unique.key(), (id, until));
        }
        let run_at = match entry.options.run {
            Run::Now => now,
            Run::After(delay) => now + micros(delay),
            Run::At(at) => unix_micros(at),
            _ => unreachable!("no other time is enqueued here"),
        };
        let is_due = run_at <= now;
        let job = Job {
            entry: entry.clone(),
            state: if is_due {
                State::Ready
            } else {
                State::Scheduled
            },
            at: run_at.max(now),
            lease: None,
            is_cancelled: false,
            failures: 0,
            crashes: 0,
            enqueued_at: now,
            moved_at: now,
        };
        self.jobs.insert(id, job);
        self.added += 1;
        self.ever.insert(id);
        old.map_or(Enqueued::New(id), |old| Enqueued::Replaced { new: id, old })
    }

    fn holder(&self, key: &UniqueKey, now: Micros) -> Option<JobId> {
        let (job, until) = self.keys.get(key)?;
        until.is_none_or(|until| until > now).then_some(*job)
    }

    fn free(&mut self, id: JobId, spans: &[Span]) {
        if let Some(unique) = self.jobs[&id].entry.options.unique
            && spans.contains(&unique.span())
            && self
                .keys
                .get(unique.key())
                .is_some_and(|(job, _)| *job == id)
        {
            self.keys.remove(unique.key());
        }
    }

    /// Moves a job into a state, from which its key follows.
    fn enter(&mut self, id: JobId, state: State, at: Micros, now: Micros) {
        let job = self.jobs.get_mut(&id).unwrap();
        let must_end = job.state == State::Leased && job.is_cancelled;
        let waits = matches!(state, State::Ready | State::Scheduled);
        // What is to be cancelled does not wait again, and what crashes too often while it is, is cancelled.
        let state = if must_end && waits {
            State::Cancelled
        } else {
            state
        };
        (job.state, job.moved_at) = (state, now);
        job.at = if state == State::Cancelled { now } else { at };
        job.is_cancelled = false;
        job.lease = None;
        match state {
            State::Leased => self.free(id, &[Span::UntilStart]),
            State::Dead | State::Cancelled => {
                self.free(id, &[Span::UntilStart, Span::UntilDone]);
            }
            _ => {}
        }
    }

    pub(crate) fn join(&mut self, worker: WorkerId, ttl: Duration, now: Micros) {
        self.workers.insert(worker, now + micros(ttl));
    }

    fn is_alive(&self, worker: WorkerId, now: Micros) -> bool {
        self.workers.get(&worker).is_some_and(|until| *until > now)
    }

    /// `None` when the worker may not claim.
    pub(crate) fn claim(&mut self, claim: &Claim, now: Micros) -> Option<Vec<JobId>> {
        if !self.is_alive(claim.worker, now) {
            return None;
        }
        if let Some((_, jobs)) = self.leases.get(&claim.lease) {
            return Some(jobs.clone());
        }
        if self.paused.contains(&claim.queue) {
            return Some(Vec::new());
        }
        let mut ready: Vec<_> = (self.jobs.iter())
            .filter(|(_, job)| job.state == State::Ready && job.is_for(claim))
            .map(|(id, job)| (job.rank(), *id))
            .collect();
        ready.sort_unstable();
        ready.truncate(claim.limit.into());
        let taken: Vec<JobId> = ready.into_iter().map(|(_, id)| id).collect();
        for id in &taken {
            self.enter(*id, State::Leased, 0, now);
            self.jobs.get_mut(id).unwrap().lease = Some(claim.lease);
        }
        if !taken.is_empty() {
            self.leases
                .insert(claim.lease, (claim.worker, taken.clone()));
        }
        Some(taken)
    }

    pub(crate) fn settle(
        &mut self,
        lease: LeaseId,
        settlement: &Settlement,
        now: Micros,
    ) -> Settled {
        let id = settlement.id;
        let job = self.jobs.get_mut(&id);
        let Some(job) = job.filter(|job| job.lease == Some(lease)) else {
            return Settled::Stale;
        };
        let enqueued_at = job.enqueued_at;
        if matches!(
            settlement.outcome,
            Outcome::Retry { .. } | Outcome::Discard { .. }
        ) {
            job.failures += 1;
        }
        let left = &mut self.leases.get_mut(&lease).unwrap().1;
        left.retain(|job| *job != id);
        if left.is_empty() {
            self.leases.remove(&lease);
        }
        match &settlement.outcome {
            Outcome::Done => {
                self.enter(id, State::Dead, now, now);
                self.jobs.remove(&id);
                self.gone += 1;
            }
            Outcome::Retry { after, .. } | Outcome::Snooze { after } => {
                self.enter(id, State::Scheduled, now + micros(*after), now);
            }
            Outcome::Discard { .. } => self.enter(id, State::Dead, now, now),
            Outcome::Cancelled => self.enter(id, State::Cancelled, now, now),
            Outcome::Release => self.enter(id, State::Ready, enqueued_at, now),
            _ => unreachable!("no other outcome is settled here"),
        }
        Settled::Applied
    }

    /// The jobs to be cancelled; `None` when the worker is lost.
    pub(crate) fn heartbeat(
        &mut self,
        worker: WorkerId,
        ttl: Duration,
        now: Micros,
    ) -> Option<Vec<JobId>> {
        if !self.is_alive(worker, now) {
            return None;
        }
        self.workers.insert(worker, now + micros(ttl));
        let own = self.leases.values().filter(|(of, _)| *of == worker);
        let jobs = own.flat_map(|(_, jobs)| jobs.iter().copied());
        Some(jobs.filter(|id| self.jobs[id].is_cancelled).collect())
    }

    fn forget(&mut self, worker: WorkerId) -> Vec<JobId> {
        self.workers.remove(&worker);
        let (own, others) = std::mem::take(&mut self.leases)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, (of, _))| *of == worker);
        self.leases = others;
        own.into_values().flat_map(|(_, jobs)| jobs).collect()
    }

    pub(crate) fn leave(&mut self, worker: WorkerId, now: Micros) {
        for id in self.forget(worker) {
            self.enter(id, State::Ready, self.jobs[&id].enqueued_at, now);
        }
    }

    pub(crate) fn rescue(&mut self, rescue: &Rescue, now: Micros) -> Rescued {
        let dead = self.workers.iter().filter(|(_, until)| **until <= now);
        let dead: Vec<_> = dead
            .map(|(id, _)| *id)
            .take(rescue.limit as usize)
            .collect();
        let mut rescued = Rescued::default();
        for worker in dead {
            rescued.workers += 1;
            for id in self.forget(worker) {
                let job = self.jobs.get_mut(&id).unwrap();
                job.crashes += 1;
                if job.crashes < rescue.max_crashes {
                    let at = job.enqueued_at;
                    self.enter(id, State::Ready, at, now);
                } else if job.is_cancelled {
                    self.enter(id, State::Cancelled, now, now);
                } else {
                    self.enter(id, State::Dead, now, now);
                }
                match self.jobs[&id].state {
                    State::Ready => rescued.ready += 1,
                    State::Dead => rescued.dead += 1,
                    _ => {}
                }
            }
        }
        rescued
    }

    pub(crate) fn promote(&mut self, limit: u32, now: Micros) -> Promoted {
        let mut waiting: Vec<_> = (self.jobs.iter())
            .filter(|(_, job)| job.state == State::Scheduled)
            .map(|(id, job)| (job.at, *id))
            .collect();
        waiting.sort_unstable();
        let due = waiting
            .partition_point(|(at, _)| *at <= now)
            .min(limit as usize);
        for (at, id) in &waiting[..due] {
            self.enter(*id, State::Ready, *at, now);
        }
        let next = waiting
            .get(due)
            .map(|(at, _)| (at - now).max(0).unsigned_abs());
        Promoted {
            jobs: u32::try_from(due).unwrap(),
            next_in: next.map(Duration::from_micros),
        }
    }

    pub(crate) fn cancel(&mut self, id: JobId, now: Micros) -> bool {
        match self.jobs.get_mut(&id) {
            Some(job) if job.waits() => self.enter(id, State::Cancelled, now, now),
            Some(job) if job.state == State::Leased => job.is_cancelled = true,
            _ => return false,
        }
        true
    }

    /// `None` when it cannot have its key again.
    pub(crate) fn replay(&mut self, id: JobId, now: Micros) -> Option<bool> {
        let state = self.jobs.get(&id).map(|job| job.state);
        if state == Some(State::Dead) {
            let unique = self.jobs[&id].entry.options.unique;
            if let Some(unique) = unique.filter(|unique| unique.span() == Span::UntilDone) {
                if self.holder(unique.key(), now).is_some() {
                    return None;
                }
                self.keys.insert(*unique.key(), (id, None));
            }
            let job = self.jobs.get_mut(&id).unwrap();
            (job.failures, job.crashes) = (0, 0);
        } else if state != Some(State::Scheduled) {
            return Some(false);
        }
        self.enter(id, State::Ready, now, now);
        Some(true)
    }

    pub(crate) fn pause(&mut self, queue: &QueueName) -> bool {
        self.paused.insert(queue.clone())
    }

    pub(crate) fn resume(&mut self, queue: &QueueName, now: Micros) -> bool {
        self.paused_at.insert(queue.clone(), now);
        self.paused.remove(queue)
    }

    /// All that have ended, and all keys that are over.
    pub(crate) fn purge(&mut self, age: Duration, now: Micros) -> u64 {
        let before = now - micros(age);
        let rows = self.jobs.len() + self.keys.len();
        let jobs = self.jobs.len();
        self.jobs
            .retain(|_, job| !job.has_ended() || job.at > before);
        self.gone += (jobs - self.jobs.len()) as u64;
        self.keys
            .retain(|_, (_, until)| until.is_none_or(|until| until > now));
        (rows - self.jobs.len() - self.keys.len()) as u64
    }

    /// How many are ready, scheduled, leased, dead and cancelled.
    pub(crate) fn counts(&self) -> [u64; 5] {
        let mut counts = [0; 5];
        for job in self.jobs.values() {
            let at = match job.state {
                State::Ready => 0,
                State::Scheduled => 1,
                State::Leased => 2,
                State::Dead => 3,
                State::Cancelled => 4,
                state => panic!("no job of a simulation is {state:?}"),
            };
            counts[at] += 1;
        }
        counts
    }

    /// How many wait or run.
    pub(crate) fn live(&self) -> usize {
        self.jobs.values().filter(|job| !job.has_ended()).count()
    }

    /// Whether the view of a store is this job.
    pub(crate) fn is(&self, id: JobId, view: Option<&JobView>) -> bool {
        let (Some(job), Some(view)) = (self.jobs.get(&id), view) else {
            return view.is_none() && !self.jobs.contains_key(&id);
        };
        let run_at = job.waits().then_some(job.at);
        let finished_at = job.has_ended().then_some(job.at);
        (view.state, view.failures, view.crashes) == (job.state, job.failures, job.crashes)
            && view.run_at.map(unix_micros) == run_at
            && view.finished_at.map(unix_micros) == finished_at
            && view.payload == job.entry.payload
    }

    /// What must hold however it came about: the invariants of the module `checked`.
    pub(crate) fn broken(&self) -> Option<String> {
        if self.added != self.gone + self.jobs.len() as u64 {
            return Some("a job is neither there nor gone (I10)".to_owned());
        }
        let mut keys = BTreeSet::new();
        let mut leased = BTreeMap::new();
        for id in self.leases.values().flat_map(|(_, jobs)| jobs) {
            *leased.entry(id).or_insert(0) += 1;
        }
        for (id, job) in &self.jobs {
            let leases = leased.get(id).copied().unwrap_or_default();
            if leases != i32::from(job.state == State::Leased) {
                return Some(format!("{id} does not have one lease (I2)"));
            }
            let unique = job.entry.options.unique.filter(|_| !job.has_ended());
            if let Some(unique) = unique.filter(|unique| unique.span() == Span::UntilDone)
                && !keys.insert(*unique.key())
            {
                return Some(format!("{id} is not the only one of its key (I6)"));
            }
        }
        None
    }
}

impl Job {
    pub(crate) fn waits(&self) -> bool {
        matches!(self.state, State::Ready | State::Scheduled)
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Dead | State::Cancelled)
    }

    fn rank(&self) -> Micros {
        self.at + micros(self.entry.options.priority.offset())
    }

    fn is_for(&self, claim: &Claim) -> bool {
        self.entry.options.queue == claim.queue && claim.kinds.contains(&self.entry.kind)
    }
}
