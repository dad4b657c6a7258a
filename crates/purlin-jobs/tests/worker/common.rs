//! A store whose calls fail when told to, a log of what the worker does, and a kind of job.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use purlin_jobs::store::{
    Beat, Claim, Claimed, Enqueued, Entry, Firing, Found, JobView, KeptResult, Note, NoteStore,
    Noted, Notes, Outcome, Promoted, Rescue, Rescued, ScheduleEntry, ScheduleList, ScheduleStore,
    Settled, Settlement, Signalled, Wakeups,
};
use purlin_jobs::{
    Backoff, Event, Job, JobAdmin as _, JobContext, JobError, JobId, JobStore, Jobs, LeaseId,
    LimitStore, MemoryStore, NewJob, Observer, QueueName, TransactionalJobStore, Worker,
    WorkerError, WorkerId, handler_fn,
};
use purlin_store::{Clock, StoreError, StoreErrorKind};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Nothing that is waited for takes longer, in virtual time.
const LONG: Duration = secs(2 * 3600);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) number: u32,
}

impl Job for Probe {
    const KIND: &'static str = "probe";
    const ALIASES: &'static [&'static str] = &["old_probe"];
}

/// The time that tokio's paused clock says.
#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

impl Clock for TokioClock {
    fn override_now(&self) -> Option<SystemTime> {
        Some(UNIX_EPOCH + secs(1_000_000) + self.0.elapsed())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An error, and nothing was done.
    Refused,
    /// It was done, but the answer is an error.
    ReplyLost,
    /// It was done, but the answer takes a second.
    ReplySlow,
    /// No answer.
    Hangs,
    Panics,
    /// An error that time does not mend.
    NoTables,
    /// Of a heartbeat: somebody has rescued the worker's jobs. Of a settlement: the lease is another.
    TakenAway,
}

/// The memory store, with faults.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) inner: MemoryStore,
    pub(crate) keeps_schedules: bool,
    pub(crate) keeps_groups: bool,
    faults: Arc<Mutex<HashMap<&'static str, (Fault, u32)>>>,
    calls: Arc<watch::Sender<BTreeMap<&'static str, u32>>>,
    carries_flows: bool,
    forgets: Arc<AtomicBool>,
    /// In transactions.
    kept: Arc<Mutex<HashMap<JobId, Bytes>>>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            inner: MemoryStore::new().with_clock(TokioClock(Instant::now())),
            keeps_schedules: true,
            keeps_groups: true,
            faults: Arc::default(),
            calls: Arc::default(),
            carries_flows: true,
            forgets: Arc::default(),
            kept: Arc::default(),
        }
    }

    pub(crate) fn without_flows(mut self) -> Self {
        self.carries_flows = false;
        self
    }

    /// It keeps no notes from now on.
    pub(crate) fn forgets(&self) {
        self.forgets.store(true, Ordering::Relaxed);
    }

    /// The next so many calls fail like this.
    pub(crate) fn fail(&self, call: &'static str, fault: Fault, times: u32) {
        self.faults
            .lock()
            .expect("nobody panics with it")
            .insert(call, (fault, times));
    }

    fn is_taken_away(&self, call: &'static str) -> bool {
        let mut faults = self.faults.lock().expect("nobody panics with it");
        let is_so = faults.get(call) == Some(&(Fault::TakenAway, 1));
        if is_so {
            faults.remove(call);
        }
        is_so
    }

    pub(crate) fn heal(&self) {
        self.faults.lock().expect("nobody panics with it").clear();
    }

    pub(crate) fn calls(&self, call: &'static str) -> u32 {
        self.calls.borrow().get(call).copied().unwrap_or_default()
    }

    pub(crate) async fn called(&self, call: &'static str, times: u32) {
        let mut calls = self.calls.subscribe();
        let enough = |calls: &BTreeMap<_, _>| calls.get(call).is_some_and(|n| *n >= times);
        let waiting = tokio::time::timeout(LONG, calls.wait_for(enough)).await;
        waiting
            .unwrap_or_else(|_| panic!("{call} was not called"))
            .expect("the sender is here");
    }

    async fn call<T>(
        &self,
        call: &'static str,
        effect: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.calls
            .send_modify(|calls| *calls.entry(call).or_default() += 1);
        let fault = match self
            .faults
            .lock()
            .expect("nobody panics with it")
            .get_mut(call)
        {
            Some((fault, times)) if *times > 0 => {
                *times -= 1;
                Some(*fault)
            }
            _ => None,
        };
        let error = StoreError::new(StoreErrorKind::Unavailable, "faulty", call);
        match fault {
            None => effect.await,
            Some(Fault::Refused) => Err(error),
            Some(Fault::ReplyLost) => effect.await.and(Err(error)),
            Some(Fault::ReplySlow) => {
                let done = effect.await;
                tokio::time::sleep(secs(1)).await;
                done
            }
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Panics) => panic!("{call} panics"),
            Some(Fault::NoTables) => Err(StoreError::new(StoreErrorKind::Schema, "faulty", call)),
            Some(Fault::TakenAway) => unreachable!("handled where it is possible"),
        }
    }

    pub(crate) async fn view(&self, id: JobId) -> Option<JobView> {
        self.inner.get(id).await.expect("the memory answers")
    }
}

