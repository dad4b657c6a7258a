mod attempt;
mod catch_panic;
mod claim;
mod epoch;
mod health;
mod heartbeat;
#[cfg(feature = "testing")]
pub(crate) mod inline;
#[cfg(feature = "cron")]
mod schedules;
mod settle;
mod shared;
mod upkeep;

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use purlin_store::{StoreError, StoreErrorKind};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use self::attempt::{Handler, ServiceHandler};
use self::catch_panic::answered;
#[cfg(feature = "cron")]
pub(crate) use self::catch_panic::caught;
use self::claim::Queue;
pub use self::health::{Health, LoopHealth};
use self::health::{Pulse, Pulses};
use self::settle::{Finished, Settler};
pub(crate) use self::shared::pause;
use self::shared::{Phase, Settings, Shared};
use crate::{
    Backoff, Cancellation, ConfigError, HandlerFn, Job, JobRequest, JobStore, Observer,
    PayloadCodec, QueueName, WorkerError, WorkerId,
};

/// Runs jobs: claims them, calls their handlers and settles what became of them.
///
/// ```
/// use purlin_jobs::{Job, JobContext, JobError, Jobs, MemoryStore, QueueName, Worker, handler_fn};
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// #[derive(Serialize, Deserialize)]
/// struct SendReceipt {
///     order: u64,
/// }
///
/// impl Job for SendReceipt {
///     const KIND: &'static str = "send_receipt";
/// }
///
/// async fn send(job: SendReceipt, context: JobContext) -> Result<(), JobError> {
///     println!("order {}, attempt {}", job.order, context.info().attempt);
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// Jobs::new(store.clone()).enqueue(SendReceipt { order: 7 }).await?;
///
/// let worker = Worker::new(store)
///     .register(handler_fn(send))
///     .with_queue(QueueName::DEFAULT, 50);
/// worker.run_until_empty(Duration::from_secs(60)).await?;
/// # Ok(()) }
/// ```
///
/// # Tower layers
///
/// A handler is a [`Service`] of [`JobRequest`]s, so that tower's layers fit around it. A service
/// that is not ready holds its job back, which then has not begun. An error of a layer is a
/// failure; map it where it is none, as when there is too much to do:
///
/// ```
/// # use purlin_jobs::{Job, JobContext, JobError, MemoryStore, Worker, handler_fn};
/// # use serde::{Deserialize, Serialize};
/// # use std::time::Duration;
/// use tower::load_shed::error::Overloaded;
/// use tower::{BoxError, ServiceBuilder};
/// # #[derive(Serialize, Deserialize)] struct SendReceipt { order: u64 }
/// # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
/// # async fn send(_: SendReceipt, _: JobContext) -> Result<(), JobError> { Ok(()) }
///
/// let service = ServiceBuilder::new()
///     .map_err(|error: BoxError| match error.is::<Overloaded>() {
///         true => JobError::snooze(Duration::from_secs(5)),
///         false => JobError::from_boxed(error),
///     })
///     .load_shed()
///     .concurrency_limit(8)
///     .timeout(Duration::from_secs(30))
///     .service(handler_fn(send));
/// let worker = Worker::new(MemoryStore::new()).register_service::<SendReceipt, _>(service);
/// ```
///
/// # What becomes of a job
///
/// | when the handler | the job |
/// |---|---|
/// | returns `Ok` | is done, and gone |
/// | returns an error, panics, takes longer than its timeout | is tried again after the [`Backoff`]; after its last attempt it is dead |
/// | gets a payload that does not parse or decode | the same |
/// | says [`retry_after`](crate::JobError::retry_after), [`snooze`](crate::JobError::snooze), [`cancel`](crate::JobError::cancel), [`discard`](crate::JobError::discard) | does that |
/// | is [cancelled](crate::JobAdmin::cancel) and errs, or does not end within the [cancel grace](Self::with_cancel_grace) | is cancelled |
/// | does not end before the worker does | is ready again, and no attempt is spent |
/// | dies with its process | is ready again after the [lease](Self::with_lease_ttl), and a crash is counted |
///
/// An alternative to `Ok` is [`JobContext::complete_in`](crate::JobContext::complete_in).
///
/// # Failure modes
///
/// *The store is down.* What runs goes on, and what has ended is settled when the store is back, unless
/// that is later than the lease: 4/5 of it after the last heartbeat that the store has answered, the
/// worker drops its jobs, since another one may have them by then, and begins anew when it can.
///
/// *A handler blocks its thread, or handlers hold all connections.* Heartbeats go on, on a thread and
/// [a connection](crate::JobStore::apart) of their own.
pub struct Worker {
    store: Arc<dyn JobStore>,
    spawn_heartbeat: Option<Spawn>,
    handlers: HashMap<&'static str, Arc<dyn Handler>>,
    registered_twice: Option<&'static str>,
    queues: Vec<(QueueName, usize)>,
    prefetch: usize,
    #[cfg(feature = "cron")]
    schedules: Vec<crate::Schedule>,
    settings: Settings,
    pulses: Pulses,
}

