//! What all that takes part shares: the dice, the model, what handlers have done, and what went wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use purlin_jobs::store::{Outcome, Settlement, State};
use purlin_jobs::testing::VirtualClock;
use purlin_jobs::{JobId, JobInfo, LeaseId, MemoryStore};
use purlin_store::{Clock as _, unix_micros};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::life::Life;
use crate::model::{Micros, Model};
use crate::trace::{Trace, number};

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) clock: VirtualClock,
    /// Of a thousand calls, so many do not go well.
    pub(crate) faults: u32,
    pub(crate) lease_ttl: Duration,
    state: Mutex<Shared>,
    /// How many milliseconds a call takes at most, if nothing is wrong with it; at least 1.
    pub(crate) latency: u64,
    pub(crate) store: MemoryStore,
    changed: Notify,
}

#[derive(Default)]
struct Shared {
    phase: Phase,
    model: Model,
    runs: BTreeMap<(JobId, LeaseId), Run>,
    /// The last run of each job that is not settled.
    last: BTreeMap<JobId, LeaseId>,
    attempts: u64,
    trace: Trace,
    violation: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Chaos,
    /// No fault, no crash and no new job from now on.
    Calm,
    /// All is to end.
    Over,
}

/// One call of a handler.
struct Run {
    life: Arc<Life>,
    begun: Instant,
    timeout: Option<Duration>,
    verdict: Option<Verdict>,
}

/// How a handler has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Failed,
    Discard,
    Snooze,
    Cancel,
    /// Its future was dropped.
    Dropped,
}

