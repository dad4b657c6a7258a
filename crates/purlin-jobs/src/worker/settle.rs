use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use purlin_store::StoreError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::catch_panic::answered;
use super::epoch::Epoch;
use super::health::Pulse;
use super::shared::{Active, Shared, pause};
use crate::store::{Outcome, Settled, Settlement};
use crate::{Event, JobInfo, LeaseId};

/// How many settlements may wait. Above that, jobs wait with their slots for theirs to be taken.
pub(super) const WAITING: usize = 10_000;

/// How many calls are made at a time, each for another lease.
const CALLS: usize = 4;

/// How many settlements one call carries.
const PER_CALL: usize = 1_000;

/// How long jobs that are done wait for others of their lease while some run: a call for one costs the store nearly
/// as much as a call for hundreds.
const LINGER: Duration = Duration::from_millis(2);

/// So many do not wait.
const ENOUGH: usize = 500;

/// An attempt that has ended and is to be settled.
pub(super) struct Finished {
    pub(super) epoch: Arc<Epoch>,
    pub(super) lease: LeaseId,
    pub(super) settlement: Settlement,
    pub(super) job: Arc<JobInfo>,
    pub(super) took: Duration,
    /// Whether it was completed in a transaction: then it is stale if that was committed.
    pub(super) is_completed: bool,
    pub(super) active: Active,
}

/// Tells the store how attempts have ended: at once when nothing else runs, else together what ends within
/// a moment, or while the store is busy.
pub(super) struct Settler {
    finished: mpsc::Receiver<Finished>,
    /// By lease, the longest waiting first.
    waiting: Vec<Batch>,
    count: usize,
    /// The leases of the calls under way, and since when they are.
    busy: HashMap<LeaseId, Instant>,
    calls: JoinSet<(Batch, Result<Vec<Settled>, StoreError>)>,
}

/// Settlements of one lease.
struct Batch {
    lease: LeaseId,
    epoch: Arc<Epoch>,
    settlements: Vec<Settlement>,
    finished: Vec<Told>,
    /// How often the store has failed to take it, or has lost the answer. Then nothing is added to
    /// it, and what is stale may have been applied before.
    errors: u32,
    not_before: Instant,
}

/// What is told of a settlement when it is there.
struct Told {
    job: Arc<JobInfo>,
    took: Duration,
    is_completed: bool,
    /// Dropped when the store has it.
    _active: Active,
}

impl Settler {
    pub(super) fn new(finished: mpsc::Receiver<Finished>) -> Self {
        Self {
            finished,
            waiting: Vec::new(),
            count: 0,
            busy: HashMap::new(),
            calls: JoinSet::new(),
        }
    }

    pub(super) async fn settle_jobs(&mut self, shared: &Arc<Shared>, pulse: &Pulse) {
        loop {
            self.call_store(shared);
            let oldest = self.busy.values().min().copied();
            pulse.beat_at(oldest.unwrap_or_else(Instant::now));
            let next = self
                .waiting
                .iter()
                .filter(|it| !self.busy.contains_key(&it.lease));
            let next = next.map(|batch| batch.not_before).min();
            tokio::select! {
                biased;
                Some(called) = self.calls.join_next() => {
                    if let Ok((batch, settled)) = called {
                        self.told(shared, pulse, batch, settled);
                    }
                }
                Some(finished) = self.finished.recv(), if self.count < WAITING => {
                    self.add(finished);
                    while self.count < WAITING && let Ok(finished) = self.finished.try_recv() {
                        self.add(finished);
                    }
                    self.hurry(shared);
                }
                () = due(next), if self.calls.len() < CALLS => {}
                () = sleep(shared.settings.poll_interval) => {}
            }
        }
    }

    fn add(&mut self, finished: Finished) {
        let Finished {
            epoch,
            lease,
            settlement,
            job,
            took,
            is_completed,
            active,
        } = finished;
        self.count += 1;
        let open = |it: &&mut Batch| {
            it.lease == lease && it.errors == 0 && it.settlements.len() < PER_CALL
        };
        let may_wait = settlement.outcome == Outcome::Done;
        let batch = match self.waiting.iter_mut().find(open) {
            Some(batch) => batch,
            None => {
                self.waiting.push(Batch {
                    lease,
                    epoch,
                    settlements: Vec::new(),
                    finished: Vec::new(),
                    errors: 0,
                    not_before: Instant::now() + LINGER,
                });
                let last = self.waiting.len() - 1;
                &mut self.waiting[last]
            }
        };
        if !may_wait {
            batch.not_before = Instant::now();
        }
        batch.settlements.push(settlement);
        batch.finished.push(Told {
            job,
            took,
            is_completed,
            _active: active,
        });
    }

    /// Lets nothing wait for what will not come.
    fn hurry(&mut self, shared: &Shared) {
        let now = Instant::now();
        let nothing_runs = shared.active() <= self.count;
        for batch in self.waiting.iter_mut().filter(|batch| batch.errors == 0) {
            if nothing_runs || batch.settlements.len() >= ENOUGH {
                batch.not_before = batch.not_before.min(now);
            }
        }
    }

    /// Begins as many calls as may be under way.
    fn call_store(&mut self, shared: &Arc<Shared>) {
        let now = Instant::now();
        let mut at = 0;
        while at < self.waiting.len() && self.calls.len() < CALLS {
            let batch = &self.waiting[at];
            if !shared.is_live(&batch.epoch) {
                self.count -= self.waiting.remove(at).settlements.len();
            } else if batch.not_before > now || self.busy.contains_key(&batch.lease) {
                at += 1;
            } else {
                let batch = self.waiting.remove(at);
                self.busy.insert(batch.lease, now);
                let store = Arc::clone(&shared.store);
                self.calls.spawn(async move {
                    let settle = store.settle(batch.lease, &batch.settlements);
                    let settled = answered("settle", settle).await;
                    (batch, settled)
                });
            }
        }
    }

    fn told(
        &mut self,
        shared: &Shared,
        pulse: &Pulse,
        mut batch: Batch,
        settled: Result<Vec<Settled>, StoreError>,
    ) {
        self.busy.remove(&batch.lease);
        match settled {
            Err(error) => {
                shared.store_failed(&pulse.name, &error);
                batch.errors += 1;
                batch.not_before = Instant::now() + pause(batch.errors);
                self.waiting.push(batch);
            }
            Ok(settled) => {
                self.count -= batch.settlements.len();
                let each = batch.settlements.iter().zip(&batch.finished).zip(settled);
                for ((settlement, told), settled) in each {
                    report(shared, told, &settlement.outcome, settled, batch.errors > 0);
                }
            }
        }
    }
}

fn report(shared: &Shared, told: &Told, outcome: &Outcome, settled: Settled, is_repeated: bool) {
    let job = told.job.as_ref();
    let outcome = match settled {
        Settled::Stale if told.is_completed => &Outcome::Done,
        Settled::Stale if !is_repeated => return shared.emit(&Event::Stale { job }),
        _ => outcome,
    };
    if let Outcome::Retry { after, .. }
    | Outcome::Snooze { after }
    | Outcome::Await { up_to: after, .. } = outcome
    {
        shared.due_in(*after);
    }
    shared.emit(&Event::Settled {
        job,
        outcome,
        took: told.took,
    });
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
