//! Runs jobs: inside of the server, or alone.

use std::{error::Error, sync::Arc, time::Duration};

use orders::listen::Signals;
use purlin_jobs::{QueueName, Worker, WorkerError, handler_fn};
use purlin_store::SystemClock;
use tokio::{
    sync::oneshot,
    task::JoinError,
    time::{sleep, timeout},
};

use crate::{
    config::Config,
    database::{Database, JobQueue},
    sender::Sender,
    server::{CLOSE_LIMIT, DRAIN_LIMIT, open_database},
    service::{Deliver, Receipt, Receipts, Reconcile, Reconciliation, Webhooks},
};

/// How many jobs run at a time. Each takes a connection to the database, of which requests need
/// some too.
const SLOTS: usize = 4;

/// How long jobs that are under way at the signal may take, and then to hear that they may not.
/// Together less than [`DRAIN_LIMIT`].
const GRACE: Duration = Duration::from_secs(6);
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// What runs the jobs of this program.
pub(crate) fn worker(database: &Database, queue: &JobQueue, webhooks: Webhooks) -> Worker {
    let receipts = Receipts::new(database.clone(), queue.clone(), Arc::new(SystemClock));
    let send_receipt = handler_fn(move |job: Receipt, context| {
        let receipts = receipts.clone();
        async move { receipts.send(job, &context).await }
    });
    let reconciliation = Reconciliation::new(database.clone());
    let reconcile = handler_fn(move |job: Reconcile, _| {
        let reconciliation = reconciliation.clone();
        async move { reconciliation.run(&job).await }
    });
    let sender = Sender::new();
    let deliver = handler_fn(move |job: Deliver, context| {
        let (webhooks, sender) = (webhooks.clone(), sender.clone());
        async move { webhooks.deliver(&sender, job, &context).await }
    });
    queue
        .worker()
        .register(send_receipt)
        .register(reconcile)
        .register(deliver)
        .with_schedule(Reconcile::nightly())
        .with_queue(QueueName::DEFAULT, SLOTS)
        .with_grace(GRACE)
        .with_cancel_grace(CANCEL_GRACE)
}

pub(crate) fn webhooks(config: &Config, database: &Database, queue: &JobQueue) -> Webhooks {
    let clock = Arc::new(SystemClock);
    Webhooks::new(
        database.clone(),
        queue.clone(),
        clock,
        config.webhook_attempts,
    )
}

/// Runs jobs until SIGTERM or SIGINT. A second signal ends the wait for those that are under way.
pub(crate) async fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::listen()?;
    let Some(database) = open_database(config, &mut signals).await? else {
        return Ok(());
    };
    let queue = database.job_queue();
    let webhooks = webhooks(config, &database, &queue);
    let worker = worker(&database, &queue, webhooks);
    let (stop, stopping) = oneshot::channel::<()>();
    let mut working = tokio::spawn(worker.run_until(stopping));
    tracing::info!(database = %config.database, "running jobs");
    tokio::select! {
        ended = &mut working => return Ok(ended??),
        () = signals.next() => {}
    }
    tracing::info!("stopping");
    drop(stop);
    tokio::select! {
        ended = &mut working => complain(ended),
        () = sleep(DRAIN_LIMIT) => tracing::warn!("jobs are still under way; leaving them"),
        () = signals.next() => tracing::warn!("told twice; leaving jobs that are under way"),
    }
    let _ = timeout(CLOSE_LIMIT, database.close()).await;
    tracing::info!("stopped");
    Ok(())
}

/// Has the nightly reconciliation made now, by whoever runs jobs.
pub(crate) async fn reconcile(config: &Config) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::listen()?;
    let Some(database) = open_database(config, &mut signals).await? else {
        return Ok(());
    };
    database.job_queue().trigger(Reconcile::nightly()).await?;
    tracing::info!("enqueued; the report goes to the log of the worker");
    let _ = timeout(CLOSE_LIMIT, database.close()).await;
    Ok(())
}

/// For the log only: what a worker leaves undone when it was told to end, others do.
pub(crate) fn complain(ended: Result<Result<(), WorkerError>, JoinError>) {
    let error: Box<dyn Error> = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    };
    tracing::warn!(%error, "the worker did not end well");
}