/// What a worker is once it runs.
type Parts = (Arc<Shared>, mpsc::Receiver<Finished>, Option<Spawn>);

type Spawn = Box<dyn FnOnce(HeartbeatFuture) + Send + Sync>;

/// What keeps a worker alive in its store. Ends with the worker.
pub type HeartbeatFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Worker {
    /// Runs the jobs of this store.
    #[must_use]
    pub fn new(store: impl JobStore) -> Self {
        Self::from_shared(Arc::new(store))
    }

    /// Runs the jobs of a store that is shared, or chosen while the program runs.
    #[must_use]
    pub fn from_shared(store: Arc<dyn JobStore>) -> Self {
        Self {
            store,
            spawn_heartbeat: None,
            handlers: HashMap::new(),
            registered_twice: None,
            queues: Vec::new(),
            prefetch: 0,
            #[cfg(feature = "cron")]
            schedules: Vec::new(),
            settings: Settings {
                codec: None,
                backoff: Backoff::default(),
                observer: None,
                lease_ttl: Duration::from_secs(15),
                poll_interval: Duration::from_secs(1),
                rescue_interval: Duration::from_secs(2),
                max_crashes: 3,
                grace: Duration::from_secs(20),
                cancel_grace: Duration::from_secs(5),
            },
            pulses: Pulses::default(),
        }
    }

    /// Runs jobs of the kind `J`, and of its aliases, by this function. Kinds that nobody has
    /// registered are left to other workers.
    #[must_use]
    pub fn register<J, F>(self, handler: HandlerFn<J, F>) -> Self
    where
        J: Job,
        HandlerFn<J, F>: Service<JobRequest, Response = (), Error = crate::JobError>
            + Clone
            + Send
            + Sync
            + 'static,
        <HandlerFn<J, F> as Service<JobRequest>>::Future: Send,
    {
        self.register_service::<J, _>(handler)
    }

    /// Runs jobs of the kind `J`, and of its aliases, by this service, of which each job gets a clone.
    #[must_use]
    pub fn register_service<J, S>(mut self, service: S) -> Self
    where
        J: Job,
        S: Service<JobRequest, Response = ()> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        S::Future: Send,
    {
        let handler: Arc<dyn Handler> = Arc::new(ServiceHandler(service));
        for kind in std::iter::once(&J::KIND).chain(J::ALIASES) {
            let before = self.handlers.insert(kind, Arc::clone(&handler));
            if before.is_some() {
                self.registered_twice = Some(kind);
            }
        }
        self
    }

    /// Runs up to `slots` jobs of this queue at a time. By default 10 of `default`, and no other queue.
    #[must_use]
    pub fn with_queue(mut self, queue: QueueName, slots: usize) -> Self {
        self.queues.retain(|(name, _)| *name != queue);
        self.queues.push((queue, slots));
        self
    }

    /// Claims up to so many jobs of each queue ahead of its slots, so that many short jobs do not wait for the
    /// store between them. They come in claims of at least half of this, up to 1 000. Default 0: a job
    /// that waits here for a slot is one that no other worker can have. One that has not begun when the worker
    /// ends is ready again, and no attempt is spent.
    #[must_use]
    pub fn with_prefetch(mut self, jobs: usize) -> Self {
        self.prefetch = jobs;
        self
    }

    /// Enqueues the jobs of this schedule when their time has come, whatever queue they are for. All workers of a
    /// fleet may have the same schedules: each time comes once.
    ///
    /// It sleeps until the next time, and looks at the store once a minute. The store has to keep schedules, or the
    /// worker does not run: [`ConfigError::Unsupported`].
    #[cfg(feature = "cron")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cron")))]
    #[must_use]
    pub fn with_schedule(mut self, schedule: crate::Schedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// Decodes payloads by the codec that they were [encoded](crate::Jobs::with_codec) by.
    #[must_use]
    pub fn with_codec(mut self, codec: impl PayloadCodec) -> Self {
        self.settings.codec = Some(Arc::new(codec));
        self
    }

    /// How long a job waits after a failure.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// Hears what the worker does.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.settings.observer = Some(Arc::new(observer));
        self
    }

    /// How long after its last heartbeat the worker is taken for dead and its jobs are given to
    /// others. Default 15 s. It sends a heartbeat each third of it.
    #[must_use]
    pub fn with_lease_ttl(mut self, ttl: Duration) -> Self {
        self.settings.lease_ttl = ttl;
        self
    }

    /// How long it waits, at most, until it looks for jobs without having been woken. Default 1 s.
    ///
    /// It looks for scheduled jobs when the store has said that the next one is due, when one of its own
    /// is to be tried again, and this long after it was woken; if nothing wakes it, such as behind PgBouncer,
    /// one that somebody else has enqueued may be late by five times this.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.settings.poll_interval = interval;
        self
    }

    /// How often it looks for workers that have died. Default 2 s.
    #[must_use]
    pub fn with_rescue_interval(mut self, interval: Duration) -> Self {
        self.settings.rescue_interval = interval;
        self
    }

    /// A job is dead when so many workers have died while they had it. Default 3, at least 1.
    #[must_use]
    pub fn with_max_crashes(mut self, crashes: u16) -> Self {
        self.settings.max_crashes = crashes.max(1);
        self
    }

    /// How long jobs may go on when the worker is to end, before they are cancelled. Default 20 s.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// How long a job may go on when it is cancelled, before it is dropped. Default 5 s.
    #[must_use]
    pub fn with_cancel_grace(mut self, grace: Duration) -> Self {
        self.settings.cancel_grace = grace;
        self
    }

    /// Runs the heartbeat where this function puts it, instead of on a thread of its own: for tests
    /// in virtual time, by `tokio::spawn`.
    #[must_use]
    pub fn with_heartbeat_spawner(
        mut self,
        spawn: impl FnOnce(HeartbeatFuture) + Send + Sync + 'static,
    ) -> Self {
        self.spawn_heartbeat = Some(Box::new(spawn));
        self
    }

    /// What says how the worker is while it runs.
    #[must_use]
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle(self.pulses.clone())
    }

    /// Runs jobs until `shutdown` is ready, and then comes to an end: nothing is claimed or begun any
    /// more; what runs has the [grace](Self::with_grace) to end, is then cancelled, and dropped after
    /// the [cancel grace](Self::with_cancel_grace). What was not done is ready again.
    ///
    /// # Errors
    ///
    /// [`WorkerError`]. What can pass does not end a worker, such as a store that is down.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the jobs are dropped where they stand, and given to others when the lease is
    /// over, as if the process had died.
    pub async fn run_until(self, shutdown: impl Future) -> Result<(), WorkerError> {
        self.run(|_| async {
            shutdown.await;
        })
        .await
        .map(drop)
    }

    /// Runs jobs until none is ready, due or running, or until `deadline` has passed, and then
    /// comes to an end as [`run_until`](Self::run_until) does: for workers that something else starts
    /// when there is work, or from time to time. It does not wait for jobs that are scheduled for later,
    /// retries included.
    ///
    /// # Errors
    ///
    /// As of `run_until`.
    ///
    /// # Cancel safety
    ///
    /// As of `run_until`.
    pub async fn run_until_empty(self, deadline: Duration) -> Result<Emptied, WorkerError> {
        let emptied = self
            .run(|shared| async move {
                let emptied = timeout(deadline, until_empty(&shared)).await;
                emptied.map_or(Emptied::Deadline, |()| Emptied::Empty)
            })
            .await?;
        Ok(emptied)
    }

    async fn run<T, F>(self, until: impl FnOnce(Arc<Shared>) -> F) -> Result<T, WorkerError>
    where
        F: Future<Output = T>,
    {
        if let Some(kind) = self.registered_twice {
            return Err(ConfigError::TwoHandlers(kind).into());
        }
        let pulses = self.pulses.clone();
        let (shared, finished, spawn_heartbeat) = self.into_shared()?;
        let mut until = pin!(until(Arc::clone(&shared)));
        let _ending = Ending(Arc::clone(&shared), pulses.clone());
        tokio::select! {
            biased;
            joined = join(&shared) => joined?,
            // Nothing has been done yet; if it has joined after all, it is dead before it has jobs.
            ended = &mut until => return Ok(ended),
        }
        let mut loops = JoinSet::new();
        start_loops(&shared, &pulses, finished, &mut loops);
        let heartbeat = start_heartbeat(&shared, &pulses, spawn_heartbeat);
        let heartbeat = heartbeat.map_err(WorkerError::Thread)?;
        let ended = until.await;
        finish(&shared).await;
        shared.enter(Phase::Ended);
        // It must not take itself for dead when it has left.
        let _ = timeout(LAST_CALLS, heartbeat).await;
        leave(&shared).await.map_err(WorkerError::Leave)?;
        Ok(ended)
    }

    fn into_shared(self) -> Result<Parts, ConfigError> {
        let mut queues = self.queues;
        if queues.is_empty() {
            queues.push((QueueName::DEFAULT, 10));
        }
        let queues = queues.into_iter();
        let queues = queues.map(|(name, slots)| Arc::new(Queue::new(name, slots, self.prefetch)));
        let (sender, finished) = mpsc::channel(settle::WAITING);
        #[cfg_attr(
            not(feature = "cron"),
            expect(unused_mut, reason = "only schedules are added")
        )]
        let mut shared = Shared::new(
            Arc::clone(&self.store),
            self.settings,
            self.handlers,
            queues.collect(),
            sender,
        );
        #[cfg(feature = "cron")]
        if !self.schedules.is_empty() {
            let timetable = crate::scheduler::Timetable::new(self.schedules, &*self.store)?;
            shared.timetable = Some(timetable);
        }
        Ok((Arc::new(shared), finished, self.spawn_heartbeat))
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("store", &self.store.name())
            .field("kinds", &self.handlers.keys())
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

