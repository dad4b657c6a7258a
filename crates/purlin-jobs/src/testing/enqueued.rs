use std::fmt::Write as _;

use crate::store::{Filter, JobView, Page, State};
use crate::{Job, JobAdmin, Jobs};

/// Asserts that a job is enqueued: that one of this kind waits or runs whose payload is as wanted. Gives it as
/// a [`Found`](crate::testing::Found).
///
/// It asks the store of a [`Jobs`], so that it does not matter whether it was enqueued plainly or in a transaction:
/// what has not been committed is not there. If no job is as wanted, the failure lists those that are there.
///
/// ```
/// use purlin_jobs::{Job, Jobs, MemoryStore, assert_enqueued, assert_not_enqueued};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct SendReceipt { order: u64 }
/// # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), purlin_jobs::EnqueueError> {
/// let jobs = Jobs::new(MemoryStore::new());
/// jobs.enqueue(SendReceipt { order: 7 }).await?;
///
/// let found = assert_enqueued!(jobs, SendReceipt, |job| job.order == 7);
/// assert_eq!(found.view.max_attempts, 20);
/// assert_not_enqueued!(jobs, SendReceipt, |job| job.order == 8);
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// When there is none, or when the store does not answer.
#[macro_export]
macro_rules! assert_enqueued {
    ($jobs:expr, $job:ty $(,)?) => {
        $crate::assert_enqueued!($jobs, $job, |_| true)
    };
    ($jobs:expr, $job:ty, $wanted:expr $(,)?) => {
        match $crate::testing::find_enqueued::<$job, _>(&$jobs, $wanted).await {
            (Some(found), _) => found,
            (None, there) => panic!(
                "no {} that is wanted is enqueued; {there}",
                stringify!($job)
            ),
        }
    };
}

/// Asserts that no job of this kind whose payload is as described waits or runs. As
/// [`assert_enqueued!`](crate::assert_enqueued).
///
/// # Panics
///
/// When there is one, or when the store does not answer.
#[macro_export]
macro_rules! assert_not_enqueued {
    ($jobs:expr, $job:ty $(,)?) => {
        $crate::assert_not_enqueued!($jobs, $job, |_| true)
    };
    ($jobs:expr, $job:ty, $unwanted:expr $(,)?) => {
        if let (Some(found), there) =
            $crate::testing::find_enqueued::<$job, _>(&$jobs, $unwanted).await
        {
            let id = found.view.id;
            panic!(
                "a {} is enqueued that is not wanted, {id}; {there}",
                stringify!($job)
            );
        }
    };
}

/// A job that is enqueued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found<J> {
    /// What it is about.
    pub job: J,
    /// Where it stands.
    pub view: JobView,
}

/// The first job of this kind that waits or runs and is as wanted, in the order of ids; and a text that
/// lists all jobs of the store, but for those that are done. [`assert_enqueued!`](crate::assert_enqueued)
/// says it better.
///
/// # Panics
///
/// When the store does not answer.
pub async fn find_enqueued<J: Job, S: JobAdmin>(
    jobs: &Jobs<S>,
    wanted: impl Fn(&J) -> bool,
) -> (Option<Found<J>>, String) {
    let (mut found, mut there, mut count) = (None, String::new(), 0);
    let filter = Filter::default();
    let mut page = Page {
        after: None,
        limit: 1_000,
    };
    loop {
        let views = match jobs.store().list(&filter, &page).await {
            Ok(views) => views,
            Err(error) => panic!("the store does not say what is enqueued: {error}"),
        };
        let Some(last) = views.last() else { break };
        page.after = Some(last.id);
        for view in views {
            count += 1;
            let payload = jobs.decoded(&view.kind, view.id, &view.payload);
            list(&mut there, &view, &payload);
            if found.is_none()
                && let Some(job) = parsed(&view, payload).filter(|job| wanted(job))
            {
                found = Some(Found { job, view });
            }
        }
    }
    let jobs = if count == 1 { "job" } else { "jobs" };
    (found, format!("there are {count} {jobs}{there}"))
}

fn parsed<J: Job>(view: &JobView, payload: Result<bytes::Bytes, String>) -> Option<J> {
    let is_kind = view.kind == J::KIND || J::ALIASES.contains(&view.kind.as_str());
    if !is_kind || matches!(view.state, State::Dead | State::Cancelled) {
        return None;
    }
    let value = serde_json::from_slice(&payload.ok()?).ok()?;
    if view.version == J::VERSION {
        serde_json::from_value(value).ok()
    } else {
        J::upcast(view.version, value).ok()
    }
}

/// The most jobs that are listed: a failure is to be read.
const LISTED: usize = 20;

fn list(there: &mut String, view: &JobView, payload: &Result<bytes::Bytes, String>) {
    let listed = there.lines().count();
    if listed > LISTED {
        return;
    }
    if listed == LISTED {
        there.push_str("\n  and others");
        return;
    }
    let payload = payload.as_deref().map(String::from_utf8_lossy);
    let payload = payload.unwrap_or_else(|error| format!("cannot be decoded: {error}").into());
    let separator = if there.is_empty() { ":" } else { "" };
    // Writing to a string does not fail.
    let _ = write!(
        there,
        "{separator}\n  {} {payload}, {:?} in {}",
        view.kind, view.state, view.queue
    );
}
