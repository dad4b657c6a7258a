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
    /// For jobs that run.
    slots: Arc<Semaphore>,
    /// For jobs that were claimed: those that run, and those that wait for a slot.
    room: Arc<Semaphore>,
    /// How much room there must be for a claim to be worth it. A job waits for a slot, or there is as much.
    least: u32,
    /// A claim whose outcome is not known. It is made again, under the same lease.
    open: Mutex<Option<Claim>>,
    /// The last [`Shared::look`] that found nothing.
    empty: watch::Sender<u64>,
    /// The last one that has been answered.
    looked: watch::Sender<u64>,
}

impl Queue {
    pub(super) fn new(name: QueueName, slots: usize, prefetch: usize) -> Self {
        let slots = slots.clamp(1, Semaphore::MAX_PERMITS);
        let room = slots.saturating_add(prefetch).min(Semaphore::MAX_PERMITS);
        Self {
            name,
            slots: Arc::new(Semaphore::new(slots)),
            room: Arc::new(Semaphore::new(room)),
            least: u32::try_from((prefetch / 2).clamp(1, MAX_CLAIM)).unwrap_or(1),
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
            let look = shared.look.get();
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
                    let found = claimed.len();
                    let is_full = found >= usize::from(claim.limit);
                    self.start(shared, ready, claim.lease, claimed);
                    if found == 0 {
                        self.empty.send_replace(look);
                    }
                    self.looked.send_replace(look);
                    if !is_full {
                        tokio::select! {
                            biased;
                            () = shared.reached(Phase::Draining) => return,
                            _ = shared.look.wait_for(|now| *now != look) => {}
                            wake = wait(wakeups.as_deref_mut(), poll) => {
                                if wake == Wake::Jobs {
                                    // It may have been for one that is due later, or is by now.
                                    shared.due_in(poll);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Waits until the worker has joined and there is room, and takes it.
    async fn ready(&self, shared: &Shared) -> Ready {
        loop {
            let Some(epoch) = shared.epoch.wait_for(Option::is_some).await else {
                continue;
            };
            let open = self.open(&epoch).map(|claim| u32::from(claim.limit));
            let least = open.unwrap_or(self.least);
            let Ok(mut room) = Arc::clone(&self.room).acquire_many_owned(least).await else {
                std::future::pending().await
            };
            if !shared.is_live(&epoch) {
                continue;
            }
            let more = self
                .room
                .available_permits()
                .min(MAX_CLAIM.saturating_sub(least as usize));
            if open.is_none()
                && let Ok(more) = u32::try_from(more)
                && let Ok(more) = Arc::clone(&self.room).try_acquire_many_owned(more)
            {
                room.merge(more);
            }
            return Ready { epoch, room };
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
            limit: u16::try_from(ready.room.num_permits()).unwrap_or(u16::MAX),
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
            let Some(room) = ready.room.split(1) else {
                // More than was asked for; the lease keeps them until the worker leaves.
                break;
            };
            let attempt = Attempt {
                shared: Arc::clone(shared),
                epoch: Arc::clone(&ready.epoch),
                lease,
                queue: self.name.clone(),
                claimed,
                active: shared.begin(),
                room,
                slots: Arc::clone(&self.slots),
            };
            tokio::spawn(attempt.run());
        }
    }
}

/// An epoch that is live, and room that is free.
struct Ready {
    epoch: Arc<Epoch>,
    room: OwnedSemaphorePermit,
}

async fn wait(wakeups: Option<&mut (dyn Wakeups + '_)>, up_to: Duration) -> Wake {
    match wakeups {
        Some(wakeups) => wakeups.next(up_to).await,
        None => {
            sleep(up_to).await;
            Wake::Elapsed
        }
    }
}