/// How [`Worker::run_until_empty`] came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Emptied {
    /// Nothing was left.
    Empty,
    /// The deadline has passed before.
    Deadline,
}

/// Says how a worker is. Clones are of the same worker.
#[derive(Debug, Clone)]
pub struct WorkerHandle(Pulses);

impl WorkerHandle {
    /// When each part of it was last seen at work.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.health()
    }
}

/// Ends everything when the future of a worker is dropped, or is done.
struct Ending(Arc<Shared>, Pulses);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
        self.1.clear();
    }
}

/// How long a worker that ends waits for the store.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// Joins for the first time. Gives up on what time does not mend.
async fn join(shared: &Shared) -> Result<(), WorkerError> {
    let worker = WorkerId::new();
    let mut errors = 0;
    loop {
        match shared.join(&*shared.store, worker).await {
            Ok(()) => return Ok(()),
            Err(error) if is_lasting(&error) => return Err(WorkerError::Join(error)),
            Err(error) => {
                errors += 1;
                shared.store_failed("heartbeat", &error);
                sleep(pause(errors)).await;
            }
        }
    }
}

fn is_lasting(error: &StoreError) -> bool {
    matches!(
        error.kind(),
        StoreErrorKind::Schema | StoreErrorKind::Refused | StoreErrorKind::Corrupt
    )
}

