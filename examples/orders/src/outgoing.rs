//! The HTTP client of calls to others.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

/// Shorter than servers keep unused connections, so that a call seldom meets one that has just been
/// closed.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A client that keeps connections. It follows no redirects and has no time limit.
pub(crate) fn client() -> HttpClient {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_LIMIT)
        .build_http()
}
