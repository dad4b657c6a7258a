use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use purlin_store::{Clock as _, SystemClock};
use retry_policies::policies::ExponentialBackoff;
use retry_policies::{Jitter, RetryDecision, RetryPolicy as _};

use crate::JobInfo;

/// How long a job waits after an attempt that has failed.
///
/// By default a random time up to 1 s after the first failure, up to twice as much after each
/// further one, up to 6 hours ("full jitter"): jobs that failed together do not come back together.
#[derive(Clone)]
pub struct Backoff(Arc<dyn Fn(&JobInfo) -> Duration + Send + Sync>);

impl Backoff {
    /// A random time between nothing and `first`, which is doubled by each failure up to `longest`.
    #[must_use]
    pub fn exponential(first: Duration, longest: Duration) -> Self {
        let policy = ExponentialBackoff::builder()
            .retry_bounds(first.min(longest).min(LONGEST), longest.min(LONGEST))
            .jitter(Jitter::Full)
            .base(2)
            .build_with_max_retries(u32::MAX);
        Self::from_fn(move |job| {
            let begun = SystemClock.now();
            match policy.should_retry(begun, u32::from(job.attempt.saturating_sub(1))) {
                RetryDecision::Retry { execute_after } => {
                    execute_after.duration_since(begun).unwrap_or_default()
                }
                RetryDecision::DoNotRetry => longest,
            }
        })
    }

    /// What this function says of the job and the attempt that has just failed.
    ///
    /// ```
    /// use purlin_jobs::Backoff;
    /// use std::time::Duration;
    ///
    /// let backoff = Backoff::from_fn(|job| match job.kind.as_str() {
    ///     "deliver_webhook" => Duration::from_secs(60) * u32::from(job.attempt),
    ///     _ => Duration::from_secs(10),
    /// });
    /// ```
    #[must_use]
    pub fn from_fn(delay: impl Fn(&JobInfo) -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(delay))
    }

    pub(crate) fn after(&self, job: &JobInfo) -> Duration {
        (self.0)(job)
    }
}

/// A year: what multiplies and adds without overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_secs(1), Duration::from_secs(6 * 3600))
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backoff(..)")
    }
}