fn start_loops(
    shared: &Arc<Shared>,
    pulses: &Pulses,
    finished: mpsc::Receiver<Finished>,
    loops: &mut JoinSet<()>,
) {
    let poll = shared.settings.poll_interval;
    for queue in &shared.queues {
        let (shared, queue) = (Arc::clone(shared), Arc::clone(queue));
        let pulse = pulses.add(format!("claim {}", queue.name), poll);
        loops.spawn(async move {
            let claim = || queue.claim_jobs(&shared, &pulse);
            shared.supervise(&pulse, claim).await;
        });
    }
    let settler = Mutex::new(Settler::new(finished));
    let settling = (Arc::clone(shared), pulses.add("settle".to_owned(), poll));
    loops.spawn(async move {
        let (shared, pulse) = settling;
        let settle = || async { settler.lock().await.settle_jobs(&shared, &pulse).await };
        shared.supervise(&pulse, settle).await;
    });
    let interval = shared.settings.rescue_interval;
    let rescuing = (
        Arc::clone(shared),
        pulses.add("rescue".to_owned(), interval),
    );
    loops.spawn(async move {
        let (shared, pulse) = rescuing;
        let rescue = || shared.rescue_jobs(&pulse);
        shared.supervise(&pulse, rescue).await;
    });
    #[cfg(feature = "cron")]
    if shared.timetable.is_some() {
        let interval = crate::scheduler::LOOK_INTERVAL;
        let pulse = pulses.add("schedules".to_owned(), interval);
        let shared = Arc::clone(shared);
        loops.spawn(async move {
            let serve = || shared.serve_schedules(&pulse);
            shared.supervise(&pulse, serve).await;
        });
    }
    let interval = shared.settings.promote_interval();
    let pulse = pulses.add("promote".to_owned(), interval);
    let promoting = (Arc::clone(shared), pulse);
    loops.spawn(async move {
        let (shared, pulse) = promoting;
        let promote = || shared.promote_jobs(&pulse);
        shared.supervise(&pulse, promote).await;
    });
}

