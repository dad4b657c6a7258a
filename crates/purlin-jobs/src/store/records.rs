use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{KeptResult, Parent, Tally};
use crate::{JobId, LeaseId, Options, QueueName, WorkerId};

/// A job as a store is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: JobId,
    /// What kind of job it is.
    pub kind: String,
    /// The version of its payload.
    pub version: u16,
    /// What the codec has made of the payload: a store does not look into it.
    pub payload: Bytes,
    /// The `traceparent` of who enqueued it (W3C Trace Context, section 3.2).
    pub traceparent: Option<String>,
    /// How it is to be run.
    pub options: Options,
    /// For whom it waits: jobs that stand before it in the same call. Usually nobody.
    pub parents: Vec<Parent>,
}

/// What became of a job that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enqueued {
    /// It was added. In a transaction: it is there when that commits.
    New(JobId),
    /// It was not: this one has its unique key, or its id.
    Existing(JobId),
    /// It took the place of one that waited, which is gone.
    Replaced {
        /// The job that was added.
        new: JobId,
        /// The job that is gone.
        old: JobId,
    },
}

impl Enqueued {
    /// The job that will run.
    #[must_use]
    pub fn id(&self) -> JobId {
        match *self {
            Self::New(id) | Self::Existing(id) | Self::Replaced { new: id, .. } => id,
        }
    }
}

/// What a worker wants to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub worker: WorkerId,
    /// Under which lease: a fresh one for each claim.
    pub lease: LeaseId,
    /// From where.
    pub queue: QueueName,
    /// Of which kinds.
    pub kinds: Vec<String>,
    /// How many at most. 1–1 000.
    pub limit: u16,
}

/// A job that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Its id.
    pub id: JobId,
    /// What kind of job it is.
    pub kind: String,
    /// The version of its payload.
    pub version: u16,
    /// Its payload.
    pub payload: Bytes,
    /// The `traceparent` of who enqueued it.
    pub traceparent: Option<String>,
    /// How many of its attempts have failed.
    pub failures: u16,
    /// How many workers died while they had it.
    pub crashes: u16,
    /// How many failures it may have.
    pub max_attempts: u16,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// When it was enqueued.
    pub enqueued_at: SystemTime,
    /// How the jobs have ended that it has waited for.
    pub parents: Tally,
}

/// How the work on one job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Which job.
    pub id: JobId,
    /// How.
    pub outcome: Outcome,
}

/// How the work on a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is done: the job is deleted.
    Done,
    /// It is done, and leaves this behind. Only stores that keep [notes](crate::JobStore::notes) are told so.
    DoneWith(KeptResult),
    /// It failed, and is to be tried again after this time.
    Retry {
        /// How much later.
        after: Duration,
        /// What went wrong.
        error: String,
    },
    /// It failed for good: it is dead.
    Discard {
        /// What went wrong.
        error: String,
    },
    /// It was cancelled.
    Cancelled,
    /// It wants to go on later. That is no failure.
    Snooze {
        /// How much later.
        after: Duration,
    },
    /// It waits for a signal: it is scheduled as by a snooze, unless more signals have come than these.
    /// Then it is ready at once. Only stores that keep [notes](crate::JobStore::notes) are told so.
    Await {
        /// How much later it goes on without a signal.
        up_to: Duration,
        /// How many signals the attempt knew of: [`Notes::signals`](super::Notes::signals).
        signals: u32,
    },
    /// It was not begun, or given up since the worker ends. It is ready at once, where it was in the queue.
    Release,
}

impl Outcome {
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done | Self::DoneWith(_))
    }
}

/// Whether a settlement was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// It was.
    Applied,
    /// The lease is gone or not on this job, or not any more: nothing was changed.
    Stale,
}

/// What a heartbeat hears.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Beat {
    /// The worker is alive.
    Alive {
        /// Those of its jobs that are to be cancelled.
        cancel: Vec<JobId>,
    },
    /// Its time is over, or it is not known: its leases are lost, or will be.
    Lost,
}

/// How dead workers are dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rescue {
    /// How many workers at most.
    pub limit: u32,
    /// A job that has crashed so often is dead, and not tried again. At least 1.
    pub max_crashes: u16,
}

/// What was rescued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rescued {
    /// Workers that were dead.
    pub workers: u32,
    /// Jobs that are ready or held again.
    pub ready: u32,
    /// Jobs that have crashed too often. One that was to be cancelled is neither: it is cancelled.
    pub dead: u32,
}

/// What was made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promoted {
    /// How many jobs, those included that had been held.
    pub jobs: u32,
    /// How long it is until the next one is due, or the rate of a group lets one more be ready; `None` when
    /// neither will be.
    pub next_in: Option<Duration>,
}

/// Why a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wake {
    /// There may be jobs to claim.
    Jobs,
    /// The time is over.
    Elapsed,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It waits for a worker.
    Ready,
    /// It waits for its time.
    Scheduled,
    /// It waits for other jobs.
    Blocked,
    /// A worker has it.
    Leased,
    /// It has failed for good.
    Dead,
    /// It was cancelled.
    Cancelled,
    /// It waits in the line of its group until that lets it be ready.
    Held,
}

/// A job that is not done, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// What kind of job it is.
    pub kind: String,
    /// The version of its payload.
    pub version: u16,
    /// Its queue.
    pub queue: QueueName,
    /// Where it stands.
    pub state: State,
    /// Its payload, as the codec made it.
    pub payload: Bytes,
    /// How many of its attempts have failed.
    pub failures: u16,
    /// How many workers died while they had it.
    pub crashes: u16,
    /// How many failures it may have.
    pub max_attempts: u16,
    /// The last failure.
    pub failure: Option<Failure>,
    /// When it was enqueued.
    pub enqueued_at: SystemTime,
    /// When it may start, if it is ready, held or scheduled.
    pub run_at: Option<SystemTime>,
    /// When it ended, if it has.
    pub finished_at: Option<SystemTime>,
    /// For how many jobs it still waits.
    pub waits_for: u32,
    /// How those have ended that it does not wait for any more.
    pub parents: Tally,
}

/// What went wrong with a job, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the handler said, as [`Failure::new`] shortens it.
    pub error: String,
    /// When that was settled.
    pub at: SystemTime,
}

impl Failure {
    /// The most bytes of an error that are kept: 4 KiB.
    pub const MAX_ERROR_BYTES: usize = 4 << 10;

    /// The error of a job that was in the hands of dead workers too often.
    pub const CRASHED: &str = "the worker died while it had this job";

    /// Keeps as many whole characters of the error as there is room for, and U+FFFD for each NUL, which
    /// not every database can hold.
    #[must_use]
    pub fn new(error: &str, at: SystemTime) -> Self {
        let mut kept = String::new();
        for char in error.chars() {
            let char = if char == '\0' { '\u{fffd}' } else { char };
            if kept.len() + char.len_utf8() > Self::MAX_ERROR_BYTES {
                break;
            }
            kept.push(char);
        }
        Self { error: kept, at }
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Filter {
    /// Only of this queue.
    pub queue: Option<QueueName>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only jobs with a greater id.
    pub after: Option<JobId>,
    /// How many. 1–1 000.
    pub limit: u16,
}

/// How many jobs are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Waiting for a worker.
    pub ready: u64,
    /// Waiting for their time.
    pub scheduled: u64,
    /// Waiting for other jobs.
    pub blocked: u64,
    /// With a worker.
    pub leased: u64,
    /// Failed for good.
    pub dead: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Waiting in the lines of their groups.
    pub held: u64,
    /// For how long the one has been ready that is the next to be claimed.
    pub oldest_ready: Option<Duration>,
}
