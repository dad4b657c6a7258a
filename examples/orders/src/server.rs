//! Accepts connections until a signal comes, then lets those that are there finish.

use std::{error::Error, io, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use purlin_store::SystemClock;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    config::Config,
    database::{Database, IdempotencyRecords},
    http::{App, Health, Keys},
    service::{Orders, Products},
    welcome,
};

/// How long requests that are under way at the signal may take. Container platforms kill after 30 s
/// by default, some after 10 s.
const DRAIN_LIMIT: Duration = Duration::from_secs(8);

/// How long the last connections to the database may take to close.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// How often expired idempotency records are looked for. Answers are kept for a day.
const PURGE_INTERVAL: Duration = Duration::from_secs(300);

/// How long a client may take for the head of a request, and a connection may stay unused. Longer
/// than the 60 s of common proxies: the one who sends should be the one who closes, or a request
/// meets a connection that has just been closed.
const HEADER_LIMIT: Duration = Duration::from_secs(75);

/// Serves until SIGTERM or SIGINT. A second signal ends the wait for requests that are under way.
pub(crate) async fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    // First, so that a signal during a slow start is not lost.
    let mut signals = Signals::listen()?;
    let database = tokio::select! {
        opened = Database::open(&config.database) => {
            opened.map_err(|error| cannot(format!("open {}", config.database), error))?
        }
        () = signals.next() => return Ok(()),
    };
    let listener = TcpListener::bind(config.addr)
        .await
        .map_err(|error| cannot(format!("listen on {}", config.addr), error))?;
    let (draining, is_draining) = watch::channel(false);
    let clock = Arc::new(SystemClock);
    let keys = Keys::new(&database);
    let purging = tokio::spawn(purge(database.idempotency_records()));
    let service = crate::http::service(
        App {
            keys: keys.clone(),
            products: Products::new(database.clone(), clock.clone()),
            orders: Orders::new(database.clone(), clock),
            health: Health::new(database.clone(), is_draining),
        },
        &config.cors,
    );
    let addr = listener.local_addr()?;
    tracing::info!(%addr, database = %config.database, "listening");
    tracing::warn!("callers are not authenticated");
    if let Err(error) = welcome::print(addr) {
        tracing::warn!(%error, "nobody reads what is printed");
    }

    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT);
    loop {
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
            () = signals.next() => break,
        }
    }

    // New connections are refused from here on.
    drop(listener);
    draining.send_replace(true);
    tracing::info!(connections = connections.count(), "stopping");
    tokio::select! {
        () = connections.shutdown() => {}
        () = sleep(DRAIN_LIMIT) => tracing::warn!("requests are still under way; leaving them"),
        () = signals.next() => tracing::warn!("told twice; leaving requests that are under way"),
    }
    // Those whose clients have left have no connection that is waited for.
    if let Err(error) = keys.drain(CLOSE_LIMIT).await {
        tracing::warn!(%error, "leaving them");
    }
    purging.abort();
    let _ = timeout(CLOSE_LIMIT, database.close()).await;
    tracing::info!("stopped");
    Ok(())
}

/// Deletes the records of keys that have expired, for as long as the server runs.
async fn purge(records: IdempotencyRecords) {
    let mut ticks = tokio::time::interval(PURGE_INTERVAL);
    loop {
        ticks.tick().await;
        loop {
            match records.purge().await {
                Ok(0) => break,
                Ok(purged) => tracing::debug!(purged, "expired idempotency records"),
                Err(error) => {
                    tracing::warn!(%error, "cannot purge idempotency records");
                    break;
                }
            }
        }
    }
}

/// The next connection. Errors are either those of one client, or a lack of file descriptors, which
/// passes: neither is a reason to stop.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are written in one piece; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What could not be done at start, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
struct StartError {
    what: String,
    source: Box<dyn Error + Send + Sync>,
}

fn cannot(what: String, source: impl Into<Box<dyn Error + Send + Sync>>) -> StartError {
    StartError {
        what,
        source: source.into(),
    }
}
