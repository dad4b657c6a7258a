mod fault;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use purlin_store::StoreError;
use tokio::time::Instant;

pub use self::fault::{Call, Fault};
use crate::store::{
    Beat, Claim, Claimed, Counts, Enqueued, Entry, Filter, JobView, NoteStore, Page, Promoted,
    Rescue, Rescued, Settled, Settlement, Wake, Wakeups,
};
use crate::watched::Watched;
use crate::{JobAdmin, JobId, JobStore, LeaseId, QueueName, TransactionalJobStore, WorkerId};

/// A store whose calls fail, hang, come late or lose their answers when it is told so: for tests of
/// what a service does when its database is away. Clones share the faults and what they wrap.
///
/// ```
/// use purlin_jobs::testing::{Call, Fault, FaultyStore};
/// use purlin_jobs::{EnqueueError, Jobs, MemoryStore, NewJob};
/// # use purlin_jobs::Job;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct SendReceipt { order: u64 }
/// # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), EnqueueError> {
/// let store = FaultyStore::new(MemoryStore::new());
/// let jobs = Jobs::new(store.clone());
/// let receipt = NewJob::new(&SendReceipt { order: 7 });
///
/// // It is there, but the answer is lost.
/// store.fail(Call::Enqueue, Fault::reply_lost(), 1);
/// assert!(jobs.enqueue(receipt.clone()).await.is_err());
/// // Under its own id it can be enqueued again without harm.
/// jobs.enqueue(receipt).await?;
/// assert_eq!(store.calls(Call::Enqueue), 2);
/// # Ok(()) }
/// ```
pub struct FaultyStore<S: ?Sized> {
    inner: Arc<S>,
    script: Arc<Script>,
}

#[derive(Default)]
struct Script {
    next: Mutex<BTreeMap<Call, (Fault, u32)>>,
    decide: Mutex<Option<Decide>>,
    calls: Watched<BTreeMap<Call, u64>>,
}

type Decide = Arc<dyn Fn(Call) -> Fault + Send + Sync>;

impl<S> FaultyStore<S> {
    /// Wraps a store. No call fails.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self {
            inner: Arc::new(store),
            script: Arc::default(),
        }
    }
}

impl<S: ?Sized> FaultyStore<S> {
    /// Lets this function decide about each call that [`fail`](Self::fail) says nothing of.
    #[must_use]
    pub fn with_faults(self, decide: impl Fn(Call) -> Fault + Send + Sync + 'static) -> Self {
        *lock(&self.script.decide) = Some(Arc::new(decide));
        self
    }

    /// The next so many calls of this kind go like this; `u32::MAX`: until [`heal`](Self::heal).
    pub fn fail(&self, call: Call, fault: Fault, times: u32) {
        lock(&self.script.next).insert(call, (fault, times));
    }

    /// Lets all calls work from now on. Those that hang do so for ever.
    pub fn heal(&self) {
        lock(&self.script.next).clear();
        *lock(&self.script.decide) = None;
    }

    /// How many calls of this kind there were, whatever became of them.
    #[must_use]
    pub fn calls(&self, call: Call) -> u64 {
        self.script
            .calls
            .get()
            .get(&call)
            .copied()
            .unwrap_or_default()
    }

    /// Returns when there were so many calls of this kind.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, nothing is lost.
    pub async fn called(&self, call: Call, times: u64) {
        let enough = |calls: &BTreeMap<_, _>| calls.get(&call).is_some_and(|n| *n >= times);
        self.script.calls.wait_for(enough).await;
    }

    /// What it wraps, without faults.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Counts a call and says what becomes of it.
    fn fault(&self, call: Call) -> Fault {
        self.script.calls.change(|calls| {
            *calls.entry(call).or_default() += 1;
            true
        });
        if let Some((fault, times)) = lock(&self.script.next).get_mut(&call)
            && *times > 0
        {
            *times -= u32::from(*times < u32::MAX);
            return fault.clone();
        }
        let decide = lock(&self.script.decide).clone();
        decide.map_or_else(Fault::none, |decide| decide(call))
    }

    /// Makes a call, which may outlive the caller's interest in it.
    async fn call<T, F>(&self, call: Call, make: impl FnOnce(Arc<S>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let fault = self.fault(call);
        let effect = make(Arc::clone(&self.inner));
        match fault.late_by() {
            Some(by) => {
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    // Nobody waits for what it says.
                    let _ = effect.await;
                });
                Err(Fault::error(call))
            }
            None => fault.apply(call, effect).await,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: ?Sized> Clone for FaultyStore<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            script: Arc::clone(&self.script),
        }
    }
}

