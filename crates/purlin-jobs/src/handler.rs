use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tower_service::Service;

use crate::{Job, JobContext, JobError, JobInfo};

/// One attempt at a job, as a tower service gets it.
#[derive(Debug, Clone)]
pub struct JobRequest {
    payload: Bytes,
    context: JobContext,
}

impl JobRequest {
    pub(crate) fn new(payload: Bytes, context: JobContext) -> Self {
        Self { payload, context }
    }

    /// The payload, as the codec has decoded it.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// What the handler gets besides.
    #[must_use]
    pub fn context(&self) -> &JobContext {
        &self.context
    }

    /// What is known of the job.
    #[must_use]
    pub fn info(&self) -> &JobInfo {
        self.context.info()
    }

    /// The payload as a `J`, by way of [`Job::upcast`] if it has another version.
    ///
    /// # Errors
    ///
    /// A [`retry`](JobError::retry) that says where it does not parse, and nothing of what it holds.
    pub fn job<J: Job>(&self) -> Result<J, JobError> {
        let version = self.info().version;
        let parsed = if version == J::VERSION {
            serde_json::from_slice(&self.payload)
        } else {
            serde_json::from_slice(&self.payload).and_then(|payload| J::upcast(version, payload))
        };
        parsed.map_err(|error| {
            let kind = J::KIND;
            // Its own message quotes the payload.
            let (what, line, column) = (error.classify(), error.line(), error.column());
            JobError::retry(format!(
                "the payload, of version {version}, is no {kind}: {what:?} error at line {line} column {column}"
            ))
        })
    }
}

/// Makes a service of an async function that takes a job and its [`JobContext`].
///
/// ```
/// use purlin_jobs::{Job, JobContext, JobError, handler_fn};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct SendReceipt { order: u64 }
/// # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
/// # #[derive(Clone)] struct Mailer;
/// # impl Mailer { async fn send(&self, _: u64) -> std::io::Result<()> { Ok(()) } }
///
/// let mailer = Mailer;
/// let handler = handler_fn(move |job: SendReceipt, _: JobContext| {
///     let mailer = mailer.clone();
///     async move { Ok(mailer.send(job.order).await?) }
/// });
/// ```
pub fn handler_fn<J, F, Fut>(handler: F) -> HandlerFn<J, F>
where
    J: Job,
    F: Fn(J, JobContext) -> Fut,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    HandlerFn {
        handler,
        job: PhantomData,
    }
}

/// The service that [`handler_fn`] makes. Always ready.
pub struct HandlerFn<J, F> {
    handler: F,
    job: PhantomData<fn(J)>,
}

impl<J, F, Fut> Service<JobRequest> for HandlerFn<J, F>
where
    J: Job,
    F: Fn(J, JobContext) -> Fut,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    type Response = ();
    type Error = JobError;
    type Future = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), JobError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: JobRequest) -> Self::Future {
        match request.job() {
            Ok(job) => Box::pin((self.handler)(job, request.context)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl<J, F: Clone> Clone for HandlerFn<J, F> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            job: PhantomData,
        }
    }
}

impl<J: Job, F> fmt::Debug for HandlerFn<J, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandlerFn").field(&J::KIND).finish()
    }
}
