use std::sync::Arc;
use std::time::Duration;

use purlin_store::testing::ManualClock;
use purlin_store::{StoreError, StoreErrorKind};
use tokio::sync::{Semaphore, mpsc};

use super::attempt::Attempt;
use super::claim::Queue;
use super::epoch::Epoch;
use super::settle::Finished;
use super::shared::Shared;
use super::{Worker, leave};
use crate::store::{Claim, Claimed, Outcome, Settled};
use crate::{Event, JobInfo, LeaseId, WorkerId};

/// Runs the jobs of a worker one after the other, in the task that asks for it and nowhere else: for tests
/// of handlers and of what they enqueue.
///
/// Whatever becomes of a job is decided by the code that decides in a running [`Worker`], with its back-off, its
/// timeouts and its layers; but there are no heartbeats, and nobody else takes part.
///
/// ```
/// use purlin_jobs::store::Outcome;
/// use purlin_jobs::testing::InlineRunner;
/// use purlin_jobs::{Job, JobContext, JobError, Jobs, MemoryStore, Worker, handler_fn};
/// use purlin_store::testing::ManualClock;
/// use serde::{Deserialize, Serialize};
/// use std::time::UNIX_EPOCH;
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
/// async fn send(_: SendReceipt, context: JobContext) -> Result<(), JobError> {
///     match context.info().attempt {
///         1 => Err(JobError::retry("the mail server is away")),
///         _ => Ok(()),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = ManualClock::new(UNIX_EPOCH);
/// let store = MemoryStore::new().with_clock(clock.clone());
/// Jobs::new(store.clone()).enqueue(SendReceipt { order: 7 }).await?;
///
/// let worker = Worker::new(store).register(handler_fn(send));
/// let mut runner = InlineRunner::new(worker).with_clock(clock);
/// let ran = runner.run_to_end().await?;
/// assert!(matches!(ran[0].outcome, Outcome::Retry { .. }));
/// assert_eq!(ran[1].outcome, Outcome::Done);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct InlineRunner {
    shared: Arc<Shared>,
    finished: mpsc::Receiver<Finished>,
    clock: Option<ManualClock>,
    max_attempts: usize,
}

/// One attempt that an [`InlineRunner`] has made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ran {
    /// What was known of the job when it began.
    pub job: JobInfo,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the store has taken that. Not, for instance, when the handler has completed the job in a
    /// transaction of its own.
    pub settled: Settled,
}

impl InlineRunner {
    /// Runs what this worker would run.
    ///
    /// # Panics
    ///
    /// When two of its handlers know the same kind, or it has schedules that its store cannot keep.
    #[must_use]
    pub fn new(worker: Worker) -> Self {
        if let Some(kind) = worker.registered_twice {
            panic!("two handlers are registered for the kind `{kind}`");
        }
        let parts = worker.into_shared();
        let (shared, finished, _) = parts.unwrap_or_else(|error| panic!("{error}"));
        Self {
            shared,
            finished,
            clock: None,
            max_attempts: 1_000,
        }
    }

    /// Moves this clock when it is to wait. It has to be the store's.
    #[must_use]
    pub fn with_clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How many attempts one call makes before it gives up. Default 1 000.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: usize) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Runs what is ready or due, and what becomes so meanwhile, until nothing is. Says what it has run, in
    /// order.
    ///
    /// # Errors
    ///
    /// What the store says.
    ///
    /// # Panics
    ///
    /// When it has made so many attempts that they seem to have no end.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the job that runs is dropped where it stands, as if its worker had died.
    pub async fn run(&mut self) -> Result<Vec<Ran>, StoreError> {
        let mut ran = Vec::new();
        self.run_due(&mut ran).await?;
        Ok(ran)
    }

    /// As [`run`](Self::run), and waits for what is scheduled, retries included, until nothing is: by
    /// moving the [clock](Self::with_clock), or else in tokio's time, which a test can pause (with a
    /// [`VirtualClock`](crate::testing::VirtualClock) in the store).
    ///
    /// # Errors
    ///
    /// As of `run`.
    ///
    /// # Panics
    ///
    /// As `run`, for instance when a job snoozes again and again.
    ///
    /// # Cancel safety
    ///
    /// As of `run`.
    pub async fn run_to_end(&mut self) -> Result<Vec<Ran>, StoreError> {
        let mut ran = Vec::new();
        while let Some(next_in) = self.run_due(&mut ran).await? {
            match &self.clock {
                Some(clock) => clock.advance(next_in),
                None => tokio::time::sleep(next_in).await,
            }
        }
        Ok(ran)
    }

    /// Runs what is due. Says when the next one is.
    async fn run_due(&mut self, ran: &mut Vec<Ran>) -> Result<Option<Duration>, StoreError> {
        let shared = Arc::clone(&self.shared);
        // Another one each time, whose lease has just begun.
        shared.join(&*shared.store, WorkerId::new()).await?;
        let epoch = shared.joined().ok_or_else(|| unexpected("join"))?;
        let next_in = loop {
            let before = ran.len();
            let promoted = shared.store.promote(1_000).await?;
            for queue in &shared.queues {
                while let Some((lease, claimed)) = self.claim(&epoch, queue).await? {
                    ran.push(self.attempt(&epoch, queue, lease, claimed).await?);
                    let attempts = ran.len();
                    assert!(
                        attempts < self.max_attempts,
                        "{attempts} attempts, and no end of them; the last one: {:?}",
                        ran.last()
                    );
                }
            }
            if ran.len() == before && promoted.jobs == 0 {
                break promoted.next_in;
            }
        };
        leave(&shared).await?;
        shared.epoch.set(None);
        Ok(next_in)
    }

    async fn claim(
        &self,
        epoch: &Epoch,
        queue: &Queue,
    ) -> Result<Option<(LeaseId, Claimed)>, StoreError> {
        let claim = Claim {
            worker: epoch.worker,
            lease: LeaseId::new(),
            queue: queue.name.clone(),
            kinds: self.shared.kinds(),
            limit: 1,
        };
        let claimed = self.shared.store.claim(&claim).await?;
        Ok(claimed.into_iter().next().map(|job| (claim.lease, job)))
    }

    async fn attempt(
        &mut self,
        epoch: &Arc<Epoch>,
        queue: &Queue,
        lease: LeaseId,
        claimed: Claimed,
    ) -> Result<Ran, StoreError> {
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned();
        let attempt = Attempt {
            shared: Arc::clone(&self.shared),
            epoch: Arc::clone(epoch),
            lease,
            queue: queue.name.clone(),
            claimed,
            active: self.shared.begin(),
            room: room.map_err(|_| unexpected("claim"))?,
            slots: Arc::new(Semaphore::new(1)),
        };
        attempt.run().await;
        let finished = self.finished.try_recv();
        let finished = finished.map_err(|_| unexpected("settle"))?;
        let (settlement, job, took) = (finished.settlement, finished.job, finished.took);
        let told = std::slice::from_ref(&settlement);
        let settled = self.shared.store.settle(lease, told).await?;
        let settled = settled.first().copied().unwrap_or(Settled::Stale);
        let (job, outcome) = (&*job, &settlement.outcome);
        self.shared.emit(&match settled {
            Settled::Applied => Event::Settled { job, outcome, took },
            Settled::Stale => Event::Stale { job },
        });
        Ok(Ran {
            job: job.clone(),
            outcome: settlement.outcome,
            settled,
        })
    }
}

/// What does not come: nobody else has what it is made of.
fn unexpected(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "inline", operation)
}
