mod desk;
mod notes;

use std::sync::Arc;
use std::time::SystemTime;

use purlin_store::StoreError;
use tokio::sync::watch;

pub(crate) use self::desk::Desk;
use crate::store::{Settled, Tally};
use crate::{JobId, LeaseId, QueueName, TransactionalJobStore};

/// What is known of a job that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobInfo {
    /// Its id.
    pub id: JobId,
    /// Its kind, as it was enqueued: it may be an alias.
    pub kind: String,
    /// The version of its payload.
    pub version: u16,
    /// The queue that it came from.
    pub queue: QueueName,
    /// Which attempt this is: 1 and the failures so far. Neither a crash nor a shutdown spends one.
    pub attempt: u16,
    /// How many failures it may have; with the last one it is dead.
    pub max_attempts: u16,
    /// How many workers died while they had it.
    pub crashes: u16,
    /// When it was enqueued, by the store's clock.
    pub enqueued_at: SystemTime,
    /// The `traceparent` of who enqueued it (W3C Trace Context, section 3.2).
    pub traceparent: Option<String>,
    /// How the jobs have ended that it has waited for, in a [`Flow`](crate::Flow).
    pub parents: Tally,
}

/// What a handler gets besides its job. Clones are of the same attempt.
#[derive(Debug, Clone)]
pub struct JobContext {
    info: Arc<JobInfo>,
    lease: LeaseId,
    desk: Arc<Desk>,
    cancellation: watch::Receiver<Option<Cancellation>>,
}

impl JobContext {
    pub(crate) fn new(
        info: Arc<JobInfo>,
        lease: LeaseId,
        cancellation: watch::Receiver<Option<Cancellation>>,
        desk: Desk,
    ) -> Self {
        Self {
            info,
            lease,
            desk: Arc::new(desk),
            cancellation,
        }
    }

    /// What is known of the job.
    #[must_use]
    pub fn info(&self) -> &JobInfo {
        &self.info
    }

    /// The lease under which it runs: what fences writes of the handler's own.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Returns when the attempt is to stop. The handler then has the worker's
    /// [cancel grace](crate::Worker::with_cancel_grace) to come to an end, unless the lease is lost
    /// or the time is over: then it is dropped at once, and this is for what it has started elsewhere,
    /// such as a thread.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, nothing is lost.
    pub async fn cancelled(&self) -> Cancellation {
        let mut cancellation = self.cancellation.clone();
        let reason = cancellation.wait_for(Option::is_some).await;
        match reason.ok().and_then(|reason| *reason) {
            Some(reason) => reason,
            // The attempt has ended: who asks has outlived it.
            None => std::future::pending().await,
        }
    }

    /// Why the attempt is to stop; `None` while it is not. For loops that do not await.
    #[must_use]
    pub fn cancellation(&self) -> Option<Cancellation> {
        *self.cancellation.borrow()
    }

    /// Completes the job in the transaction of `connection`, so that it is done when, and only when,
    /// the effects of the handler are committed. One round trip.
    ///
    /// On [`Settled::Applied`] commit and return `Ok`. On [`Settled::Stale`] roll back: the lease is
    /// lost and somebody else has the job. A handler that returns `Ok` without having committed has
    /// failed, and is tried again. What [`keep_result`](Self::keep_result) was given before is kept in
    /// the same transaction, which is one round trip more.
    ///
    /// # Errors
    ///
    /// What the store says; the transaction can only be rolled back.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, roll the transaction back.
    pub async fn complete_in<S, C>(
        &self,
        store: &S,
        connection: &mut C,
    ) -> Result<Settled, StoreError>
    where
        S: TransactionalJobStore<C> + ?Sized,
        C: Send,
    {
        let settled = store
            .complete_in(connection, self.lease, self.info.id)
            .await?;
        if settled == Settled::Applied {
            if let Some(result) = self.desk.result() {
                store.keep_in(connection, self.info.id, &result).await?;
            }
            self.desk.complete();
        }
        Ok(settled)
    }

    pub(crate) fn is_completed(&self) -> bool {
        self.desk.is_completed()
    }
}

/// Why an attempt is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cancellation {
    /// Somebody has cancelled the job. An error that the handler returns now cancels it too.
    Requested,
    /// The worker ends. An error that the handler returns now spends no attempt; the job is ready again.
    Shutdown,
    /// The attempt took longer than [`Options::timeout`](crate::Options::timeout).
    TimedOut,
    /// The worker was taken for dead, or has to assume it: another one may have the job by now.
    LeaseLost,
}