#[async_trait]
impl JobStore for Store {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn enqueue(&self, jobs: &[Entry]) -> Result<Vec<Enqueued>, StoreError> {
        self.call("enqueue", self.inner.enqueue(jobs)).await
    }

    fn carries_flows(&self) -> bool {
        self.carries_flows && self.inner.carries_flows()
    }

    async fn join(&self, worker: WorkerId, ttl: Duration) -> Result<(), StoreError> {
        self.call("join", self.inner.join(worker, ttl)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        self.call("claim", self.inner.claim(claim)).await
    }

    async fn settle(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        let is_taken_away = self.is_taken_away("settle");
        let lease = if is_taken_away { LeaseId::new() } else { lease };
        self.call("settle", self.inner.settle(lease, settlements))
            .await
    }

    async fn heartbeat(&self, worker: WorkerId, ttl: Duration) -> Result<Beat, StoreError> {
        if self.is_taken_away("heartbeat") {
            self.inner.leave(worker).await?;
        }
        self.call("heartbeat", self.inner.heartbeat(worker, ttl))
            .await
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.call("leave", self.inner.leave(worker)).await
    }

    async fn rescue(&self, rescue: &Rescue) -> Result<Rescued, StoreError> {
        self.call("rescue", self.inner.rescue(rescue)).await
    }

    async fn promote(&self, limit: u32) -> Result<Promoted, StoreError> {
        self.call("promote", self.inner.promote(limit)).await
    }

    fn apart(&self) -> Arc<dyn JobStore> {
        Arc::new(self.clone())
    }

    async fn wakeups(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        self.call("wakeups", self.inner.wakeups(queues)).await
    }

    fn schedules(&self) -> Option<&dyn ScheduleStore> {
        self.keeps_schedules.then_some(self as _)
    }

    fn limits(&self) -> Option<&dyn LimitStore> {
        self.keeps_groups.then_some(&self.inner)
    }

    fn notes(&self) -> Option<&dyn NoteStore> {
        (!self.forgets.load(Ordering::Relaxed)).then_some(self)
    }
}

#[async_trait]
impl ScheduleStore for Store {
    async fn put_schedule(&self, schedule: &ScheduleEntry) -> Result<(), StoreError> {
        self.call("put_schedule", self.inner.put_schedule(schedule))
            .await
    }

    async fn list_schedules(&self) -> Result<ScheduleList, StoreError> {
        self.call("list_schedules", self.inner.list_schedules())
            .await
    }

    async fn fire_schedule(&self, firing: &Firing) -> Result<Option<Vec<Enqueued>>, StoreError> {
        self.call("fire_schedule", self.inner.fire_schedule(firing))
            .await
    }

    async fn pause_schedule(&self, name: &str) -> Result<bool, StoreError> {
        self.inner.pause_schedule(name).await
    }

    async fn resume_schedule(&self, name: &str) -> Result<bool, StoreError> {
        self.inner.resume_schedule(name).await
    }

    async fn remove_schedule(&self, name: &str) -> Result<bool, StoreError> {
        self.inner.remove_schedule(name).await
    }
}

#[async_trait]
impl NoteStore for Store {
    async fn recall(&self, job: JobId) -> Result<Option<Notes>, StoreError> {
        self.call("recall", self.inner.recall(job)).await
    }

    async fn note(&self, lease: LeaseId, job: JobId, note: &Note) -> Result<Noted, StoreError> {
        if self.is_taken_away("note") {
            self.inner
                .settle(
                    lease,
                    &[Settlement {
                        id: job,
                        outcome: Outcome::Release,
                    }],
                )
                .await?;
        }
        self.call("note", self.inner.note(lease, job, note)).await
    }

    async fn signal(&self, job: JobId, name: &str, value: &Bytes) -> Result<Signalled, StoreError> {
        self.call("signal", self.inner.signal(job, name, value))
            .await
    }

    async fn result(&self, job: JobId) -> Result<Found, StoreError> {
        let kept = self
            .kept
            .lock()
            .expect("nobody panics with it")
            .get(&job)
            .cloned();
        let found = async {
            match kept {
                Some(kept) => Ok(Found::Result(kept)),
                None => self.inner.result(job).await,
            }
        };
        self.call("result", found).await
    }
}

/// A transaction that is committed as soon as it is used, or never.
#[derive(Debug)]
pub(crate) enum Transaction {
    Committed,
    RolledBack,
}

#[async_trait]
impl TransactionalJobStore<Transaction> for Store {
    async fn enqueue_in(
        &self,
        _: &mut Transaction,
        jobs: &[Entry],
    ) -> Result<Vec<Enqueued>, StoreError> {
        self.inner.enqueue(jobs).await
    }

