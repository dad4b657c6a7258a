mod flows;
mod groups;
mod notes;
mod schedules;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use purlin_store::{Clock, StoreError, StoreErrorKind, SystemClock, from_unix_micros, unix_micros};

use self::flows::End;
use self::groups::{Line, Pace, until};
use self::notes::Remembered;
use super::limits::GROUP_WINDOW;
use super::{
    Beat, Claim, Claimed, Counts, Enqueued, Entry, Failure, Filter, JobAdmin, JobStore, JobView,
    KeptResult, LimitStore, NoteStore, On, Outcome, Page, Promoted, Rescue, Rescued, ScheduleStore,
    Settled, Settlement, State, Tally, Wake, Wakeups,
};
use crate::watched::Watched;
use crate::{JobId, LeaseId, OnConflict, QueueName, Run, Span, UniqueKey, WorkerId};

const NAME: &str = "memory";

/// Jobs in the memory of this process, for tests and for work that may be lost with it.
///
/// It keeps the whole contract of [`JobStore`] but for what needs a disk. Clones share the jobs.
///
/// # Cancel safety
///
/// No call awaits anything: each is done when it is first polled.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shelf: Arc<Mutex<Shelf>>,
    /// How many calls there were that may have made a job ready.
    changes: Arc<Watched<u64>>,
    clock: Arc<dyn Clock>,
    window: u32,
}