impl<S: fmt::Debug + ?Sized> fmt::Debug for FaultyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("inner", &&*self.inner)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<S: JobStore + ?Sized> JobStore for FaultyStore<S> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn enqueue(&self, jobs: &[Entry]) -> Result<Vec<Enqueued>, StoreError> {
        let jobs = jobs.to_vec();
        let enqueue = |store: Arc<S>| async move { store.enqueue(&jobs).await };
        self.call(Call::Enqueue, enqueue).await
    }

    async fn join(&self, worker: WorkerId, ttl: Duration) -> Result<(), StoreError> {
        let join = |store: Arc<S>| async move { store.join(worker, ttl).await };
        self.call(Call::Join, join).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        let claim = claim.clone();
        let make = |store: Arc<S>| async move { store.claim(&claim).await };
        self.call(Call::Claim, make).await
    }

    async fn settle(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        let settlements = settlements.to_vec();
        let settle = |store: Arc<S>| async move { store.settle(lease, &settlements).await };
        self.call(Call::Settle, settle).await
    }

    async fn heartbeat(&self, worker: WorkerId, ttl: Duration) -> Result<Beat, StoreError> {
        let heartbeat = |store: Arc<S>| async move { store.heartbeat(worker, ttl).await };
        self.call(Call::Heartbeat, heartbeat).await
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        let leave = |store: Arc<S>| async move { store.leave(worker).await };
        self.call(Call::Leave, leave).await
    }

    async fn rescue(&self, rescue: &Rescue) -> Result<Rescued, StoreError> {
        let rescue = *rescue;
        let make = |store: Arc<S>| async move { store.rescue(&rescue).await };
        self.call(Call::Rescue, make).await
    }

    async fn promote(&self, limit: u32) -> Result<Promoted, StoreError> {
        let promote = |store: Arc<S>| async move { store.promote(limit).await };
        self.call(Call::Promote, promote).await
    }

    fn apart(&self) -> Arc<dyn JobStore> {
        Arc::new(FaultyStore {
            inner: self.inner.apart(),
            script: Arc::clone(&self.script),
        })
    }

    async fn wakeups(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        let queues = queues.to_vec();
        let make = |store: Arc<S>| async move { store.wakeups(&queues).await };
        let inner = self.call(Call::Wakeups, make).await?;
        let script = Arc::clone(&self.script);
        let faults = FaultyStore {
            inner: Arc::new(()),
            script,
        };
        Ok(Box::new(FaultyWakeups { inner, faults }))
    }

    /// Of what it wraps, without faults.
    fn notes(&self) -> Option<&dyn NoteStore> {
        self.inner.notes()
    }
}

#[derive(Debug)]
struct FaultyWakeups {
    inner: Box<dyn Wakeups>,
    faults: FaultyStore<()>,
}

#[async_trait]
impl Wakeups for FaultyWakeups {
    async fn next(&mut self, up_to: Duration) -> Wake {
        let until = Instant::now() + up_to;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.inner.next(left).await == Wake::Elapsed {
                return Wake::Elapsed;
            }
            let fault = self.faults.fault(Call::Wakeup);
            let told = tokio::time::timeout_at(until, fault.apply(Call::Wakeup, async { Ok(()) }));
            match told.await {
                Ok(Ok(())) => return Wake::Jobs,
                // It was not heard.
                Ok(Err(_)) => {}
                Err(_) => return Wake::Elapsed,
            }
        }
    }
}

#[async_trait]
impl<S, C> TransactionalJobStore<C> for FaultyStore<S>
where
    S: TransactionalJobStore<C>,
    C: Send,
{
    async fn enqueue_in(
        &self,
        connection: &mut C,
        jobs: &[Entry],
    ) -> Result<Vec<Enqueued>, StoreError> {
        let fault = self.fault(Call::EnqueueIn);
        let enqueue = self.inner.enqueue_in(connection, jobs);
        fault.apply(Call::EnqueueIn, enqueue).await
    }

    async fn complete_in(
        &self,
        connection: &mut C,
        lease: LeaseId,
        job: JobId,
    ) -> Result<Settled, StoreError> {
        let fault = self.fault(Call::CompleteIn);
        let complete = self.inner.complete_in(connection, lease, job);
        fault.apply(Call::CompleteIn, complete).await
    }
}

#[async_trait]
impl<S: JobAdmin + ?Sized> JobAdmin for FaultyStore<S> {
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let get = |store: Arc<S>| async move { store.get(id).await };
        self.call(Call::Get, get).await
    }

    async fn list(&self, filter: &Filter, page: &Page) -> Result<Vec<JobView>, StoreError> {
        let (filter, page) = (filter.clone(), *page);
        let list = |store: Arc<S>| async move { store.list(&filter, &page).await };
        self.call(Call::List, list).await
    }

    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
        let queue = queue.cloned();
        let counts = |store: Arc<S>| async move { store.counts(queue.as_ref()).await };
        self.call(Call::Counts, counts).await
    }

    async fn cancel(&self, id: JobId) -> Result<bool, StoreError> {
        let cancel = |store: Arc<S>| async move { store.cancel(id).await };
        self.call(Call::Cancel, cancel).await
    }

    async fn replay(&self, id: JobId) -> Result<bool, StoreError> {
        let replay = |store: Arc<S>| async move { store.replay(id).await };
        self.call(Call::Replay, replay).await
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let queue = queue.clone();
        let pause = |store: Arc<S>| async move { store.pause(&queue).await };
        self.call(Call::Pause, pause).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let queue = queue.clone();
        let resume = |store: Arc<S>| async move { store.resume(&queue).await };
        self.call(Call::Resume, resume).await
    }

    async fn purge_finished(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let purge = |store: Arc<S>| async move { store.purge_finished(age, limit).await };
        self.call(Call::PurgeFinished, purge).await
    }
}
