use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a handler has not done its job, and what is to become of that.
///
/// Every error becomes a [`retry`](Self::retry) by `?`:
///
/// ```
/// use purlin_jobs::JobError;
///
/// fn parse(text: &str) -> Result<u64, JobError> {
///     Ok(text.parse::<u64>()?)
/// }
/// ```
///
/// It is no [`std::error::Error`] itself, as little as `anyhow::Error`, but becomes a boxed one and
/// comes out of it again, so that it passes unchanged through tower layers that box errors.
pub struct JobError(pub(crate) Verdict);

pub(crate) enum Verdict {
    Retry {
        after: Option<Duration>,
        error: BoxError,
    },
    Discard {
        error: BoxError,
    },
    Cancel,
    Snooze {
        after: Duration,
    },
    /// It has no signal yet, of so many that have come.
    Await {
        up_to: Duration,
        signals: u32,
    },
    /// Somebody else has the job: a write of the attempt was refused.
    Lost,
}

impl JobError {
    /// The attempt has failed. The job is tried again after the worker's
    /// [`Backoff`](crate::Backoff), or is dead if this was its last attempt.
    #[must_use]
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self(Verdict::Retry {
            after: None,
            error: error.into(),
        })
    }

    /// As [`retry`](Self::retry), after this time: what a `Retry-After` header says, for instance.
    #[must_use]
    pub fn retry_after(after: Duration, error: impl Into<BoxError>) -> Self {
        Self(Verdict::Retry {
            after: Some(after),
            error: error.into(),
        })
    }

    /// The attempt has failed, and no other one can succeed: the job is dead.
    #[must_use]
    pub fn discard(error: impl Into<BoxError>) -> Self {
        Self(Verdict::Discard {
            error: error.into(),
        })
    }

    /// Nobody wants the job done any more: it is cancelled.
    #[must_use]
    pub fn cancel() -> Self {
        Self(Verdict::Cancel)
    }

    /// The job cannot be done yet. It starts anew after this time, and no attempt is spent.
    #[must_use]
    pub fn snooze(after: Duration) -> Self {
        Self(Verdict::Snooze { after })
    }

    /// The error of a service: what it was, if it is a `JobError` that a layer has boxed, else a
    /// [`retry`](Self::retry).
    #[must_use]
    pub fn from_boxed(error: BoxError) -> Self {
        match error.downcast::<Boxed>() {
            Ok(boxed) => boxed.0,
            Err(error) => Self::retry(error),
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::from_boxed(Box::new(error))
    }
}

impl From<JobError> for BoxError {
    fn from(error: JobError) -> Self {
        Box::new(Boxed(error))
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Verdict::Retry { error, .. } | Verdict::Discard { error } => error.fmt(f),
            Verdict::Cancel => f.write_str("the job is cancelled"),
            Verdict::Snooze { after } => write!(f, "the job goes on after {after:?}"),
            Verdict::Await { .. } => f.write_str("the job waits for a signal"),
            Verdict::Lost => f.write_str("the lease on the job is lost"),
        }
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Verdict::Retry { after, error } => f
                .debug_struct("Retry")
                .field("after", after)
                .field("error", error)
                .finish(),
            Verdict::Discard { error } => f.debug_struct("Discard").field("error", error).finish(),
            Verdict::Cancel => f.write_str("Cancel"),
            Verdict::Snooze { after } => f.debug_struct("Snooze").field("after", after).finish(),
            Verdict::Await { up_to, .. } => f.debug_struct("Await").field("up_to", up_to).finish(),
            Verdict::Lost => f.write_str("Lost"),
        }
    }
}

/// A [`JobError`] on its way through layers.
struct Boxed(JobError);

impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Boxed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.0 {
            Verdict::Retry { error, .. } | Verdict::Discard { error } => error.source(),
            Verdict::Cancel | Verdict::Snooze { .. } | Verdict::Await { .. } | Verdict::Lost => {
                None
            }
        }
    }
}

/// An error and its causes in one line. The store shortens it.
pub(crate) fn error_text(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
