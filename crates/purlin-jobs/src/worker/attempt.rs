use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;
use tracing::{Instrument as _, Span, field, info_span};

use super::catch_panic::CatchPanic;
use super::epoch::{Epoch, Registration};
use super::settle::Finished;
use super::shared::{Active, Phase, Shared};
use crate::context::Desk;
use crate::outcome::{Verdict, error_text};
use crate::store::{Claimed, Outcome, Settlement};
use crate::{Cancellation, Event, JobContext, JobError, JobInfo, JobRequest, LeaseId, QueueName};

/// One attempt at a job that was claimed.
pub(super) struct Attempt {
    pub(super) shared: Arc<Shared>,
    pub(super) epoch: Arc<Epoch>,
    pub(super) lease: LeaseId,
    pub(super) queue: QueueName,
    pub(super) claimed: Claimed,
    pub(super) active: Active,
    /// Held until the settlement is handed on.
    pub(super) room: OwnedSemaphorePermit,
    /// One of these is waited for, and held as long as `room`.
    pub(super) slots: Arc<Semaphore>,
}

impl Attempt {
    pub(super) async fn run(self) {
        let Self {
            shared,
            epoch,
            lease,
            queue,
            claimed,
            active,
            room,
            slots,
        } = self;
        let registration = epoch.register(claimed.id);
        let job = Arc::new(info(&claimed, queue));
        let desk = Desk::new(Arc::clone(&shared.store), shared.settings.codec.clone());
        let context = JobContext::new(Arc::clone(&job), lease, registration.signal(), desk);
        let slot = free_slot(&shared, slots, &registration).await;
        let begun = Instant::now();
        let ending = match (&slot, shared.handlers.get(job.kind.as_str())) {
            (Err(reason), _) => Ending::Dropped(*reason),
            (_, None) => Ending::Returned(Err(JobError::retry("no handler knows this kind"))),
            (Ok(_), Some(handler)) => {
                let running = Running {
                    shared: Arc::clone(&shared),
                    registration: &registration,
                    context: &context,
                    timeout: claimed.timeout,
                    span: span(&job),
                };
                let request = decode(&shared, &job, claimed.payload, context.clone());
                match request {
                    Ok(request) => handler.run(request, running).await,
                    Err(ending) => ending,
                }
            }
        };
        let took = begun.elapsed();
        let told = registration.told();
        drop(registration);
        let outcome = judge(&shared, &job, &context, ending, told);
        if told != Some(Cancellation::LeaseLost) && !outcome.is_done() {
            // Nobody asks for the progress of a job that is done.
            let interval = shared.settings.heartbeat_interval();
            let _ = timeout(interval, context.write_progress()).await;
        }
        let id = job.id;
        let finished = Finished {
            epoch,
            lease,
            settlement: Settlement { id, outcome },
            job,
            took,
            is_completed: context.is_completed(),
            active,
        };
        // Waits when the store takes settlements slower than jobs end: then the slot is not free.
        let _ = shared.finished.send(finished).await;
        drop((slot, room));
    }
}

/// Waits for a slot, unless the job is not to begin.
async fn free_slot(
    shared: &Shared,
    slots: Arc<Semaphore>,
    registration: &Registration,
) -> Result<OwnedSemaphorePermit, Cancellation> {
    if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
        return Ok(slot);
    }
    tokio::select! {
        biased;
        reason = registration.stopped() => Err(reason),
        () = shared.reached(Phase::Draining) => Err(Cancellation::Shutdown),
        // They are never closed.
        slot = slots.acquire_owned() => slot.map_err(|_| Cancellation::Shutdown),
    }
}

fn info(claimed: &Claimed, queue: QueueName) -> JobInfo {
    JobInfo {
        id: claimed.id,
        kind: claimed.kind.clone(),
        version: claimed.version,
        queue,
        attempt: claimed.failures.saturating_add(1),
        max_attempts: claimed.max_attempts,
        crashes: claimed.crashes,
        enqueued_at: claimed.enqueued_at,
        traceparent: claimed.traceparent.clone(),
        parents: claimed.parents,
    }
}

fn span(job: &JobInfo) -> Span {
    let span = info_span!(
        "job", job.id = %job.id, job.kind = %job.kind, job.queue = %job.queue,
        job.attempt = job.attempt, traceparent = field::Empty
    );
    if let Some(traceparent) = &job.traceparent {
        span.record("traceparent", traceparent);
    }
    span
}

/// How an attempt came to its end.
pub(super) enum Ending {
    Returned(Result<(), JobError>),
    Panicked(String),
    TimedOut(Duration),
    /// The worker has given it up.
    Dropped(Cancellation),
}

/// A service, whatever its type.
pub(super) trait Handler: Send + Sync {
    fn run<'a>(
        &'a self,
        request: JobRequest,
        running: Running<'a>,
    ) -> Pin<Box<dyn Future<Output = Ending> + Send + 'a>>;
}

/// What decides about the end of an attempt besides its handler.
pub(super) struct Running<'a> {
    shared: Arc<Shared>,
    registration: &'a Registration,
    context: &'a JobContext,
    timeout: Option<Duration>,
    span: Span,
}

pub(super) struct ServiceHandler<S>(pub(super) S);

impl<S> Handler for ServiceHandler<S>
where
    S: Service<JobRequest, Response = ()> + Clone + Send + Sync + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
{
    fn run<'a>(
        &'a self,
        request: JobRequest,
        running: Running<'a>,
    ) -> Pin<Box<dyn Future<Output = Ending> + Send + 'a>> {
        let span = running.span.clone();
        Box::pin(attempt(&self.0, request, running).instrument(span))
    }
}