impl World {
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let (dice, clock) = (Dice::new(seed), VirtualClock::new());
        let shared = Shared {
            trace: Trace::new(is_traced),
            ..Shared::default()
        };
        Self {
            faults: [0, 10, 40][dice.below(3)],
            lease_ttl: Duration::from_secs(3 + dice.below(13) as u64),
            latency: [1, 3, 20][dice.below(3)],
            dice,
            store: MemoryStore::new().with_clock(clock.clone()),
            clock,
            state: Mutex::new(shared),
            changed: Notify::new(),
        }
    }

    fn state<T>(&self, look: impl FnOnce(&mut Shared) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    pub(crate) fn with_model<T>(&self, look: impl FnOnce(&mut Model) -> T) -> T {
        self.state(|state| look(&mut state.model))
    }

    pub(crate) fn micros(&self) -> Micros {
        unix_micros(self.clock.now())
    }

    pub(crate) fn trace(&self, caller: u64, what: &str, numbers: &[u64]) {
        let now = self.micros();
        self.state(|state| state.trace.add(now, caller, what, numbers));
    }

    /// The first one counts; what comes after it may be its consequence.
    pub(crate) fn violated(&self, what: String) {
        self.state(|state| {
            state.violation.get_or_insert(what);
        });
        self.changed.notify_waiters();
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.state(|state| state.violation.clone())
    }

    pub(crate) async fn broken(&self) {
        loop {
            let changed = self.changed.notified();
            if self.violation().is_some() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn attempts(&self) -> u64 {
        self.state(|state| state.attempts)
    }

    pub(crate) fn digest(&self) -> u64 {
        self.state(|state| state.trace.digest())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.state(|state| state.trace.lines.take().unwrap_or_default())
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state(|state| state.phase)
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.trace(0, "phase", &[phase as u64]);
        self.state(|state| state.phase = phase);
        self.changed.notify_waiters();
    }

    pub(crate) async fn reached(&self, phase: Phase) {
        loop {
            let changed = self.changed.notified();
            if self.phase() >= phase {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn was_added(&self, id: JobId) -> bool {
        self.with_model(|model| model.ever.contains(&id))
    }

    /// A job was given to somebody: nobody else may work on it who has not been frozen.
    pub(crate) fn claimed(&self, id: JobId, lease: LeaseId) {
        let beside = self.state(|state| {
            let before = state
                .last
                .insert(id, lease)
                .filter(|before| *before != lease)?;
            let run = state.runs.get(&(id, before))?;
            let is_running = run.verdict.is_none() && !run.life.may_lag();
            is_running.then(|| run.life.number)
        });
        if let Some(life) = beside {
            self.violated(format!(
                "{id} is given away while life {life} works on it: it has not dropped it before its lease ended"
            ));
        }
    }

    /// A handler is called.
    pub(crate) fn begun(
        &self,
        job: &JobInfo,
        lease: LeaseId,
        life: &Arc<Life>,
        timeout: Option<Duration>,
    ) {
        let numbers = [
            number(job.id.as_uuid()),
            number(lease.as_uuid()),
            job.attempt.into(),
        ];
        self.trace(life.number, "begin", &numbers);
        let violation = self.state(|state| {
            state.attempts += 1;
            let run = Run {
                life: Arc::clone(life),
                begun: Instant::now(),
                timeout,
                verdict: None,
            };
            if state.runs.insert((job.id, lease), run).is_some() {
                return Some(format!("{} is begun twice under one lease", job.id));
            }
            if life.may_lag() {
                return None;
            }
            let Some(known) = state
                .model
                .jobs
                .get(&job.id)
                .filter(|it| it.lease == Some(lease))
            else {
                return Some(format!("{} is begun without its lease (I2)", job.id));
            };
            let is_same = (job.attempt, job.crashes) == (known.failures + 1, known.crashes);
            (!is_same).then(|| {
                format!(
                    "{job:?} has {} failures, {} crashes",
                    known.failures, known.crashes
                )
            })
        });
        if let Some(violation) = violation {
            self.violated(violation);
        }
    }

    /// A handler has ended.
    pub(crate) fn ended(&self, id: JobId, lease: LeaseId, verdict: Verdict) {
        self.state(|state| {
            if let Some(run) = state.runs.get_mut(&(id, lease)) {
                run.verdict.get_or_insert(verdict);
            }
        });
    }

    /// The store is told how the work on a job has ended: the handler must have ended so.
    pub(crate) fn settling(&self, lease: LeaseId, settlement: &Settlement) {
        let id = settlement.id;
        let numbers = [number(id.as_uuid()), kind(&settlement.outcome)];
        self.trace(0, "settling", &numbers);
        let is_true = self.state(|state| {
            let run = state.runs.get(&(id, lease));
            let verdict = run.and_then(|run| run.verdict);
            let is_late = |run: &Run| {
                run.timeout
                    .is_some_and(|limit| run.begun.elapsed() >= limit)
            };
            let job = state
                .model
                .jobs
                .get(&id)
                .filter(|job| job.lease == Some(lease));
            match settlement.outcome {
                Outcome::Done => verdict == Some(Verdict::Done),
                Outcome::Retry { .. } => {
                    verdict == Some(Verdict::Failed)
                        || verdict == Some(Verdict::Dropped) && run.is_some_and(is_late)
                }
                Outcome::Discard { .. } => {
                    matches!(verdict, Some(Verdict::Failed | Verdict::Discard))
                        || verdict == Some(Verdict::Dropped) && run.is_some_and(is_late)
                }
                Outcome::Snooze { .. } => verdict == Some(Verdict::Snooze),
                // Whether it was asked for is known as long as the lease is there.
                Outcome::Cancelled => {
                    verdict == Some(Verdict::Cancel) || job.is_none_or(|job| job.is_cancelled)
                }
                Outcome::Release => {
                    verdict != Some(Verdict::Done) && run.is_none_or(|run| run.life.is_ending())
                }
                _ => false,
            }
        });
        if !is_true {
            self.violated(format!(
                "{settlement:?} is not how the handler has ended (I4)"
            ));
        }
    }

    /// When a handler was called for this job.
    pub(crate) fn begins(&self, id: JobId) -> Vec<Instant> {
        self.state(|state| {
            let runs = state.runs.iter().filter(|((job, _), _)| *job == id);
            let mut begins: Vec<_> = runs.map(|(_, run)| run.begun).collect();
            begins.sort_unstable();
            begins
        })
    }

    /// A job that has waited since before this time although nothing kept it from being run, by a
    /// worker that knows these kinds and says that nothing is left.
    pub(crate) fn overlooked(&self, kinds: &[&str], since: Micros) -> Option<JobId> {
        let now = self.micros();
        self.with_model(|model| {
            let mut jobs = model.jobs.iter().filter(|(_, job)| {
                let options = &job.entry.options;
                let was_paused = model.paused.contains(&options.queue)
                    || model
                        .paused_at
                        .get(&options.queue)
                        .is_some_and(|at| *at >= since);
                let waits = match job.state {
                    State::Ready | State::Scheduled => job.at <= since,
                    State::Leased => job.lease.is_some_and(|lease| {
                        let worker = model.leases[&lease].0;
                        model
                            .workers
                            .get(&worker)
                            .is_some_and(|until| *until <= since)
                    }),
                    _ => false,
                };
                let is_known = kinds.contains(&job.entry.kind.as_str());
                waits && is_known && !was_paused && job.moved_at < since && since <= now
            });
            jobs.next().map(|(id, _)| *id)
        })
    }
}

fn kind(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Done => 0,
        Outcome::Retry { .. } => 1,
        Outcome::Discard { .. } => 2,
        Outcome::Cancelled => 3,
        Outcome::Snooze { .. } => 4,
        _ => 5,
    }
}
