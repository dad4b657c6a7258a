//! The points at which a process stands still, to be killed or stopped there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use purlin_jobs::store::{
    Beat, Claim, Claimed, Enqueued, Entry, NoteStore, Promoted, Rescue, Rescued, Settled,
    Settlement, Wakeups,
};
use purlin_jobs::{JobStore, LeaseId, QueueName, WorkerId};
use purlin_store::StoreError;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::log::Log;
use crate::tell;
use crate::work::victim;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Point {
    /// The claim is made, and the handler not called.
    Claimed,
    InHandler,
    /// The handler has ended, and the store was not told.
    Ended,
    /// The store was told, and has answered nothing yet.
    Settling,
    /// The store has settled it, and the worker does not know.
    Settled,
    /// `complete_in` has joined the handler's transaction, which is not committed.
    Joined,
    /// That transaction is committed.
    Committed,
    /// `enqueue_in` has joined a transaction, which is not committed.
    Enqueued,
}

/// Where this process stands still, once.
#[derive(Debug)]
pub(crate) struct Stops {
    point: Option<Point>,
    over: AtomicBool,
    go_on: Semaphore,
}

impl Stops {
    pub(crate) fn new(point: Option<Point>) -> Arc<Self> {
        Arc::new(Self {
            point,
            over: AtomicBool::new(false),
            go_on: Semaphore::new(0),
        })
    }

    /// Stands still if this is the point, until the test says otherwise.
    pub(crate) async fn at(&self, point: Point) {
        if self.point == Some(point) && !self.over.swap(true, Ordering::SeqCst) {
            tell("stopped");
            self.wait().await;
        }
    }

    /// Waits for the test.
    pub(crate) async fn wait(&self) {
        self.go_on.acquire().await.unwrap().forget();
    }

    pub(crate) fn go_on(&self) {
        self.go_on.add_permits(1);
    }
}

/// A store that stands still before and after its calls, and writes down what they were.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) stops: Arc<Stops>,
    pub(crate) log: Log,
}

#[async_trait]
impl JobStore for Watched {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    async fn enqueue(&self, jobs: &[Entry]) -> Result<Vec<Enqueued>, StoreError> {
        self.store.enqueue(jobs).await
    }

    async fn join(&self, worker: WorkerId, ttl: Duration) -> Result<(), StoreError> {
        self.store.join(worker, ttl).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        let claimed = self.store.claim(claim).await;
        let jobs = claimed.as_deref().unwrap_or_default();
        for job in jobs {
            self.log.claimed(job.id, claim.lease).await;
        }
        if jobs.iter().any(|job| job.id == victim()) {
            self.stops.at(Point::Claimed).await;
        }
        claimed
    }

    async fn settle(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        let of_victim = settlements
            .iter()
            .any(|settlement| settlement.id == victim());
        if of_victim {
            self.stops.at(Point::Ended).await;
            self.stops.at(Point::Settling).await;
        }
        for settlement in settlements {
            let Settlement { id, outcome } = settlement;
            self.log.settling(*id, lease, outcome).await;
        }
        if of_victim {
            tell("settling");
        }
        let settled = self.store.settle(lease, settlements).await;
        if of_victim {
            self.stops.at(Point::Settled).await;
        }
        for (settlement, settled) in settlements.iter().zip(settled.iter().flatten()) {
            let how = match settled {
                Settled::Applied => "applied",
                _ => "stale",
            };
            self.log.settled(settlement.id, lease, how).await;
            if settlement.id == victim() {
                tell(how);
            }
        }
        settled
    }

    async fn heartbeat(&self, worker: WorkerId, ttl: Duration) -> Result<Beat, StoreError> {
        self.store.heartbeat(worker, ttl).await
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.store.leave(worker).await
    }

    async fn rescue(&self, rescue: &Rescue) -> Result<Rescued, StoreError> {
        self.store.rescue(rescue).await
    }

    async fn promote(&self, limit: u32) -> Result<Promoted, StoreError> {
        self.store.promote(limit).await
    }

    fn apart(&self) -> Arc<dyn JobStore> {
        Arc::new(Self {
            store: self.store.apart(),
            stops: Arc::clone(&self.stops),
            log: self.log.clone(),
        })
    }

    async fn wakeups(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        self.store.wakeups(queues).await
    }

    fn notes(&self) -> Option<&dyn NoteStore> {
        self.store.notes()
    }
}
