use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::attempt::Attempt;
use super::epoch::Epoch;
use super::health::Pulse;
use super::shared::{Phase, Shared, pause};
use crate::store::{Claim, Claimed, Wake, Wakeups};
use crate::{LeaseId, QueueName};

/// The most that the contract of a store allows in one claim.
const MAX_CLAIM: usize = 1_000;

/// A queue, and how much of it this worker has.
pub(super) struct Queue {
    pub(super) name: QueueName,
    slots: Arc<Semaphore>,
    /// A claim whose outcome is not known. It is made again, under the same lease.
    open: Mutex<Option<Claim>>,
    /// The last [`Shared::look`] that found nothing.
    empty: watch::Sender<u64>,
    /// The last one that has been answered.
    looked: watch::Sender<u64>,
}

impl Queue {
    pub(super) fn new(name: QueueName, slots: usize) -> Self {
        Self {
            name,
            slots: Arc::new(Semaphore::new(slots.clamp(1, Semaphore::MAX_PERMITS))),
            open: Mutex::new(None),
            empty: watch::Sender::new(0),
            looked: watch::Sender::new(0),
        }
    }

    /// Whether this look, or one after it, has found nothing.
    pub(super) async fn is_empty(&self, look: u64) -> bool {
        let mut looked = self.looked.subscribe();
        let _ = looked.wait_for(|last| *last >= look).await;
        *self.empty.borrow() >= look
    }

    /// Claims jobs as they come, and starts them, until the worker is to end.
    pub(super) async fn claim_jobs(&self, shared: &Arc<Shared>, pulse: &Pulse) {
        let mut wakeups = None;
        let mut errors = 0;
        let mut looks = shared.look.subscribe();
        loop {
            pulse.beat();
            let poll = shared.settings.poll_interval;
            // A claim that is under way is not dropped: what it brings is given back at once.
            let ready = tokio::select! {
                biased;
                () = shared.reached(Phase::Draining) => return,
                ready = timeout(poll, self.ready(shared)) => ready,
            };
            let Ok(ready) = ready else {
                continue;
            };
            if wakeups.is_none() {
                // Before the claim, so that nothing is missed between the two.
                match shared.store.wakeups(std::slice::from_ref(&self.name)).await {
                    Ok(subscribed) => wakeups = Some(subscribed),
                    Err(error) => shared.store_failed(&pulse.name, &error),
                }
            }
            let look = *looks.borrow_and_update();
            let claim = self.claim(shared, &ready);
            match shared.store.claim(&claim).await {
                Err(error) => {
                    errors += 1;
                    shared.store_failed(&pulse.name, &error);
                    drop(ready);
                    sleep(pause(errors).min(poll)).await;
                }
                Ok(claimed) => {
                    errors = 0;
                    *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    pulse.beat();
                    shared.admissions_due();
                    let found = claimed.len();
                    let is_full = found >= usize::from(claim.limit);
                    self.start(shared, ready, claim.lease, claimed);
                    if found == 0 {
                        self.empty.send_replace(look);
                    }
                    self.looked.send_replace(look);
                    if !is_full {
                        let more_in = shared.store.limits().and_then(|it| it.more_in(&self.name));
                        let poll = more_in.map_or(poll, |more_in| poll.min(more_in));
                        tokio::select! {
                            biased;
                            () = shared.reached(Phase::Draining) => return,
                            _ = looks.changed() => {}
                            () = wait(wakeups.as_deref_mut(), poll) => {}
                        }
                    }
                }
            }
        }
    }

    /// Waits until the worker has joined and there are free slots, and takes these.
    async fn ready(&self, shared: &Shared) -> Ready {
        let mut epochs = shared.epoch.subscribe();
        loop {
            let joined = epochs.wait_for(Option::is_some).await;
            let Some(epoch) = joined.ok().and_then(|epoch| epoch.clone()) else {
                continue;
            };
            let least = self.open(&epoch).map_or(1, |claim| u32::from(claim.limit));
            let Ok(mut slots) = Arc::clone(&self.slots).acquire_many_owned(least).await else {
                std::future::pending().await
            };
            if !shared.is_live(&epoch) {
                continue;
            }
            let more = self
                .slots
                .available_permits()
                .min(MAX_CLAIM.saturating_sub(least as usize));
            if least == 1
                && let Ok(more) = u32::try_from(more)
                && let Ok(more) = Arc::clone(&self.slots).try_acquire_many_owned(more)
            {
                slots.merge(more);
            }
            return Ready { epoch, slots };
        }
    }

    /// The claim of this epoch whose outcome is not known.
    fn open(&self, epoch: &Epoch) -> Option<Claim> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // What was claimed in another one is lost to this.
        open.take_if(|claim| claim.worker != epoch.worker);
        open.clone()
    }

    fn claim(&self, shared: &Shared, ready: &Ready) -> Claim {
        let fresh = || Claim {
            worker: ready.epoch.worker,
            lease: LeaseId::new(),
            queue: self.name.clone(),
            kinds: shared.kinds(),
            limit: u16::try_from(ready.slots.num_permits()).unwrap_or(u16::MAX),
        };
        let claim = self.open(&ready.epoch).unwrap_or_else(fresh);
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(claim.clone());
        claim
    }

    fn start(&self, shared: &Arc<Shared>, mut ready: Ready, lease: LeaseId, jobs: Vec<Claimed>) {
        if !shared.is_live(&ready.epoch) {
            return;
        }
        for claimed in jobs {
            let Some(slot) = ready.slots.split(1) else {
                // More than was asked for; the lease keeps them until the worker leaves.
                break;
            };
            let attempt = Attempt {
                shared: Arc::clone(shared),
                epoch: Arc::clone(&ready.epoch),
                lease,
                queue: self.name.clone(),
                claimed,
                active: shared.active(),
                slot,
            };
            tokio::spawn(attempt.run());
        }
    }
}

/// An epoch that is live, and slots that are free.
struct Ready {
    epoch: Arc<Epoch>,
    slots: OwnedSemaphorePermit,
}

async fn wait(wakeups: Option<&mut (dyn Wakeups + '_)>, up_to: Duration) {
    match wakeups {
        Some(wakeups) => {
            let _: Wake = wakeups.next(up_to).await;
        }
        None => sleep(up_to).await,
    }
}
