//! What the cases work with.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use purlin_store::{Clock as _, StoreError, StoreErrorKind};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::Harness;
use crate::store::{
    Claim, Claimed, Enqueued, Entry, JobView, Outcome, Rescue, Rescued, Settled, Settlement, State,
};
use crate::{JobAdmin, JobId, LeaseId, Options, QueueName, Unique, WorkerId};

pub(super) const MICRO: Duration = Duration::from_micros(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const YEAR: Duration = Duration::from_secs(365 * 86_400);

pub(super) const KIND: &str = "work";

pub(super) type Store = Arc<dyn JobAdmin>;

/// A job of [`KIND`] with the options that are usual.
pub(super) fn job() -> Entry {
    Entry {
        id: JobId::new(),
        kind: KIND.to_owned(),
        version: 1,
        payload: Bytes::from_static(b"{}"),
        traceparent: None,
        options: Options::new(),
        parents: Vec::new(),
    }
}

pub(super) fn job_with(change: impl FnOnce(Options) -> Options) -> Entry {
    let mut entry = job();
    entry.options = change(entry.options);
    entry
}

pub(super) fn job_of(kind: &str) -> Entry {
    let kind = kind.to_owned();
    Entry { kind, ..job() }
}

pub(super) fn unique(unique: Unique) -> Entry {
    job_with(|options| options.with_unique(unique))
}

pub(super) fn queue(name: &'static str) -> QueueName {
    QueueName::new(name).expect("a name for a queue")
}

#[track_caller]
pub(super) fn ok<T>(result: Result<T, StoreError>) -> T {
    result.unwrap_or_else(|error| panic!("the store failed: {error:?}"))
}

#[track_caller]
pub(super) fn conflict<T: Debug>(result: Result<T, StoreError>) {
    match result {
        Err(error) if error.kind() == StoreErrorKind::Conflict => {}
        other => panic!("no conflict, but {other:?}"),
    }
}

pub(super) fn now(h: &impl Harness) -> SystemTime {
    h.clock().now()
}

/// What becomes of one job.
pub(super) async fn enqueue(store: &Store, entry: &Entry) -> Enqueued {
    let enqueued = ok(store.enqueue(std::slice::from_ref(entry)).await);
    assert_eq!(enqueued.len(), 1);
    enqueued[0]
}

/// Adds one that is new.
pub(super) async fn add(store: &Store, entry: Entry) -> JobId {
    assert_eq!(enqueue(store, &entry).await, Enqueued::New(entry.id));
    entry.id
}

pub(super) async fn view(store: &Store, id: JobId) -> JobView {
    ok(store.get(id).await).expect("the job is there")
}

/// `None` when it is done, or was never there.
pub(super) async fn state(store: &Store, id: JobId) -> Option<State> {
    ok(store.get(id).await).map(|view| view.state)
}

/// How many jobs are ready, scheduled, leased, dead and cancelled.
pub(super) async fn counts(store: &Store) -> [u64; 5] {
    let counts = ok(store.counts(None).await);
    let waiting = [counts.ready, counts.scheduled, counts.leased];
    [
        waiting[0],
        waiting[1],
        waiting[2],
        counts.dead,
        counts.cancelled,
    ]
}

/// A worker that has joined for [`HOUR`].
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) store: Store,
    pub(super) id: WorkerId,
}

impl Worker {
    pub(super) async fn join(store: &Store) -> Self {
        let (store, id) = (Arc::clone(store), WorkerId::new());
        ok(store.join(id, HOUR).await);
        Self { store, id }
    }

    /// A claim of jobs of [`KIND`] from the default queue, under a fresh lease.
    pub(super) fn claim_of(&self, limit: u16) -> Claim {
        Claim {
            worker: self.id,
            lease: LeaseId::new(),
            queue: QueueName::DEFAULT,
            kinds: vec![KIND.to_owned()],
            limit,
        }
    }

    pub(super) async fn claim(&self, limit: u16) -> Batch {
        self.make(&self.claim_of(limit)).await
    }

