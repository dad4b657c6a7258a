use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Cancellation, JobId, WorkerId};

/// One membership of a worker, from when it joined until it left or lost its leases, and the jobs
/// that it runs in this time.
#[derive(Debug)]
pub(super) struct Epoch {
    pub(super) worker: WorkerId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Until when nobody else takes it for dead, with a margin.
    valid_until: Instant,
    /// What a job hears that is registered from now on.
    stop: Option<Cancellation>,
    jobs: BTreeMap<JobId, watch::Sender<Option<Cancellation>>>,
}

impl Epoch {
    pub(super) fn new(worker: WorkerId, valid_until: Instant) -> Self {
        Self {
            worker,
            state: Mutex::new(State {
                valid_until,
                stop: None,
                jobs: BTreeMap::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn valid_until(&self) -> Instant {
        self.state().valid_until
    }

    pub(super) fn extend(&self, valid_until: Instant) {
        self.state().valid_until = valid_until;
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.valid_until()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state().stop == Some(Cancellation::LeaseLost)
    }

    /// Adds a job, which from now on hears why it is to stop.
    pub(super) fn register(self: &Arc<Self>, id: JobId) -> Registration {
        let mut state = self.state();
        let (sender, signal) = watch::channel(state.stop);
        state.jobs.insert(id, sender);
        drop(state);
        Registration {
            epoch: Arc::clone(self),
            id,
            signal,
        }
    }

    pub(super) fn cancel(&self, id: JobId, reason: Cancellation) {
        if let Some(job) = self.state().jobs.get(&id) {
            tell(job, reason);
        }
    }

    /// Tells all jobs, those too that come later. Says how many there are; `None` when the leases
    /// were lost before.
    pub(super) fn cancel_all(&self, reason: Cancellation) -> Option<usize> {
        let mut state = self.state();
        if state.stop == Some(Cancellation::LeaseLost) {
            return None;
        }
        state.stop = Some(reason);
        for job in state.jobs.values() {
            tell(job, reason);
        }
        Some(state.jobs.len())
    }
}

/// The first reason stays, but that the lease is lost outdoes all.
fn tell(job: &watch::Sender<Option<Cancellation>>, reason: Cancellation) {
    job.send_if_modified(|told| {
        let is_news = told.is_none() || reason == Cancellation::LeaseLost;
        if is_news {
            *told = Some(reason);
        }
        is_news
    });
}

/// A job in the table of an epoch, until dropped.
#[derive(Debug)]
pub(super) struct Registration {
    epoch: Arc<Epoch>,
    id: JobId,
    signal: watch::Receiver<Option<Cancellation>>,
}

impl Registration {
    pub(super) fn signal(&self) -> watch::Receiver<Option<Cancellation>> {
        self.signal.clone()
    }

    pub(super) fn told(&self) -> Option<Cancellation> {
        *self.signal.borrow()
    }

    /// Returns when the job hears that it is to stop.
    pub(super) async fn stopped(&self) -> Cancellation {
        self.wait_for(|_| true).await
    }

    pub(super) async fn lost(&self) {
        self.wait_for(|reason| reason == Cancellation::LeaseLost)
            .await;
    }

    async fn wait_for(&self, wanted: impl Fn(Cancellation) -> bool) -> Cancellation {
        let mut signal = self.signal.clone();
        let told = signal.wait_for(|told| told.is_some_and(&wanted)).await;
        match told.ok().and_then(|told| *told) {
            Some(reason) => reason,
            // The sender is in the table as long as this is.
            None => std::future::pending().await,
        }
    }

    pub(super) fn time_out(&self) {
        self.epoch.cancel(self.id, Cancellation::TimedOut);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.epoch.state().jobs.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_job_that_comes_when_all_are_told_to_stop_is_told_too() {
        let valid_until = Instant::now() + Duration::from_secs(12);
        let epoch = Arc::new(Epoch::new(WorkerId::new(), valid_until));
        let early = epoch.register(JobId::new());
        assert_eq!(early.told(), None);
        assert_eq!(epoch.cancel_all(Cancellation::LeaseLost), Some(1));
        let late = epoch.register(JobId::new());
        assert_eq!(
            [early.told(), late.told()],
            [Some(Cancellation::LeaseLost); 2]
        );
        assert_eq!(epoch.cancel_all(Cancellation::Shutdown), None);
        assert_eq!(late.told(), Some(Cancellation::LeaseLost));
    }

    #[test]
    fn the_first_reason_to_stop_stays_unless_the_lease_is_lost() {
        let epoch = Arc::new(Epoch::new(WorkerId::new(), Instant::now()));
        let job = JobId::new();
        let registration = epoch.register(job);
        epoch.cancel(job, Cancellation::Requested);
        epoch.cancel_all(Cancellation::Shutdown);
        assert_eq!(registration.told(), Some(Cancellation::Requested));
        epoch.cancel_all(Cancellation::LeaseLost);
        assert_eq!(registration.told(), Some(Cancellation::LeaseLost));
    }
}
