use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use purlin_store::StoreError;

use crate::store::{Outcome, Rescued};
use crate::{JobInfo, WorkerId};

/// What a worker has done, for metrics.
///
/// Called between jobs: count, and return.
///
/// Each event is also one of tracing, with its name in the field `jobs.event`:
///
/// | name | level | with | means |
/// |---|---|---|---|
/// | `started` | debug | job | a handler was called |
/// | `done`, `cancelled`, `snoozed`, `released` | debug | job, took | the store has it so |
/// | `retried` | info | job, took, error, after | an attempt has failed, another one will come |
/// | `dead` | error | job, took, error | the last attempt has failed |
/// | `stale` | warn | job | the job was somebody else's when it was to be settled: nothing was changed |
/// | `lease_lost` | error | worker, jobs | so many jobs were dropped, since another worker may have them |
/// | `rescued` | warn | workers, ready, dead | jobs of dead workers were given back |
/// | `fired` | info | schedule, at, late, jobs | a schedule's time has come; without jobs it was too late for them |
/// | `schedule_failed` | error | schedule, reason | the job of a schedule cannot be made; it is tried again |
/// | `store_failed` | warn | loop, error | a call to the store; it is tried again |
/// | `loop_restarted` | error | loop, reason | a part of the worker has panicked, and was started again |
///
/// Where a job is named: `job.id`, `job.kind`, `job.queue`, `job.attempt`. What a handler logs is in a
/// span `job` with these fields and `traceparent`.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Something has happened.
    fn on_event(&self, event: &Event<'_>);
}

/// One thing that has happened. [`Observer`] has the table of them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A handler was called.
    #[non_exhaustive]
    Started {
        /// For which job.
        job: &'a JobInfo,
    },
    /// An attempt has ended, and the store knows it.
    #[non_exhaustive]
    Settled {
        /// At which job.
        job: &'a JobInfo,
        /// How.
        outcome: &'a Outcome,
        /// How long it took, without the store.
        took: Duration,
    },
    /// The job was not the worker's any more when it was to be settled: nothing was changed.
    #[non_exhaustive]
    Stale {
        /// Which job.
        job: &'a JobInfo,
    },
    /// The worker was taken for dead, or has to assume it. It goes on as another one.
    #[non_exhaustive]
    LeaseLost {
        /// Who it was.
        worker: WorkerId,
        /// How many jobs were dropped.
        jobs: usize,
    },
    /// Jobs of dead workers were given back.
    #[non_exhaustive]
    Rescued {
        /// What.
        rescued: Rescued,
    },
    /// The time of a schedule has come, and this worker has dealt with it.
    #[non_exhaustive]
    ScheduleFired {
        /// The name of the schedule.
        schedule: &'a str,
        /// Which time; of several the latest.
        at: SystemTime,
        /// How long ago that was.
        late: Duration,
        /// How many jobs there are for it. None when [`Missed::Skip`](crate::Missed::Skip) leaves it out.
        jobs: usize,
    },
    /// The job of a schedule cannot be made or enqueued. It is tried again.
    #[non_exhaustive]
    ScheduleFailed {
        /// The name of the schedule.
        schedule: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A call to the store has failed. It is tried again.
    #[non_exhaustive]
    StoreFailed {
        /// Which part of the worker made it.
        part: &'a str,
        /// What the store says.
        error: &'a StoreError,
    },
    /// A part of the worker has panicked and was started again.
    #[non_exhaustive]
    LoopRestarted {
        /// Which.
        part: &'a str,
        /// What the panic says.
        reason: &'a str,
    },
}

impl Event<'_> {
    /// A name for it: the value of the tracing field `jobs.event`, and of a metric's label.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Settled { outcome, .. } => match outcome {
                Outcome::Done | Outcome::DoneWith(_) => "done",
                Outcome::Retry { .. } => "retried",
                Outcome::Discard { .. } => "dead",
                Outcome::Cancelled => "cancelled",
                Outcome::Snooze { .. } | Outcome::Await { .. } => "snoozed",
                Outcome::Release => "released",
            },
            Self::Stale { .. } => "stale",
            Self::LeaseLost { .. } => "lease_lost",
            Self::Rescued { .. } => "rescued",
            Self::ScheduleFired { .. } => "fired",
            Self::ScheduleFailed { .. } => "schedule_failed",
            Self::StoreFailed { .. } => "store_failed",
            Self::LoopRestarted { .. } => "loop_restarted",
        }
    }

    pub(crate) fn trace(&self) {
        use tracing::{debug, error, info, warn};
        let name = self.name();
        macro_rules! job {
            ($level:ident, $job:expr $(, $($field:tt)*)?) => {
                $level!(
                    jobs.event = name, job.id = %$job.id, job.kind = %$job.kind,
                    job.queue = %$job.queue, job.attempt = $job.attempt $(, $($field)*)?
                )
            };
        }
        match self {
            Self::Started { job } => job!(debug, job),
            Self::Settled { job, outcome, took } => match outcome {
                Outcome::Retry { after, error } => job!(info, job, ?took, ?after, %error),
                Outcome::Discard { error } => job!(error, job, ?took, %error),
                _ => job!(debug, job, ?took),
            },
            Self::Stale { job } => job!(warn, job),
            Self::LeaseLost { worker, jobs } => {
                error!(jobs.event = name, worker = %worker.as_uuid(), jobs);
            }
            Self::Rescued { rescued } => {
                let Rescued {
                    workers,
                    ready,
                    dead,
                } = rescued;
                warn!(jobs.event = name, workers, ready, dead);
            }
            Self::ScheduleFired {
                schedule,
                at,
                late,
                jobs,
            } => {
                let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                info!(jobs.event = name, schedule, at, ?late, jobs);
            }
            Self::ScheduleFailed { schedule, reason } => {
                error!(jobs.event = name, schedule, reason);
            }
            Self::StoreFailed { part, error } => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                warn!(jobs.event = name, r#loop = part, %error, cause);
            }
            Self::LoopRestarted { part, reason } => {
                error!(jobs.event = name, r#loop = part, reason);
            }
        }
    }
}
