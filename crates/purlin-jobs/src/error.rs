use purlin_store::StoreError;

/// A value given to a constructor of this crate is not one that it can work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A queue name has other characters, none, or too many.
    #[error("a queue name must be 1 to 64 of a-z, A-Z, 0-9, `_`, `-`, `.`, `:`")]
    QueueName,
    /// Two handlers of one worker know the same kind, by its name or an alias.
    #[error("two handlers are registered for the kind `{0}`")]
    TwoHandlers(&'static str),
    /// The name of a schedule has other characters, none, or too many.
    #[error("the name of a schedule must be 1 to 64 of a-z, A-Z, 0-9, `_`, `-`, `.`, `:`")]
    ScheduleName,
    /// Two schedules of one worker or scheduler have the same name.
    #[error("two schedules have the same name")]
    TwoSchedules,
    /// The store does not have what is asked of it.
    #[error("the store `{store}` has no {power}")]
    Unsupported {
        /// The name of the store.
        store: &'static str,
        /// What it lacks.
        power: &'static str,
    },
}

/// A cron line is none, or its time zone.
#[cfg(feature = "cron")]
#[cfg_attr(docsrs, doc(cfg(feature = "cron")))]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CronError {
    /// The line does not parse.
    #[error("`{line}` is no cron line of five fields: {reason}")]
    Line {
        /// Its beginning.
        line: String,
        /// What the parser says.
        reason: String,
    },
    /// There is no day like that.
    #[error("the cron line `{line}` never fires")]
    Never {
        /// It.
        line: String,
    },
    /// The database of time zones has none of that name.
    #[error("there is no time zone `{name}`")]
    TimeZone {
        /// Its beginning.
        name: String,
    },
}

/// An operator's call to a [`Scheduler`](crate::Scheduler) did nothing.
#[cfg(feature = "cron")]
#[cfg_attr(docsrs, doc(cfg(feature = "cron")))]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The scheduler was not given a schedule of that name.
    #[error("there is no schedule of that name")]
    Unknown,
    /// The job was not enqueued.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A job was not enqueued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The payload cannot be written as JSON.
    #[error("the payload of a {kind} cannot be written: {reason}")]
    Payload {
        /// Of which kind of job.
        kind: &'static str,
        /// What serde says.
        reason: String,
    },
    /// The payload is larger than [`Jobs::with_max_payload_bytes`](crate::Jobs::with_max_payload_bytes)
    /// allows. Store it elsewhere and enqueue where it is.
    #[error(
        "the payload of a {kind} has {bytes} bytes, and {limit} is the limit; enqueue where it can be found"
    )]
    PayloadTooLarge {
        /// Of which kind of job.
        kind: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The name of the kind is empty or longer than 128 bytes.
    #[error("the kind of a job must have 1 to 128 bytes")]
    Kind,
    /// The steps of a workflow do not fit together.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// The store keeps no dependencies between jobs.
    #[error("the {store} store carries no flows")]
    NoFlows {
        /// Which store.
        store: &'static str,
    },
    /// The name of the group is empty, longer than 128 bytes, or has a NUL.
    #[error("the name of a group must have 1 to 128 bytes and no nul")]
    Group,
    /// The store did not take it. Whether it is there is known by [`StoreError::kind`]: enqueue
    /// it again under the same id to be sure.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The steps of a [`Workflow`](crate::Workflow) do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// Two steps have one name.
    #[error("two steps of the workflow are named `{step}`")]
    RepeatedStep {
        /// The name.
        step: String,
    },
    /// A step waits for one that is not there.
    #[error("the step `{step}` waits for `{parent}`, which is no step of the workflow")]
    UnknownStep {
        /// The step that waits.
        step: String,
        /// For whom.
        parent: String,
    },
    /// A step waits for itself, by way of others or not.
    #[error("the step `{step}` waits for itself")]
    Cycle {
        /// One of those that do.
        step: String,
    },
}

/// Something was not kept with a job, or not read back. Nothing of what it holds is in here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// It cannot be written as JSON.
    #[error("{what} cannot be written: {reason}")]
    Write {
        /// What it is.
        what: String,
        /// What serde says.
        reason: String,
    },
    /// It is larger than it may be, measured as JSON, before the codec.
    #[error("{what} has {bytes} bytes, and {limit} is the limit; keep where it can be found")]
    TooLarge {
        /// What it is.
        what: String,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// What is kept is no value of the type that is asked for, or the codec cannot read it.
    #[error("what is kept as {what} cannot be read: {reason}")]
    Read {
        /// What it is.
        what: String,
        /// Where it does not parse, or what the codec says.
        reason: String,
    },
    /// A name is empty or longer than 128 bytes.
    #[error("the name of a step, a timer or a signal must have 1 to 128 bytes")]
    Name,
    /// A name was used twice in one attempt: nobody could tell the two apart in the next.
    #[error("{0} was used twice in one attempt")]
    Twice(String),
    /// The store has failed, or keeps no [notes](crate::JobStore::notes): then its kind is
    /// [`Refused`](purlin_store::StoreErrorKind::Refused).
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A worker did not run, or did not come to a proper end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// It was not put together properly. Nothing was done.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store does not have the tables or the permission, which waiting does not change. Nothing
    /// was done.
    #[error("the worker cannot join: {0}")]
    Join(#[source] StoreError),
    /// The thread for heartbeats could not be started. Nothing was done.
    #[error("the thread for heartbeats cannot be started: {0}")]
    Thread(#[source] std::io::Error),
    /// It has ended, but the store does not know: what was not settled is run again when the lease
    /// is over, and counts as crashed.
    #[error("the worker has ended, but could not give its leases back: {0}")]
    Leave(#[source] StoreError),
}