async fn attempt<S>(service: &S, request: JobRequest, running: Running<'_>) -> Ending
where
    S: Service<JobRequest, Response = ()> + Clone,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Running {
        shared,
        registration,
        context,
        timeout,
        ..
    } = running;
    let failed = |error: S::Error| Ending::Returned(Err(JobError::from_boxed(error.into())));
    let ready = CatchPanic::new(async {
        let mut service = service.clone();
        poll_fn(|cx| service.poll_ready(cx)).await.map(|()| service)
    });
    let mut service = tokio::select! {
        biased;
        reason = registration.stopped() => return Ending::Dropped(reason),
        () = shared.reached(Phase::Draining) => return Ending::Dropped(Cancellation::Shutdown),
        ready = ready => match ready {
            Ok(Ok(service)) => service,
            Ok(Err(error)) => return failed(error),
            Err(panic) => return Ending::Panicked(panic),
        },
    };
    shared.emit(&Event::Started {
        job: request.info(),
    });
    let mut call = CatchPanic::new(async move { service.call(request).await });
    let returned = |result| match result {
        Ok(Ok(())) => Ending::Returned(Ok(())),
        Ok(Err(error)) => failed(error),
        Err(panic) => Ending::Panicked(panic),
    };
    let mut reports = pin!(report_progress(&shared, context));
    let reason = tokio::select! {
        biased;
        result = &mut call => return returned(result),
        never = &mut reports => match never {},
        reason = registration.stopped() => reason,
        limit = elapsed(timeout) => {
            registration.time_out();
            return Ending::TimedOut(limit);
        }
    };
    if reason == Cancellation::LeaseLost {
        return Ending::Dropped(reason);
    }
    tokio::select! {
        biased;
        result = call => returned(result),
        () = registration.lost() => Ending::Dropped(Cancellation::LeaseLost),
        () = sleep(shared.settings.cancel_grace) => Ending::Dropped(reason),
    }
}

/// Writes what the handler has reported last, but not more often than the worker sends heartbeats.
async fn report_progress(shared: &Shared, context: &JobContext) -> Infallible {
    loop {
        context.reported().await;
        if let Err(error) = context.write_progress().await {
            shared.store_failed("progress", &error);
        }
        sleep(shared.settings.heartbeat_interval()).await;
    }
}

/// Returns when the time is over, if there is one.
async fn elapsed(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            sleep(limit).await;
            limit
        }
        None => pending().await,
    }
}

fn decode(
    shared: &Shared,
    job: &JobInfo,
    stored: bytes::Bytes,
    context: JobContext,
) -> Result<JobRequest, Ending> {
    let payload = match &shared.settings.codec {
        None => stored,
        Some(codec) => {
            let decode = || codec.decode(&job.kind, job.id, stored);
            match super::catch_panic::caught(decode) {
                Ok(Ok(payload)) => payload,
                Ok(Err(error)) => return Err(Ending::Returned(Err(JobError::retry(error)))),
                Err(panic) => return Err(Ending::Panicked(panic)),
            }
        }
    };
    Ok(JobRequest::new(payload, context))
}

/// What the store is told of an attempt, unless the lease is lost: then nobody asks.
fn judge(
    shared: &Shared,
    job: &JobInfo,
    context: &JobContext,
    ending: Ending,
    told: Option<Cancellation>,
) -> Outcome {
    let fail = |error: String, after: Option<Duration>| {
        if job.attempt >= job.max_attempts {
            return Outcome::Discard { error };
        }
        let backoff = || super::catch_panic::caught(|| shared.settings.backoff.after(job));
        let after = after.unwrap_or_else(|| backoff().unwrap_or(AFTER_PANIC));
        Outcome::Retry { after, error }
    };
    let verdict = match ending {
        // Done, if that was committed: then this settlement is stale. If not, nobody would have the job.
        Ending::Returned(Ok(())) if context.is_completed() => {
            let error = "the transaction that completes the job was not committed";
            return fail(error.to_owned(), None);
        }
        Ending::Returned(Ok(())) => {
            let result = context.take_result();
            return result.map_or(Outcome::Done, Outcome::DoneWith);
        }
        Ending::Returned(Err(error)) => error.0,
        Ending::Panicked(panic) => JobError::retry(format!("panicked: {panic}")).0,
        Ending::TimedOut(limit) => JobError::retry(format!("not done within {limit:?}")).0,
        Ending::Dropped(Cancellation::Requested) => Verdict::Cancel,
        Ending::Dropped(_) => return Outcome::Release,
    };
    match (verdict, told) {
        (Verdict::Discard { error }, _) => Outcome::Discard {
            error: error_text(error.as_ref()),
        },
        (_, Some(Cancellation::Requested)) => Outcome::Cancelled,
        (Verdict::Snooze { after }, _) => Outcome::Snooze { after },
        (Verdict::Await { up_to, signals }, _) => Outcome::Await { up_to, signals },
        // What is lost the store finds stale, which is then told.
        (Verdict::Lost, _)
        | (Verdict::Retry { .. } | Verdict::Cancel, Some(Cancellation::Shutdown)) => {
            Outcome::Release
        }
        (Verdict::Cancel, _) => Outcome::Cancelled,
        (Verdict::Retry { after, error }, _) => fail(error_text(error.as_ref()), after),
    }
}

/// How long a job waits when what says it has panicked.
const AFTER_PANIC: Duration = Duration::from_secs(60);