    async fn complete_in(
        &self,
        transaction: &mut Transaction,
        lease: LeaseId,
        id: JobId,
    ) -> Result<Settled, StoreError> {
        let outcome = Outcome::Done;
        match transaction {
            Transaction::Committed => {
                let settled = self
                    .inner
                    .settle(lease, &[Settlement { id, outcome }])
                    .await?;
                Ok(settled[0])
            }
            Transaction::RolledBack => Ok(Settled::Applied),
        }
    }

    async fn keep_in(
        &self,
        transaction: &mut Transaction,
        job: JobId,
        result: &KeptResult,
    ) -> Result<(), StoreError> {
        if let Transaction::Committed = transaction {
            let mut kept = self.kept.lock().expect("nobody panics with it");
            kept.insert(job, result.value.clone());
        }
        Ok(())
    }
}

/// The names of the events so far, each with the number of the attempt where there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<watch::Sender<Vec<String>>>);

impl Observer for Log {
    fn on_event(&self, event: &Event<'_>) {
        let entry = match event {
            Event::Settled { job, .. } | Event::Started { job, .. } | Event::Stale { job, .. } => {
                format!("{} {}", event.name(), job.attempt)
            }
            Event::StoreFailed { part, .. } | Event::LoopRestarted { part, .. } => {
                format!("{} {part}", event.name())
            }
            _ => event.name().to_owned(),
        };
        self.0.send_modify(|log| log.push(entry));
    }
}

impl Log {
    pub(crate) fn entries(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub(crate) fn count(&self, entry: &str) -> usize {
        self.0.borrow().iter().filter(|it| *it == entry).count()
    }

    /// Waits until there are so many of these.
    pub(crate) async fn has(&self, entry: &str, times: usize) {
        let mut log = self.0.subscribe();
        let enough = |log: &Vec<String>| log.iter().filter(|it| *it == entry).count() >= times;
        let waiting = tokio::time::timeout(LONG, log.wait_for(enough)).await;
        if waiting.is_err() {
            panic!("no `{entry}` in {:?}", self.entries());
        }
    }
}

/// A worker with settings for tests: heartbeats in virtual time, a back-off of 10 s per attempt.
pub(crate) fn bare_worker(store: &Store, log: &Log) -> Worker {
    Worker::new(store.clone())
        .with_heartbeat_spawner(|heartbeat| drop(tokio::spawn(heartbeat)))
        .with_backoff(Backoff::from_fn(|job| secs(10) * u32::from(job.attempt)))
        .with_observer(log.clone())
}

pub(crate) fn worker<F, Fut>(store: &Store, log: &Log, handler: F) -> Worker
where
    F: Fn(Probe, JobContext) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    bare_worker(store, log).register(handler_fn(handler))
}

/// A worker that runs, until it is told to end.
pub(crate) struct Running {
    shutdown: oneshot::Sender<()>,
    pub(crate) run: JoinHandle<Result<(), WorkerError>>,
}

impl Running {
    pub(crate) async fn end(self) -> Result<(), WorkerError> {
        self.ask_to_end().await.expect("the worker does not panic")
    }

    pub(crate) fn ask_to_end(self) -> JoinHandle<Result<(), WorkerError>> {
        self.shutdown.send(()).expect("the worker runs");
        self.run
    }

    /// Ends it as a killed process does, as far as the store can see.
    pub(crate) async fn kill(self) {
        self.run.abort();
        assert!(self.run.await.is_err_and(|error| error.is_cancelled()));
    }
}

pub(crate) fn start(worker: Worker) -> Running {
    let (shutdown, told) = oneshot::channel();
    let run = tokio::spawn(worker.run_until(told));
    Running { shutdown, run }
}

pub(crate) async fn enqueue(store: &Store, job: impl Into<NewJob>) -> JobId {
    let jobs = Jobs::new(store.inner.clone());
    jobs.enqueue(job).await.expect("the memory takes it").id()
}

pub(crate) fn probe(number: u32) -> NewJob {
    NewJob::new(&Probe { number })
}

pub(crate) const HOUR: Duration = secs(3600);

pub(crate) fn jobs(store: &Store) -> Jobs<Store> {
    Jobs::new(store.clone())
}

/// Runs one job by this handler, to its end.
macro_rules! run {
    ($store:expr, $log:expr, $until:expr, |$context:ident| $body:expr) => {{
        use $crate::common::{enqueue, probe, start, worker};
        let running = start(worker(&$store, &$log, move |_, $context: JobContext| $body));
        let id = enqueue(&$store, probe(1)).await;
        $log.has($until, 1).await;
        running.end().await.unwrap();
        id
    }};
}

pub(crate) use run;
