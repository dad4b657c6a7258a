//! The memory store, watched: after each call what it says and what it holds must be what the model has.
//!
//! The invariants, as the design numbers them: I1 what was confirmed is not lost, I2 a job has one live lease,
//! I3 a settlement under a dead lease changes nothing, I4 attempts are spent by failures of handlers alone,
//! I6 at most one job has a key, I9 no loop stops without being told, I10 every job is in one state or gone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use purlin_jobs::store::{
    Beat, Claim, Claimed, Counts, Enqueued, Entry, Filter, JobView, Page, Promoted, Rescue,
    Rescued, Settled, Settlement, Wakeups,
};
use purlin_jobs::{JobAdmin, JobId, JobStore, LeaseId, MemoryStore, QueueName, WorkerId};
use purlin_store::{StoreError, StoreErrorKind};

use crate::model::{Micros, Model};
use crate::trace::number;
use crate::world::World;

#[derive(Clone)]
pub(crate) struct Checked {
    pub(crate) inner: MemoryStore,
    pub(crate) world: Arc<World>,
    pub(crate) caller: u64,
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Checked").field(&self.caller).finish()
    }
}

impl Checked {
    /// Compares what the store has said with what the model says, and both states.
    async fn check<T: PartialEq + std::fmt::Debug>(
        &self,
        call: &'static str,
        said: &T,
        touched: &[JobId],
        expected: impl FnOnce(&mut Model, Micros) -> T,
    ) {
        let now = self.world.micros();
        let expected = self.world.with_model(|model| expected(model, now));
        let numbers: Vec<_> = touched.iter().map(|id| number(id.as_uuid())).collect();
        self.world.trace(self.caller, call, &numbers);
        if *said != expected {
            self.world
                .violated(format!("{call} said {said:?}, expected {expected:?}"));
        }
        for id in touched {
            let view = self.inner.get(*id).await.unwrap();
            if !self.world.with_model(|model| model.is(*id, view.as_ref())) {
                let job = self.world.with_model(|model| model.jobs.get(id).cloned());
                self.world.violated(format!(
                    "after {call} the store has {view:?}, expected {job:?}"
                ));
            }
        }
        let counts = self.inner.counts(None).await.unwrap();
        let counted = [
            counts.ready,
            counts.scheduled,
            counts.leased,
            counts.dead,
            counts.cancelled,
        ];
        let broken = self.world.with_model(|model| {
            let expected = model.counts();
            let differ =
                || format!("after {call} the store counts {counted:?}, expected {expected:?}");
            model
                .broken()
                .or_else(|| (counted != expected).then(differ))
        });
        if let Some(broken) = broken {
            self.world.violated(broken);
        }
    }
}

/// Whether a call had its effect: other errors than conflicts do not come from a memory.
fn is_conflict<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(error) if error.kind() == StoreErrorKind::Conflict)
}

#[async_trait]
impl JobStore for Checked {
    fn name(&self) -> &'static str {
        "checked"
    }

    async fn enqueue(&self, jobs: &[Entry]) -> Result<Vec<Enqueued>, StoreError> {
        let said = self.inner.enqueue(jobs).await?;
        let touched: Vec<_> = jobs.iter().map(|job| job.id).collect();
        self.check("enqueue", &said, &touched, |model, now| {
            model.enqueue(jobs, now)
        })
        .await;
        Ok(said)
    }

    async fn join(&self, worker: WorkerId, ttl: Duration) -> Result<(), StoreError> {
        self.inner.join(worker, ttl).await?;
        self.check("join", &(), &[], |model, now| model.join(worker, ttl, now))
            .await;
        Ok(())
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        let result = self.inner.claim(claim).await;
        let claimed = result.as_ref().ok();
        let said = claimed.map(|jobs| jobs.iter().map(|job| job.id).collect::<Vec<_>>());
        let touched = said.clone().unwrap_or_default();
        self.check("claim", &said, &touched, |model, now| {
            model.claim(claim, now)
        })
        .await;
        if said.is_none() && !is_conflict(&result) {
            self.world
                .violated("a claim failed for another reason".to_owned());
        }
        for job in touched {
            self.world.claimed(job, claim.lease);
        }
        result
    }

    async fn settle(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        for settlement in settlements {
            self.world.settling(lease, settlement);
        }
        let said = self.inner.settle(lease, settlements).await?;
        let touched: Vec<_> = settlements.iter().map(|it| it.id).collect();
        self.check("settle", &said, &touched, |model, now| {
            let each = settlements.iter();
            each.map(|it| model.settle(lease, it, now)).collect()
        })
        .await;
        Ok(said)
    }

    async fn heartbeat(&self, worker: WorkerId, ttl: Duration) -> Result<Beat, StoreError> {
        let beat = self.inner.heartbeat(worker, ttl).await?;
        let said = match &beat {
            Beat::Alive { cancel } => {
                let mut cancel = cancel.clone();
                cancel.sort_unstable();
                Some(cancel)
            }
            _ => None,
        };
        self.check("heartbeat", &said, &[], |model, now| {
            let mut cancel = model.heartbeat(worker, ttl, now);
            cancel.iter_mut().for_each(|cancel| cancel.sort_unstable());
            cancel
        })
        .await;
        Ok(beat)
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.inner.leave(worker).await?;
        self.check("leave", &(), &[], |model, now| model.leave(worker, now))
            .await;
        Ok(())
    }

    async fn rescue(&self, rescue: &Rescue) -> Result<Rescued, StoreError> {
        let said = self.inner.rescue(rescue).await?;
        self.check("rescue", &said, &[], |model, now| model.rescue(rescue, now))
            .await;
        Ok(said)
    }

    async fn promote(&self, limit: u32) -> Result<Promoted, StoreError> {
        let said = self.inner.promote(limit).await?;
        self.check("promote", &said, &[], |model, now| {
            model.promote(limit, now)
        })
        .await;
        Ok(said)
    }

    fn apart(&self) -> Arc<dyn JobStore> {
        Arc::new(self.clone())
    }

    async fn wakeups(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        self.inner.wakeups(queues).await
    }
}

#[async_trait]
impl JobAdmin for Checked {
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        self.inner.get(id).await
    }

    async fn list(&self, filter: &Filter, page: &Page) -> Result<Vec<JobView>, StoreError> {
        self.inner.list(filter, page).await
    }

    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
        self.inner.counts(queue).await
    }

    async fn cancel(&self, id: JobId) -> Result<bool, StoreError> {
        let said = self.inner.cancel(id).await?;
        self.check("cancel", &said, &[id], |model, now| model.cancel(id, now))
            .await;
        Ok(said)
    }

    async fn replay(&self, id: JobId) -> Result<bool, StoreError> {
        let result = self.inner.replay(id).await;
        let said = result.as_ref().ok().copied();
        self.check("replay", &said, &[id], |model, now| model.replay(id, now))
            .await;
        result
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let said = self.inner.pause(queue).await?;
        self.check("pause", &said, &[], |model, _| model.pause(queue))
            .await;
        Ok(said)
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let said = self.inner.resume(queue).await?;
        self.check("resume", &said, &[], |model, now| model.resume(queue, now))
            .await;
        Ok(said)
    }

    async fn purge_finished(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let said = self.inner.purge_finished(age, limit).await?;
        self.check("purge", &said, &[], |model, now| model.purge(age, now))
            .await;
        Ok(said)
    }
}
