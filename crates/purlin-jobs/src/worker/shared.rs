use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use purlin_store::StoreError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::attempt::Handler;
use super::catch_panic::{CatchPanic, caught};
use super::claim::Queue;
use super::epoch::Epoch;
use super::health::Pulse;
use super::settle::Finished;
use crate::watched::Watched;
use crate::{Backoff, Cancellation, Event, JobStore, LimitStore, Observer, PayloadCodec};

/// What the parts of a running worker have in common.
pub(super) struct Shared {
    pub(super) store: Arc<dyn JobStore>,
    pub(super) settings: Settings,
    pub(super) handlers: HashMap<&'static str, Arc<dyn Handler>>,
    kinds: Vec<String>,
    pub(super) queues: Vec<Arc<Queue>>,
    pub(super) finished: mpsc::Sender<Finished>,
    /// Nobody while the worker is not joined.
    pub(super) epoch: Watched<Option<Arc<Epoch>>>,
    phase: Watched<Phase>,
    /// Jobs that run or are not settled yet.
    active: watch::Sender<usize>,
    /// When something is scheduled that the promote loop does not know of.
    pub(super) due: watch::Sender<Option<Instant>>,
    /// Raised to make all queues look for jobs now.
    pub(super) look: Watched<u64>,
    /// What it serves besides jobs.
    #[cfg(feature = "cron")]
    pub(super) timetable: Option<crate::scheduler::Timetable>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) codec: Option<Arc<dyn PayloadCodec>>,
    pub(super) backoff: Backoff,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) lease_ttl: Duration,
    pub(super) poll_interval: Duration,
    pub(super) rescue_interval: Duration,
    pub(super) max_crashes: u16,
    pub(super) grace: Duration,
    pub(super) cancel_grace: Duration,
}

impl Settings {
    pub(super) fn heartbeat_interval(&self) -> Duration {
        self.lease_ttl / 3
    }

    /// How long nobody looks for scheduled jobs that are due when nothing is heard of any.
    pub(super) fn promote_interval(&self) -> Duration {
        5 * self.poll_interval
    }

    /// How long after a heartbeat was sent the worker takes its leases for granted.
    pub(super) fn validity(&self) -> Duration {
        self.lease_ttl - self.lease_ttl / 5
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    /// Nothing is claimed or begun any more.
    Draining,
    /// Nothing is done any more.
    Ended,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn JobStore>,
        settings: Settings,
        handlers: HashMap<&'static str, Arc<dyn Handler>>,
        queues: Vec<Arc<Queue>>,
        finished: mpsc::Sender<Finished>,
    ) -> Self {
        let mut kinds: Vec<_> = handlers.keys().map(ToString::to_string).collect();
        kinds.sort_unstable();
        Self {
            store,
            settings,
            handlers,
            kinds,
            queues,
            finished,
            epoch: Watched::new(None),
            phase: Watched::new(Phase::Running),
            active: watch::Sender::new(0),
            due: watch::Sender::new(None),
            look: Watched::new(0),
            #[cfg(feature = "cron")]
            timetable: None,
        }
    }

    pub(super) fn emit(&self, event: &Event<'_>) {
        event.trace();
        if let Some(observer) = &self.settings.observer {
            // A job must not be lost to whoever counts it; the hook has told of the panic.
            let _ = caught(|| observer.on_event(event));
        }
    }

    pub(super) fn kinds(&self) -> Vec<String> {
        self.kinds.clone()
    }

    pub(super) fn store_failed(&self, part: &str, error: &StoreError) {
        self.emit(&Event::StoreFailed { part, error });
    }

    pub(super) async fn reached(&self, phase: Phase) {
        self.phase.wait_for(|now| *now >= phase).await;
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.change(|now| {
            let is_later = *now < phase;
            *now = phase.max(*now);
            is_later
        });
    }

    /// Whether the leases of an epoch can be relied upon. Once they cannot, they never can again.
    pub(super) fn is_live(&self, epoch: &Epoch) -> bool {
        if epoch.is_over() {
            self.fence(epoch);
        }
        !epoch.is_lost()
    }

    /// Gives up an epoch and all its jobs: somebody else has them, or may have.
    pub(super) fn fence(&self, epoch: &Epoch) {
        let Some(jobs) = epoch.cancel_all(Cancellation::LeaseLost) else {
            return;
        };
        let worker = epoch.worker;
        self.epoch
            .change(|now| now.take_if(|now| now.worker == worker).is_some());
        self.emit(&Event::LeaseLost { worker, jobs });
    }

    /// Ends what runs, at once.
    pub(super) fn end(&self) {
        self.enter(Phase::Ended);
        if let Some(epoch) = self.joined() {
            epoch.cancel_all(Cancellation::LeaseLost);
        }
    }

    pub(super) fn joined(&self) -> Option<Arc<Epoch>> {
        self.epoch.get()
    }

    /// How many jobs run or are not settled yet.
    pub(super) fn active(&self) -> usize {
        *self.active.borrow()
    }

    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.active.send_if_modified(|jobs| {
            *jobs += 1;
            false
        });
        Active(Arc::clone(self))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.active() == 0
    }

    /// Waits until nothing runs and all is settled. What this returns has changed when something has
    /// come to its end since then.
    pub(super) async fn idle(&self) -> watch::Receiver<usize> {
        let mut active = self.active.subscribe();
        let _ = active.wait_for(|jobs| *jobs == 0).await;
        active
    }

    pub(super) async fn idle_within(&self, limit: Duration) -> bool {
        timeout(limit, self.idle()).await.is_ok()
    }

    /// Has the promoter look when the rate of a group lets one more be ready.
    pub(super) fn admissions_due(&self) {
        if let Some(after) = self.store.limits().and_then(LimitStore::admits_in) {
            self.due_in(after);
        }
    }

    /// Says that something is due after this time.
    pub(super) fn due_in(&self, after: Duration) {
        let Some(at) = Instant::now().checked_add(after) else {
            return;
        };
        self.due.send_if_modified(|due| {
            let is_earlier = due.is_none_or(|due| at < due);
            if is_earlier {
                *due = Some(at);
            }
            is_earlier
        });
    }

    /// Runs a loop until it returns or the worker has ended, and starts it again when it panics.
    pub(super) async fn supervise<F: Future<Output = ()>>(
        &self,
        pulse: &Pulse,
        run: impl Fn() -> F,
    ) {
        let supervised = async {
            while let Err(reason) = CatchPanic::new(run()).await {
                let (part, reason) = (pulse.name.as_str(), reason.as_str());
                self.emit(&Event::LoopRestarted { part, reason });
                sleep(pause(1).min(pulse.interval())).await;
            }
        };
        tokio::select! {
            biased;
            () = self.reached(Phase::Ended) => {}
            () = supervised => {}
        }
    }
}

/// How long to wait after so many errors of a store in a row: 100 ms, doubled up to 3.2 s.
pub(crate) fn pause(errors: u32) -> Duration {
    Duration::from_millis(100) * 2_u32.pow(errors.saturating_sub(1).min(5))
}

/// One of the jobs that keep a worker from being idle, until dropped.
pub(super) struct Active(Arc<Shared>);

impl Drop for Active {
    fn drop(&mut self) {
        // Who waits, waits for none: to wake him for each job would cost more than the rest of this.
        self.0.active.send_if_modified(|jobs| {
            *jobs -= 1;
            *jobs == 0
        });
    }
}
