use std::time::{Duration, SystemTime};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Group, JobId, QueueName, Unique};

/// A kind of work: a struct that serde can write and read, and what it is called in the store.
///
/// ```
/// use purlin_jobs::Job;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct SendReceipt {
///     order: u64,
/// }
///
/// impl Job for SendReceipt {
///     const KIND: &'static str = "send_receipt";
/// }
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The name under which jobs of this kind stand in the store. It outlives the type's own name:
    /// jobs that wait when a service is deployed are found by it. 1–128 bytes.
    const KIND: &'static str;

    /// Names that this kind had before. Jobs that were enqueued by one are run by the same handler.
    const ALIASES: &'static [&'static str] = &[];

    /// The version of the payload's shape. Raise it when old payloads do not parse any more, and
    /// let [`upcast`](Self::upcast) read them.
    const VERSION: u16 = 1;

    /// How jobs of this kind are enqueued unless said otherwise.
    #[must_use]
    fn options() -> Options {
        Options::new()
    }

    /// Reads a payload that was written as version `from`, which is not [`VERSION`](Self::VERSION).
    ///
    /// By default it is read as if it were of the present version. A newer one than this process
    /// knows comes here too, during a deploy.
    ///
    /// # Errors
    ///
    /// Whatever does not parse. The job then fails, is tried again later and is visible as failed.
    fn upcast(from: u16, payload: Value) -> Result<Self, serde_json::Error> {
        let _ = from;
        serde_json::from_value(payload)
    }
}

/// How a job is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Which queue it waits in. Default `default`.
    pub queue: QueueName,
    /// Before whom it goes. Default [`Priority::NORMAL`].
    pub priority: Priority,
    /// When it may start. Default [`Run::Now`].
    pub run: Run,
    /// How many failures it may have; with the last one it is dead. 1–32 767, default 20.
    pub max_attempts: u16,
    /// How long one attempt may take before it is a failure. Default: as long as it takes.
    pub timeout: Option<Duration>,
    /// What it must be the only one of. Default: nothing.
    pub unique: Option<Unique>,
    /// With what others it shares limits. Default: with none.
    pub group: Option<Group>,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queue: QueueName::default(),
            priority: Priority::NORMAL,
            run: Run::Now,
            max_attempts: 20,
            timeout: None,
            unique: None,
            group: None,
        }
    }

    /// Puts it into another queue.
    #[must_use]
    pub fn with_queue(mut self, queue: QueueName) -> Self {
        self.queue = queue;
        self
    }

    /// Puts it before or behind others.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Lets it start when `delay` has passed since it was enqueued, by the store's clock.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.run = Run::After(delay);
        self
    }

    /// Lets it start at `run_at`, by the store's clock; at once if that is past.
    #[must_use]
    pub fn with_run_at(mut self, run_at: SystemTime) -> Self {
        self.run = Run::At(run_at);
        self
    }

    /// Lets it fail up to so many times; 0 counts as 1.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u16) -> Self {
        self.max_attempts = attempts.clamp(1, i16::MAX.unsigned_abs());
        self
    }

    /// Fails an attempt that takes longer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes it the only one of its key.
    #[must_use]
    pub fn with_unique(mut self, unique: Unique) -> Self {
        self.unique = Some(unique);
        self
    }

    /// Lets it share the limits of a group.
    #[must_use]
    pub fn with_group(mut self, group: Group) -> Self {
        self.group = Some(group);
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// When a job may start, by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Run {
    /// As soon as somebody is free.
    Now,
    /// When so much time has passed since it was enqueued.
    After(Duration),
    /// Then.
    At(SystemTime),
}

/// Before whom a job goes: 0 is the first, 9 the last.
///
/// A step is worth [`STEP`](Self::STEP) of waiting: a job goes before all that are one step less
/// urgent, but not before one that has waited so much longer. So nothing waits for ever, however much
/// urgent work there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// Before all others.
    pub const URGENT: Self = Self(0);
    /// 4.
    pub const NORMAL: Self = Self(4);
    /// When nothing else is to do, or nothing has been else to do for long.
    pub const BULK: Self = Self(9);

    /// What one step is worth: 10 minutes.
    pub const STEP: Duration = Duration::from_secs(600);

    /// The priority of this level; above 9 it is 9.
    #[must_use]
    pub const fn new(level: u8) -> Self {
        Self(if level > 9 { 9 } else { level })
    }

    /// 0–9.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.0
    }

    /// By how much later than its time to start it stands in the queue.
    #[must_use]
    pub const fn offset(self) -> Duration {
        Duration::from_secs(Self::STEP.as_secs() * self.0 as u64)
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

/// A job that is about to be enqueued: its payload, and how it is to be run.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub(crate) id: JobId,
    pub(crate) kind: &'static str,
    pub(crate) version: u16,
    pub(crate) payload: Result<Vec<u8>, String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) options: Options,
}

impl NewJob {
    /// This job with the options of its kind, and an id that nothing else has.
    ///
    /// A payload that serde cannot write is an error of the enqueueing call.
    #[must_use]
    pub fn new<J: Job>(job: &J) -> Self {
        Self {
            id: JobId::new(),
            kind: J::KIND,
            version: J::VERSION,
            payload: serde_json::to_vec(job).map_err(|error| error.to_string()),
            traceparent: None,
            options: J::options(),
        }
    }

    /// Changes how it is run.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(Options) -> Options) -> Self {
        self.options = change(self.options);
        self
    }

    /// Gives it an id of the caller's. A job that is enqueued again under its id, since the answer to
    /// the first call was lost, is not added while the first one is not done.
    #[must_use]
    pub fn with_id(mut self, id: JobId) -> Self {
        self.id = id;
        self
    }

    /// Carries the trace of who enqueues it to the handler: the value of a `traceparent` header
    /// (W3C Trace Context, section 3.2).
    #[must_use]
    pub fn with_traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// The id that it will have.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }
}

impl<J: Job> From<J> for NewJob {
    fn from(job: J) -> Self {
        Self::new(&job)
    }
}