impl MemoryStore {
    /// A store without jobs.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shelf: Arc::default(),
            changes: Arc::default(),
            clock: Arc::new(SystemClock),
            window: GROUP_WINDOW,
        }
    }

    /// Judges times by this clock; by default it is this process's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How many jobs of a group that declares no limit are ready or leased at a time. Default 16; at least 1.
    #[must_use]
    pub fn with_group_window(mut self, jobs: u32) -> Self {
        self.window = jobs.max(1);
        self
    }

    /// Wakes who waits for jobs.
    fn changed(&self) {
        self.changes.change(|changes| {
            *changes = changes.wrapping_add(1);
            true
        });
    }

    fn shelf(&self) -> (MutexGuard<'_, Shelf>, Micros) {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        (shelf, unix_micros(self.clock.now()))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// Microseconds since 1970.
type Micros = i64;

#[derive(Debug, Default)]
struct Shelf {
    jobs: BTreeMap<JobId, Row>,
    /// By queue and rank.
    ready: BTreeMap<QueueName, BTreeSet<(Micros, JobId)>>,
    /// By the time to start.
    scheduled: BTreeSet<(Micros, JobId)>,
    workers: BTreeMap<WorkerId, Micros>,
    leases: BTreeMap<LeaseId, Lease>,
    unique: BTreeMap<UniqueKey, Holder>,
    /// By parent and child: who waits for whom.
    edges: BTreeMap<(JobId, JobId), On>,
    paused: HashSet<QueueName>,
    schedules: BTreeMap<String, schedules::Schedule>,
    groups: BTreeMap<String, Line>,
    /// Groups that may have to admit jobs when the call ends.
    stirred: BTreeSet<String>,
    /// The earliest time to look at a group again that nobody has asked for yet.
    told_due: Option<Micros>,
    paces: BTreeMap<QueueName, Pace>,
    /// Until when each is kept.
    results: BTreeMap<JobId, (KeptResult, Micros)>,
}

#[derive(Debug)]
struct Row {
    entry: Entry,
    place: Place,
    failures: u16,
    crashes: u16,
    failure: Option<Failure>,
    enqueued_at: Micros,
    /// For whom it still waits.
    parents: BTreeSet<JobId>,
    tally: Tally,
    remembered: Remembered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Blocked,
    Ready { run_at: Micros },
    Scheduled { run_at: Micros },
    Leased { is_cancelled: bool },
    Dead { at: Micros },
    Cancelled { at: Micros },
    Held { run_at: Micros },
}

impl Place {
    fn state(self) -> State {
        match self {
            Self::Blocked => State::Blocked,
            Self::Ready { .. } => State::Ready,
            Self::Scheduled { .. } => State::Scheduled,
            Self::Leased { .. } => State::Leased,
            Self::Dead { .. } => State::Dead,
            Self::Cancelled { .. } => State::Cancelled,
            Self::Held { .. } => State::Held,
        }
    }
}

#[derive(Debug)]
struct Lease {
    worker: WorkerId,
    /// In the order of the queue.
    jobs: Vec<JobId>,
}

#[derive(Debug)]
struct Holder {
    job: JobId,
    /// When the key is free whatever becomes of the job.
    until: Option<Micros>,
}

impl Shelf {
    /// Puts a job that is nowhere where it belongs, and tells its children if that is an end.
    fn place(&mut self, id: JobId, place: Place) {
        self.stand(id, place);
        match place {
            Place::Dead { at } => self.tell_children(id, End::Dead, at),
            Place::Cancelled { at } => self.tell_children(id, End::Cancelled, at),
            _ => {}
        }
    }

    /// Says where a job stands, and frees its slot, and its unique key if that is over by now.
    fn stand(&mut self, id: JobId, place: Place) {
        if !matches!(place, Place::Leased { .. }) {
            self.free_slot(id);
        }
        let Some(row) = self.jobs.get_mut(&id) else {
            return;
        };
        row.place = place;
        match place {
            Place::Blocked => {}
            Place::Ready { run_at } | Place::Held { run_at } => {
                let rank = run_at.saturating_add(micros(row.entry.options.priority.offset()));
                if self.hold(id, rank) {
                    if let Some(row) = self.jobs.get_mut(&id) {
                        row.place = Place::Held { run_at };
                    }
                } else {
                    self.make_ready(id, run_at);
                }
            }
            Place::Scheduled { run_at } => {
                self.scheduled.insert((run_at, id));
            }
            Place::Leased { .. } => self.free(id, Span::UntilStart),
            Place::Dead { .. } | Place::Cancelled { .. } => {
                self.free(id, Span::UntilStart);
                self.free(id, Span::UntilDone);
            }
        }
    }

    /// Takes a job from where it waits.
    fn unplace(&mut self, id: JobId) {
        let Some(row) = self.jobs.get(&id) else {
            return;
        };
        let options = &row.entry.options;
        match row.place {
            Place::Ready { run_at } => {
                let rank = run_at.saturating_add(micros(options.priority.offset()));
                if let Some(queue) = self.ready.get_mut(&options.queue) {
                    queue.remove(&(rank, id));
                }
            }
            Place::Held { run_at } => {
                let rank = run_at.saturating_add(micros(options.priority.offset()));
                self.unhold(id, rank);
            }
            Place::Scheduled { run_at } => {
                self.scheduled.remove(&(run_at, id));
            }
            Place::Blocked
            | Place::Leased { .. }
            | Place::Dead { .. }
            | Place::Cancelled { .. } => {}
        }
    }

    /// Lets a job that was leased wait again, unless it is to be cancelled.
    fn put_back(&mut self, id: JobId, place: Place, now: Micros) {
        let to_cancel = Place::Leased { is_cancelled: true };
        if self.jobs.get(&id).is_some_and(|row| row.place == to_cancel) {
            self.place(id, Place::Cancelled { at: now });
        } else {
            self.place(id, place);
        }
    }

    /// Makes a job that was leased ready where it stood before.
    fn give_back(&mut self, id: JobId, now: Micros) {
        if let Some(row) = self.jobs.get(&id) {
            let run_at = row.enqueued_at;
            self.put_back(id, Place::Ready { run_at }, now);
        }
    }

    fn holder(&self, key: &UniqueKey, now: Micros) -> Option<JobId> {
        let holder = self.unique.get(key)?;
        let is_over = holder.until.is_some_and(|until| until <= now);
        (!is_over).then_some(holder.job)
    }

    /// Frees the unique key of a job that has come to the end of this span.
    fn free(&mut self, id: JobId, ended: Span) {
        let Some(unique) = self.jobs.get(&id).and_then(|row| row.entry.options.unique) else {
            return;
        };
        let is_held = self
            .unique
            .get(&unique.key)
            .is_some_and(|holder| holder.job == id);
        if unique.span == ended && is_held {
            self.unique.remove(&unique.key);
        }
    }

    /// Takes the key of the entry for it. Otherwise says who has it. One that was `added` by the same
    /// call is not replaced.
    fn take_key(
        &mut self,
        entry: &Entry,
        added: &HashSet<JobId>,
        now: Micros,
    ) -> Result<Option<JobId>, JobId> {
        let Some(unique) = &entry.options.unique else {
            return Ok(None);
        };
        let mut replaced = None;
        if let Some(holder) = self.holder(&unique.key, now) {
            let waits = self.jobs.get(&holder).is_some_and(|row| {
                matches!(
                    row.place,
                    Place::Ready { .. } | Place::Held { .. } | Place::Scheduled { .. }
                )
            });
            if unique.on_conflict == OnConflict::Keep || !waits || added.contains(&holder) {
                return Err(holder);
            }
            self.unplace(holder);
            self.free_slot(holder);
            self.jobs.remove(&holder);
            self.hand_children_on(holder, entry.id);
            replaced = Some(holder);
        }
        let until = match unique.span {
            Span::For(period) => Some(now.saturating_add(micros(period))),
            Span::UntilStart | Span::UntilDone => None,
        };
        let job = entry.id;
        self.unique.insert(unique.key, Holder { job, until });
        Ok(replaced)
    }

    fn add(&mut self, entry: &Entry, added: &mut HashSet<JobId>, now: Micros) -> Enqueued {
        let id = entry.id;
        if self.jobs.contains_key(&id) {
            return Enqueued::Existing(id);
        }
        let replaced = match self.take_key(entry, added, now) {
            Ok(replaced) => replaced,
            Err(holder) => return Enqueued::Existing(holder),
        };
        self.jobs.insert(
            id,
            Row {
                entry: entry.clone(),
                place: Place::Leased {
                    is_cancelled: false,
                },
                failures: 0,
                crashes: 0,
                failure: None,
                enqueued_at: now,
                parents: entry.parents.iter().map(|parent| parent.id).collect(),
                tally: Tally::default(),
                remembered: Remembered::default(),
            },
        );
        added.insert(id);
        self.declare(id);
        if entry.parents.is_empty() {
            self.begin(id, now);
        } else {
            self.block(entry);
        }
        match replaced {
            Some(old) => Enqueued::Replaced { new: id, old },
            None => Enqueued::New(id),
        }
    }

    /// Lets a job wait for its time from now on.
    fn begin(&mut self, id: JobId, now: Micros) {
        let Some(row) = self.jobs.get(&id) else {
            return;
        };
        let run_at = match row.entry.options.run {
            Run::Now => now,
            Run::After(delay) => now.saturating_add(micros(delay)),
            Run::At(at) => unix_micros(at),
        };
        if run_at <= now {
            self.place(id, Place::Ready { run_at: now });
        } else {
            self.place(id, Place::Scheduled { run_at });
        }
    }

    fn lease(&mut self, claim: &Claim, now: Micros) {
        let mut taken = Vec::new();
        if !self.paused.contains(&claim.queue) {
            let queue = self.ready.entry(claim.queue.clone()).or_default();
            let known = |id: &JobId| {
                let kind = &self.jobs[id].entry.kind;
                claim.kinds.contains(kind)
            };
            let next = queue.iter().map(|(_, id)| *id).filter(known);
            let tokens = self.paces.get(&claim.queue).map(|pace| pace.tokens(now));
            let limit = tokens.unwrap_or(usize::MAX).min(claim.limit.into());
            taken = next.take(limit).collect();
        }
        for id in &taken {
            self.unplace(*id);
            self.place(
                *id,
                Place::Leased {
                    is_cancelled: false,
                },
            );
            self.start(*id, now);
        }
        if let Some(pace) = self.paces.get_mut(&claim.queue) {
            pace.started(now, taken.len());
        }
        if !taken.is_empty() {
            let worker = claim.worker;
            self.leases.insert(
                claim.lease,
                Lease {
                    worker,
                    jobs: taken,
                },
            );
        }
    }

    fn settle(&mut self, lease: LeaseId, settlement: &Settlement, now: Micros) -> Settled {
        let id = settlement.id;
        let Some(jobs) = self.leases.get_mut(&lease).map(|lease| &mut lease.jobs) else {
            return Settled::Stale;
        };
        let Some(position) = jobs.iter().position(|job| *job == id) else {
            return Settled::Stale;
        };
        jobs.remove(position);
        if jobs.is_empty() {
            self.leases.remove(&lease);
        }
        match &settlement.outcome {
            Outcome::Done => self.complete(id, now),
            Outcome::Retry { after, error } => {
                self.fail(id, error, now);
                let run_at = now.saturating_add(micros(*after));
                self.put_back(id, Place::Scheduled { run_at }, now);
            }
            Outcome::Discard { error } => {
                self.fail(id, error, now);
                self.place(id, Place::Dead { at: now });
            }
            Outcome::Cancelled => self.place(id, Place::Cancelled { at: now }),
            Outcome::Snooze { after } => {
                let run_at = now.saturating_add(micros(*after));
                self.put_back(id, Place::Scheduled { run_at }, now);
            }
            Outcome::DoneWith(result) => {
                let until = now.saturating_add(micros(result.ttl));
                self.results.insert(id, (result.clone(), until));
                self.complete(id, now);
            }
            Outcome::Await { signals, .. } if self.has_heard_more(id, *signals) => {
                self.give_back(id, now);
            }
            Outcome::Await { up_to, .. } => {
                let run_at = now.saturating_add(micros(*up_to));
                self.put_back(id, Place::Scheduled { run_at }, now);
            }
            Outcome::Release => self.give_back(id, now),
        }
        Settled::Applied
    }

    fn complete(&mut self, id: JobId, now: Micros) {
        self.stand(id, Place::Dead { at: now });
        self.jobs.remove(&id);
        self.tell_children(id, End::Done, now);
    }

    fn fail(&mut self, id: JobId, error: &str, now: Micros) {
        if let Some(row) = self.jobs.get_mut(&id) {
            row.failures = row.failures.saturating_add(1);
            row.failure = failure(error, now);
        }
    }

    fn leases_of(&self, worker: WorkerId) -> Vec<LeaseId> {
        let own = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.worker == worker);
        own.map(|(id, _)| *id).collect()
    }

    /// The jobs of a worker that is not there any more.
    fn forget(&mut self, worker: WorkerId) -> Vec<JobId> {
        self.workers.remove(&worker);
        let leases = self.leases_of(worker).into_iter();
        let jobs = leases.filter_map(|lease| self.leases.remove(&lease));
        jobs.flat_map(|lease| lease.jobs).collect()
    }

    /// Counts a crash of a job that was leased, and says where it stands now.
    fn crash(&mut self, id: JobId, max_crashes: u16, now: Micros) -> Option<State> {
        let row = self.jobs.get_mut(&id)?;
        row.crashes = row.crashes.saturating_add(1);
        if row.crashes < max_crashes {
            self.give_back(id, now);
        } else {
            self.put_back(id, Place::Dead { at: now }, now);
        }
        let row = self.jobs.get_mut(&id)?;
        let state = row.place.state();
        if state == State::Dead {
            row.failure = failure(Failure::CRASHED, now);
        }
        Some(state)
    }

    fn view(&self, id: JobId) -> Option<JobView> {
        let row = self.jobs.get(&id)?;
        let (run_at, finished_at) = match row.place {
            Place::Ready { run_at } | Place::Held { run_at } | Place::Scheduled { run_at } => {
                (Some(run_at), None)
            }
            Place::Blocked | Place::Leased { .. } => (None, None),
            Place::Dead { at } | Place::Cancelled { at } => (None, Some(at)),
        };
        Some(JobView {
            id,
            kind: row.entry.kind.clone(),
            version: row.entry.version,
            queue: row.entry.options.queue.clone(),
            state: row.place.state(),
            payload: row.entry.payload.clone(),
            failures: row.failures,
            crashes: row.crashes,
            max_attempts: row.entry.options.max_attempts,
            failure: row.failure.clone(),
            enqueued_at: from_unix_micros(row.enqueued_at)?,
            run_at: run_at.and_then(from_unix_micros),
            finished_at: finished_at.and_then(from_unix_micros),
            waits_for: u32::try_from(row.parents.len()).unwrap_or(u32::MAX),
            parents: row.tally,
        })
    }

    fn claimed(&self, id: JobId) -> Option<Claimed> {
        let row = self.jobs.get(&id)?;
        Some(Claimed {
            id,
            kind: row.entry.kind.clone(),
            version: row.entry.version,
            payload: row.entry.payload.clone(),
            traceparent: row.entry.traceparent.clone(),
            failures: row.failures,
            crashes: row.crashes,
            max_attempts: row.entry.options.max_attempts,
            timeout: row.entry.options.timeout,
            enqueued_at: from_unix_micros(row.enqueued_at)?,
            parents: row.tally,
        })
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn enqueue(&self, jobs: &[Entry]) -> Result<Vec<Enqueued>, StoreError> {
        let (mut shelf, now) = self.shelf();
        shelf.check_flow(jobs, now)?;
        let mut added = HashSet::new();
        let add = |entry| shelf.add(entry, &mut added, now);
        let enqueued = jobs.iter().map(add).collect();
        shelf.admit(now, self.window);
        self.changed();
        Ok(enqueued)
    }

    fn carries_flows(&self) -> bool {
        true
    }

    async fn join(&self, worker: WorkerId, ttl: Duration) -> Result<(), StoreError> {
        let (mut shelf, now) = self.shelf();
        shelf
            .workers
            .insert(worker, now.saturating_add(micros(ttl)));
        Ok(())
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        let (mut shelf, now) = self.shelf();
        if shelf
            .workers
            .get(&claim.worker)
            .is_none_or(|until| *until <= now)
        {
            return Err(StoreError::new(StoreErrorKind::Conflict, NAME, "claim")
                .with_source("the worker is not known, or was taken for dead"));
        }
        if !shelf.leases.contains_key(&claim.lease) {
            shelf.lease(claim, now);
            shelf.admit(now, self.window);
        }
        let Some(lease) = shelf.leases.get(&claim.lease) else {
            return Ok(Vec::new());
        };
        let jobs = lease.jobs.iter();
        Ok(jobs.filter_map(|id| shelf.claimed(*id)).collect())
    }

    async fn settle(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        let (mut shelf, now) = self.shelf();
        let settle = |settlement| shelf.settle(lease, settlement, now);
        let settled = settlements.iter().map(settle).collect();
        shelf.admit(now, self.window);
        self.changed();
        Ok(settled)
    }

    async fn heartbeat(&self, worker: WorkerId, ttl: Duration) -> Result<Beat, StoreError> {
        let (mut shelf, now) = self.shelf();
        match shelf.workers.get_mut(&worker) {
            Some(until) if *until > now => *until = now.saturating_add(micros(ttl)),
            _ => return Ok(Beat::Lost),
        }
        let leases = shelf.leases.values().filter(|lease| lease.worker == worker);
        let is_cancelled =
            |id: &JobId| shelf.jobs[id].place == Place::Leased { is_cancelled: true };
        let jobs = leases.flat_map(|lease| lease.jobs.iter().copied());
        Ok(Beat::Alive {
            cancel: jobs.filter(is_cancelled).collect(),
        })
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        let (mut shelf, now) = self.shelf();
        for id in shelf.forget(worker) {
            shelf.give_back(id, now);
        }
        shelf.admit(now, self.window);
        self.changed();
        Ok(())
    }

    async fn rescue(&self, rescue: &Rescue) -> Result<Rescued, StoreError> {
        let (mut shelf, now) = self.shelf();
        let over = shelf.workers.iter().filter(|(_, until)| **until <= now);
        let mut dead: Vec<_> = over.map(|(worker, _)| *worker).collect();
        dead.sort_unstable();
        dead.truncate(rescue.limit as usize);
        let mut rescued = Rescued::default();
        for worker in dead {
            rescued.workers += 1;
            for id in shelf.forget(worker) {
                match shelf.crash(id, rescue.max_crashes, now) {
                    Some(State::Ready | State::Held) => rescued.ready += 1,
                    Some(State::Dead) => rescued.dead += 1,
                    _ => {}
                }
            }
        }
        if shelf.admit(now, self.window) > 0 || rescued.workers > 0 {
            self.changed();
        }
        Ok(rescued)
    }

    async fn promote(&self, limit: u32) -> Result<Promoted, StoreError> {
        let (mut shelf, now) = self.shelf();
        let (mut jobs, mut moved) = (0, 0);
        while let Some(&(run_at, id)) = shelf.scheduled.first() {
            if run_at > now || moved == limit {
                break;
            }
            shelf.unplace(id);
            shelf.place(id, Place::Ready { run_at });
            moved += 1;
            let is_ready = matches!(shelf.jobs[&id].place, Place::Ready { .. });
            jobs += u32::from(is_ready);
        }
        shelf.stir_due(now);
        jobs += shelf.admit(now, self.window);
        if jobs > 0 {
            self.changed();
        }
        let scheduled = shelf.scheduled.first().map(|(run_at, _)| *run_at);
        let next = scheduled.into_iter().chain(shelf.next_due()).min();
        Ok(Promoted {
            jobs,
            next_in: next.map(|at| until(now, at)),
        })
    }

    fn apart(&self) -> Arc<dyn JobStore> {
        Arc::new(self.clone())
    }

    async fn wakeups(&self, _: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        let (changes, seen) = (Arc::clone(&self.changes), self.changes.get());
        Ok(Box::new(Changes { changes, seen }))
    }

    fn schedules(&self) -> Option<&dyn ScheduleStore> {
        Some(self)
    }

    fn limits(&self) -> Option<&dyn LimitStore> {
        Some(self)
    }

    fn notes(&self) -> Option<&dyn NoteStore> {
        Some(self)
    }
}

#[derive(Debug)]
struct Changes {
    changes: Arc<Watched<u64>>,
    seen: u64,
}

#[async_trait]
impl Wakeups for Changes {
    async fn next(&mut self, up_to: Duration) -> Wake {
        let seen = self.seen;
        let changed = self.changes.wait_for(|changes| *changes != seen);
        match tokio::time::timeout(up_to, changed).await {
            Ok(changes) => {
                self.seen = changes;
                Wake::Jobs
            }
            Err(_) => Wake::Elapsed,
        }
    }
}

#[async_trait]
impl JobAdmin for MemoryStore {
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        Ok(self.shelf().0.view(id))
    }

    async fn list(&self, filter: &Filter, page: &Page) -> Result<Vec<JobView>, StoreError> {
        let (shelf, _) = self.shelf();
        let after = page.after;
        let ids = shelf
            .jobs
            .keys()
            .filter(|id| after.is_none_or(|after| **id > after));
        let views = ids.filter_map(|id| shelf.view(*id));
        let wanted = views.filter(|view| {
            filter
                .queue
                .as_ref()
                .is_none_or(|queue| *queue == view.queue)
                && filter.kind.as_ref().is_none_or(|kind| *kind == view.kind)
                && filter.state.is_none_or(|state| state == view.state)
        });
        Ok(wanted.take(page.limit.into()).collect())
    }

    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
        let (shelf, now) = self.shelf();
        let mut counts = Counts::default();
        let of_queue = |row: &&Row| queue.is_none_or(|queue| *queue == row.entry.options.queue);
        for row in shelf.jobs.values().filter(of_queue) {
            *match row.place.state() {
                State::Ready => &mut counts.ready,
                State::Scheduled => &mut counts.scheduled,
                State::Blocked => &mut counts.blocked,
                State::Leased => &mut counts.leased,
                State::Dead => &mut counts.dead,
                State::Cancelled => &mut counts.cancelled,
                State::Held => &mut counts.held,
            } += 1;
        }
        let queues = shelf
            .ready
            .iter()
            .filter(|(name, _)| queue.is_none_or(|queue| queue == *name));
        let first = queues.filter_map(|(_, ready)| ready.first()).min();
        if let Some((_, id)) = first
            && let Place::Ready { run_at } = shelf.jobs[id].place
        {
            let waited = u64::try_from(now.saturating_sub(run_at)).unwrap_or_default();
            counts.oldest_ready = Some(Duration::from_micros(waited));
        }
        Ok(counts)
    }

    async fn cancel(&self, id: JobId) -> Result<bool, StoreError> {
        let (mut shelf, now) = self.shelf();
        let Some(place) = shelf.jobs.get(&id).map(|row| row.place) else {
            return Ok(false);
        };
        match place {
            Place::Ready { .. } | Place::Held { .. } | Place::Scheduled { .. } | Place::Blocked => {
                shelf.unplace(id);
                shelf.unblock(id);
                shelf.place(id, Place::Cancelled { at: now });
                shelf.admit(now, self.window);
                self.changed();
                Ok(true)
            }
            Place::Leased { .. } => {
                shelf.place(id, Place::Leased { is_cancelled: true });
                Ok(true)
            }
            Place::Dead { .. } | Place::Cancelled { .. } => Ok(false),
        }
    }

    async fn replay(&self, id: JobId) -> Result<bool, StoreError> {
        let (mut shelf, now) = self.shelf();
        let Some(row) = shelf.jobs.get(&id) else {
            return Ok(false);
        };
        match row.place {
            Place::Scheduled { .. } => shelf.unplace(id),
            Place::Dead { .. } => {
                let entry = row.entry.clone();
                let is_kept = |unique: crate::Unique| unique.span == Span::UntilDone;
                if let Some(unique) = entry.options.unique.filter(|unique| is_kept(*unique)) {
                    if shelf.holder(&unique.key, now).is_some() {
                        return Err(StoreError::new(StoreErrorKind::Conflict, NAME, "replay")
                            .with_source("another job holds its unique key"));
                    }
                    shelf.unique.insert(
                        unique.key,
                        Holder {
                            job: id,
                            until: None,
                        },
                    );
                }
                if let Some(row) = shelf.jobs.get_mut(&id) {
                    (row.failures, row.crashes) = (0, 0);
                }
            }
            _ => return Ok(false),
        }
        shelf.place(id, Place::Ready { run_at: now });
        shelf.admit(now, self.window);
        self.changed();
        Ok(true)
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool, StoreError> {
        Ok(self.shelf().0.paused.insert(queue.clone()))
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let was_paused = self.shelf().0.paused.remove(queue);
        self.changed();
        Ok(was_paused)
    }

    async fn purge_finished(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let (mut shelf, now) = self.shelf();
        let before = now.saturating_sub(micros(age));
        let ended = |row: &Row| matches!(row.place, Place::Dead { at } | Place::Cancelled { at } if at <= before);
        let gone = shelf.jobs.iter().filter(|(_, row)| ended(row));
        let gone: Vec<_> = gone.map(|(id, _)| *id).take(limit as usize).collect();
        for id in &gone {
            shelf.jobs.remove(id);
            // Whoever still waits for it waits for one that is dead.
            shelf.tell_children(*id, End::Cancelled, now);
        }
        shelf.admit(now, self.window);
        self.changed();
        let over = |holder: &Holder| holder.until.is_some_and(|until| until <= now);
        let keys = shelf.unique.iter().filter(|(_, holder)| over(holder));
        let keys: Vec<_> = keys
            .map(|(key, _)| *key)
            .take(limit as usize - gone.len())
            .collect();
        for key in &keys {
            shelf.unique.remove(key);
        }
        let results = shelf.purge_results(limit as usize - gone.len() - keys.len(), now);
        Ok((gone.len() + keys.len() + results) as u64)
    }
}

fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn failure(error: &str, at: Micros) -> Option<Failure> {
    from_unix_micros(at).map(|at| Failure::new(error, at))
}
