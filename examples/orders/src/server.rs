//! Accepts connections until a signal comes, then lets those that are there finish.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use orders::{
    fake_provider,
    listen::{Signals, accept},
};
use purlin_jobs::{Worker, WorkerError};
use purlin_store::{StoreError, SystemClock};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    config::Config,
    database::{Database, IdempotencyRecords, JobQueue},
    http::{App, Health, Keys},
    provider::Provider,
    service::{Orders, Payments, Products},
    welcome, worker,
};

/// How long requests and jobs that are under way at the signal may take. Container platforms kill
/// after 30 s by default, some after 10 s.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(8);

/// How long the last connections to the database may take to close.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// How often expired idempotency records, whose answers are kept for a day, and old dead jobs are
/// looked for.
const PURGE_INTERVAL: Duration = Duration::from_secs(300);

/// How long dead jobs can be replayed.
const DEAD_JOBS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// How long a client may take for the head of a request, and a connection may stay unused. Longer
/// than the 60 s of common proxies: the one who sends should be the one who closes, or a request
/// meets a connection that has just been closed.
const HEADER_LIMIT: Duration = Duration::from_secs(75);

/// Serves until SIGTERM or SIGINT, and runs jobs unless others do. A second signal ends the wait for
/// what is under way.
pub(crate) async fn run(config: &Config, with_worker: bool) -> Result<(), Box<dyn Error>> {
    // First, so that a signal during a slow start is not lost.
    let mut signals = Signals::listen()?;
    let Some(database) = open_database(config, &mut signals).await? else {
        return Ok(());
    };
    let listener = TcpListener::bind(config.addr)
        .await
        .map_err(|error| cannot(format!("listen on {}", config.addr), error))?;
    // Ends when this function does: payments may be under way until then.
    let mut built_in = JoinSet::new();
    let payment_url = match &config.payment {
        Some(url) => url.clone(),
        None => start_fake_provider(&config.fake_provider, &mut built_in)
            .await?
            .into(),
    };
    let provider = Provider::new(payment_url.clone());
    let (draining, is_draining) = watch::channel(false);
    let queue = database.job_queue();
    let webhooks = worker::webhooks(config, &database, &queue);
    let worker = with_worker.then(|| worker::worker(&database, &queue, webhooks.clone()));
    let clock = Arc::new(SystemClock);
    let records = database.idempotency_records();
    let redis = config.redis.as_ref().map(|url| url.config().open());
    let redis = redis
        .transpose()
        .map_err(|error| cannot("use Redis".to_owned(), error))?;
    let keys = Keys::new(records.clone(), redis);
    built_in.spawn(purge(records, queue.clone()));
    let service = crate::http::service(
        App {
            keys: keys.clone(),
            products: Products::new(database.clone(), clock.clone()),
            orders: Orders::new(database.clone(), queue, clock.clone()),
            payments: Payments::new(database.clone(), clock, provider, webhooks.clone()),
            webhooks,
            health: Health::new(database.clone(), is_draining.clone()),
        },
        &config.cors,
    );
    let addr = listener.local_addr()?;
    tracing::info!(%addr, database = %config.database, payments = %payment_url, with_worker, "listening");
    tracing::warn!("callers are not authenticated");
    if let Err(error) = welcome::print(addr, &payment_url) {
        tracing::warn!(%error, "nobody reads what is printed");
    }

    let mut working = tokio::spawn(work(worker, is_draining));
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT);
    let ended_early = loop {
        tokio::select! {
            stream = accept(&listener) => {
                let io = TokioIo::new(stream);
                let service = TowerToHyperService::new(service.clone());
                let connection = http.serve_connection(io, service);
                let connection = connections.watch(connection);
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "connection ended early");
                    }
                });
            }
            () = signals.next() => break None,
            ended = &mut working => break Some(ended),
        }
    };

    // New connections are refused from here on.
    drop(listener);
    draining.send_replace(true);
    tracing::info!(connections = connections.count(), "stopping");
    let drained = async {
        connections.shutdown().await;
        if ended_early.is_none() {
            worker::complain(working.await);
        }
    };
    tokio::select! {
        () = drained => {}
        () = sleep(DRAIN_LIMIT) => tracing::warn!("work is still under way; leaving it"),
        () = signals.next() => tracing::warn!("told twice; leaving what is under way"),
    }
    // Those whose clients have left have no connection that is waited for.
    if let Err(error) = keys.drain(CLOSE_LIMIT).await {
        tracing::warn!(%error, "leaving them");
    }
    let _ = timeout(CLOSE_LIMIT, database.close()).await;
    tracing::info!("stopped");
    ended_early.map_or(Ok(()), |ended| Ok(ended??))
}

/// Runs jobs, if there is a worker, until the service stops.
async fn work(
    worker: Option<Worker>,
    mut is_draining: watch::Receiver<bool>,
) -> Result<(), WorkerError> {
    let stop = is_draining.wait_for(|is_draining| *is_draining);
    match worker {
        Some(worker) => worker.run_until(stop).await,
        None => {
            let _ = stop.await;
            Ok(())
        }
    }
}

/// The database, with its tables; `None` after a signal.
pub(crate) async fn open_database(
    config: &Config,
    signals: &mut Signals,
) -> Result<Option<Database>, StartError> {
    tokio::select! {
        opened = Database::open(&config.database) => opened
            .map(Some)
            .map_err(|error| cannot(format!("open {}", config.database), error)),
        () = signals.next() => Ok(None),
    }
}

/// Deletes the records of keys that have expired, and jobs that died long ago, for as long as the
/// server runs.
async fn purge(records: IdempotencyRecords, queue: JobQueue) {
    let mut ticks = tokio::time::interval(PURGE_INTERVAL);
    loop {
        ticks.tick().await;
        purge_all("expired idempotency records", || records.purge()).await;
        purge_all("old dead jobs", || queue.purge(DEAD_JOBS_KEPT)).await;
    }
}

/// Batch after batch, until one is empty.
async fn purge_all<F>(what: &str, batch: impl Fn() -> F)
where
    F: Future<Output = Result<u64, StoreError>>,
{
    loop {
        match batch().await {
            Ok(0) => break,
            Ok(purged) => tracing::debug!(purged, what, "purged"),
            Err(error) => {
                tracing::warn!(%error, what, "cannot purge");
                break;
            }
        }
    }
}

/// On a port of its own, for this machine only. It is asked over HTTP as any other would be.
async fn start_fake_provider(
    settings: &fake_provider::Settings,
    tasks: &mut JoinSet<()>,
) -> Result<SocketAddr, StartError> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = TcpListener::bind(any).await.and_then(|listener| {
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    });
    let (listener, addr) =
        bound.map_err(|error| cannot("start the built-in payment provider".to_owned(), error))?;
    let settings = settings.clone();
    tasks.spawn(async move { fake_provider::serve(listener, &settings).await });
    tracing::warn!("payments go to a fake provider; nobody is charged");
    Ok(addr)
}

/// What could not be done at start, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub(crate) struct StartError {
    what: String,
    source: Box<dyn Error + Send + Sync>,
}

fn cannot(what: String, source: impl Into<Box<dyn Error + Send + Sync>>) -> StartError {
    StartError {
        what,
        source: source.into(),
    }
}