    pub(super) async fn make(&self, claim: &Claim) -> Batch {
        Batch {
            store: Arc::clone(&self.store),
            lease: claim.lease,
            jobs: ok(self.store.claim(claim).await),
        }
    }
}

/// Jobs that were claimed together.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) store: Store,
    pub(super) lease: LeaseId,
    pub(super) jobs: Vec<Claimed>,
}

impl Batch {
    pub(super) fn ids(&self) -> Vec<JobId> {
        self.jobs.iter().map(|job| job.id).collect()
    }

    /// The only one.
    #[track_caller]
    pub(super) fn job(&self) -> &Claimed {
        assert_eq!(self.jobs.len(), 1, "{:?}", self.jobs);
        &self.jobs[0]
    }

    pub(super) async fn settle(&self, id: JobId, outcome: Outcome) -> Settled {
        settle(&self.store, self.lease, id, outcome).await
    }

    pub(super) async fn settle_all(&self, outcome: Outcome) -> Vec<Settled> {
        let settlements = self.jobs.iter().map(|job| Settlement {
            id: job.id,
            outcome: outcome.clone(),
        });
        let settlements: Vec<_> = settlements.collect();
        ok(self.store.settle(self.lease, &settlements).await)
    }

    /// Settles the only one.
    pub(super) async fn end(&self, outcome: Outcome) {
        let settled = self.settle(self.job().id, outcome).await;
        assert_eq!(settled, Settled::Applied);
    }
}

pub(super) async fn settle(store: &Store, lease: LeaseId, id: JobId, outcome: Outcome) -> Settled {
    let settled = ok(store.settle(lease, &[Settlement { id, outcome }]).await);
    assert_eq!(settled.len(), 1);
    settled[0]
}

/// Adds a job and lets a worker of its own claim it, which takes nothing else.
pub(super) async fn leased(store: &Store, entry: Entry) -> (Worker, Batch) {
    let worker = Worker::join(store).await;
    let id = add(store, entry).await;
    let batch = worker.claim(1).await;
    assert_eq!(batch.job().id, id);
    (worker, batch)
}

/// The same, and then the worker dies and is rescued from.
pub(super) async fn lost(h: &impl Harness, entry: Entry) -> Batch {
    let (_, batch) = leased(&h.store(), entry).await;
    h.clock().advance(HOUR);
    assert_eq!(rescue(&h.store(), u16::MAX).await.workers, 1);
    batch
}

pub(super) async fn rescue(store: &Store, max_crashes: u16) -> Rescued {
    let limit = 1_000;
    ok(store.rescue(&Rescue { limit, max_crashes }).await)
}

pub(super) fn rescued(workers: u32, ready: u32, dead: u32) -> Rescued {
    Rescued {
        workers,
        ready,
        dead,
    }
}

/// One of each kind.
pub(super) fn outcomes() -> [Outcome; 6] {
    [
        Outcome::Done,
        retry(MINUTE),
        discard(),
        Outcome::Cancelled,
        Outcome::Snooze { after: MINUTE },
        Outcome::Release,
    ]
}

pub(super) fn retry(after: Duration) -> Outcome {
    let error = "it did not work".to_owned();
    Outcome::Retry { after, error }
}

pub(super) fn discard() -> Outcome {
    let error = "it never will".to_owned();
    Outcome::Discard { error }
}

/// Makes `count` calls at the same moment, every other one through the second handle.
pub(super) async fn at_once<T, F>(
    h: &impl Harness,
    count: usize,
    call: impl Fn(usize, Store) -> F,
) -> Vec<T>
where
    T: Debug + Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let stores = [h.store(), h.second()];
    let barrier = Arc::new(Barrier::new(count));
    let mut tasks = JoinSet::new();
    for n in 0..count {
        let (call, barrier) = (call(n, Arc::clone(&stores[n % 2])), Arc::clone(&barrier));
        tasks.spawn(async move {
            barrier.wait().await;
            call.await
        });
    }
    tasks.join_all().await
}
