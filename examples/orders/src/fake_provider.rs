//! A payment provider that charges nobody, and fails as it is told to.
//!
//! `POST /charges` `{reference, amount_cents}` with an `Idempotency-Key` charges, and answers 201
//! `{id, reference, amount_cents, status}`. **Amounts that end in 13 cents are `declined`**, all
//! others are `captured`. The same key with the same body is the same charge and gets the same
//! answer, however many ask at once; the same key with another body is a 422. `GET /ledger` lists
//! all charges, the oldest first, each with its key: whoever looks for double charges counts there.
//!
//! [`Knobs`] make it slow, or make it fail before the charge, never answer, or charge and close the
//! connection without an answer. They are set at start, in the query of one `POST /charges`, or by
//! `PUT /knobs` for all that follow.
//!
//! Everything is in memory and is gone with the process.

mod http;
mod knobs;
mod ledger;
mod settings;

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, task::JoinSet};
use tower::ServiceExt as _;

pub use knobs::Knobs;
pub use settings::{PREFIX, Settings, VARIABLES};

use crate::listen::accept;

/// Takes connections and never ends.
///
/// # Cancel safety
///
/// Dropped, it closes all its connections where they stand.
pub async fn serve(listener: TcpListener, settings: &Settings) {
    let service = http::service(settings);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            stream = accept(&listener) => {
                let service = service.clone();
                let service = service_fn(move |request| {
                    let service = service.clone();
                    // An error of the service is what makes hyper close without an answer.
                    async move { http::or_hang_up(service.oneshot(request).await) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new());
                let connection = http.serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "connection to the fake provider ended early");
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