/// Says when it has ended.
fn start_heartbeat(
    shared: &Arc<Shared>,
    pulses: &Pulses,
    spawn: Option<Spawn>,
) -> std::io::Result<oneshot::Receiver<()>> {
    let interval = shared.settings.heartbeat_interval();
    let pulse: Arc<Pulse> = pulses.add("heartbeat".to_owned(), interval);
    let shared = Arc::clone(shared);
    let (ended, has_ended) = oneshot::channel();
    let heartbeat = async move {
        let store = shared.store.apart();
        let beat = || shared.keep_alive(&*store, &pulse);
        shared.supervise(&pulse, beat).await;
        let _ = ended.send(());
    };
    match spawn {
        Some(spawn) => spawn(Box::pin(heartbeat)),
        None => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            std::thread::Builder::new()
                .name("purlin-jobs-heartbeat".to_owned())
                .spawn(move || runtime.block_on(heartbeat))?;
        }
    }
    Ok(has_ended)
}

/// Returns when nothing is ready, due or running.
async fn until_empty(shared: &Shared) {
    let mut errors = 0;
    loop {
        let activity = shared.idle().await;
        match answered("promote", shared.nothing_due()).await {
            Err(error) => {
                errors += 1;
                shared.store_failed("promote", &error);
                sleep(pause(errors)).await;
            }
            Ok(nothing_due) => {
                errors = 0;
                let look = shared.look.get() + 1;
                shared.look.set(look);
                let mut is_empty = nothing_due;
                for queue in &shared.queues {
                    is_empty &= queue.is_empty(look).await;
                }
                // What has run meanwhile may have let others go on that were looked for too early.
                let has_run = activity.has_changed().is_ok_and(|has| has);
                if is_empty && shared.is_idle() && !has_run {
                    return;
                }
            }
        }
    }
}

/// Lets what runs come to an end.
async fn finish(shared: &Shared) {
    let settings = &shared.settings;
    shared.enter(Phase::Draining);
    if shared.idle_within(settings.grace).await {
        return;
    }
    if let Some(epoch) = shared.joined() {
        epoch.cancel_all(Cancellation::Shutdown);
    }
    // What is not idle after this blocks its thread, or waits for the store.
    shared.idle_within(settings.cancel_grace + LAST_CALLS).await;
}

/// Gives all leases back.
async fn leave(shared: &Shared) -> Result<(), StoreError> {
    let Some(epoch) = shared.joined() else {
        return Ok(());
    };
    let mut last = StoreError::new(StoreErrorKind::Timeout, shared.store.name(), "leave");
    let leaving = async {
        let mut errors = 0;
        loop {
            match shared.store.leave(epoch.worker).await {
                Ok(()) => return,
                Err(error) => {
                    errors += 1;
                    last = error;
                    sleep(pause(errors)).await;
                }
            }
        }
    };
    let has_left = timeout(LAST_CALLS, leaving).await.is_ok();
    if has_left { Ok(()) } else { Err(last) }
}
