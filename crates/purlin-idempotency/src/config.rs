//! Every knob and its default, with why.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Response, request, response};
use purlin_problem::{Protocol, UriRef};
use purlin_store::{Clock, SystemClock};

use crate::{AnswerCodec, KeySyntax, LeaseLost, Observer, Outcome, Rejection, Scope, store};

pub(crate) type ScopeFn = Arc<dyn Fn(&request::Parts) -> Option<Scope> + Send + Sync>;
type TargetFn = Arc<dyn Fn(&request::Parts) -> String + Send + Sync>;
type OutcomeFn = Arc<dyn Fn(&response::Parts) -> Option<Outcome> + Send + Sync>;
type RenderFn = Arc<dyn Fn(&Rejection, &Protocol) -> Response<Bytes> + Send + Sync>;

/// What a duplicate gets while the first request is being worked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InFlight {
    /// 409 with `Retry-After`, at once.
    #[default]
    Reject,
    /// The answer, if it is there within this time; otherwise 409. When the first ends without one,
    /// because its process has crashed for example, it gets what a retry gets, which may be to be executed.
    Wait {
        /// How long it waits at most; shorter than clients and proxies wait.
        timeout: Duration,
    },
}

/// What a request with a key gets when the store cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnStoreError {
    /// 503 with `Retry-After`: nothing is executed that could not be remembered.
    #[default]
    Reject,
    /// The handler runs as if there was no key. A retry then executes it again.
    PassThrough,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) scope: ScopeFn,
    /// Services that share a store and not their keys have names of their own.
    pub(crate) namespace: Box<str>,
    /// Optional: a route begins to require keys when its clients send them.
    pub(crate) required: bool,
    pub(crate) syntax: KeySyntax,
    /// 30 s: what a crash costs a client at most until the outcome is decided. Extended at a third.
    pub(crate) lease_ttl: Duration,
    /// An effect that might happen twice is worse than one that has to be looked after.
    pub(crate) lease_lost: LeaseLost,
    /// 30 days: long enough for a person to look, and the store does not fill up for ever.
    pub(crate) unresolved_ttl: Duration,
    /// 24 h: what Stripe keeps, and longer than clients retry.
    pub(crate) retention: Duration,
    /// 10 min: a handler that is still running then hangs.
    pub(crate) max_execution: Duration,
    /// 5 s: a store that has not answered by then is down.
    pub(crate) store_timeout: Duration,
    pub(crate) in_flight: InFlight,
    /// 1 s: most requests are done by then.
    pub(crate) retry_after: Duration,
    pub(crate) on_store_error: OnStoreError,
    /// 1 MiB: a JSON document; uploads are streamed.
    pub(crate) max_request_bytes: usize,
    pub(crate) streams_request: bool,
    /// 1 MiB: what is longer is remembered without its body.
    pub(crate) max_answer_bytes: usize,
    /// 8 MiB: some thousand answers.
    pub(crate) replay_cache_bytes: usize,
    pub(crate) not_kept: Vec<HeaderName>,
    pub(crate) target: Option<TargetFn>,
    pub(crate) outcome: Option<OutcomeFn>,
    pub(crate) codec: Option<Arc<dyn AnswerCodec>>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) first_sent: Option<HeaderName>,
    pub(crate) described_by: Option<UriRef>,
    pub(crate) render: Option<RenderFn>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Config {
    pub(crate) fn new(scope: ScopeFn) -> Self {
        Self {
            scope,
            namespace: "".into(),
            required: false,
            syntax: KeySyntax::default(),
            lease_ttl: Duration::from_secs(30),
            lease_lost: LeaseLost::default(),
            unresolved_ttl: store::UNRESOLVED_TTL,
            retention: Duration::from_secs(24 * 3_600),
            max_execution: Duration::from_secs(600),
            store_timeout: Duration::from_secs(5),
            in_flight: InFlight::default(),
            retry_after: Duration::from_secs(1),
            on_store_error: OnStoreError::default(),
            max_request_bytes: 1 << 20,
            streams_request: false,
            max_answer_bytes: 1 << 20,
            replay_cache_bytes: 8 << 20,
            not_kept: Vec::new(),
            target: None,
            outcome: None,
            codec: None,
            observer: None,
            first_sent: None,
            described_by: None,
            render: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// How often a lease is extended: twice may fail before it lapses.
    pub(crate) fn heartbeat_interval(&self) -> Duration {
        (self.lease_ttl / 3).max(Duration::from_millis(1))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("namespace", &self.namespace)
            .field("required", &self.required)
            .field("syntax", &self.syntax)
            .field("lease_ttl", &self.lease_ttl)
            .field("lease_lost", &self.lease_lost)
            .field("unresolved_ttl", &self.unresolved_ttl)
            .field("retention", &self.retention)
            .field("max_execution", &self.max_execution)
            .field("store_timeout", &self.store_timeout)
            .field("in_flight", &self.in_flight)
            .field("retry_after", &self.retry_after)
            .field("on_store_error", &self.on_store_error)
            .field("max_request_bytes", &self.max_request_bytes)
            .field("streams_request", &self.streams_request)
            .field("max_answer_bytes", &self.max_answer_bytes)
            .field("replay_cache_bytes", &self.replay_cache_bytes)
            .field("not_kept", &self.not_kept)
            .field("codec", &self.codec)
            .field("observer", &self.observer)
            .field("first_sent", &self.first_sent)
            .finish_non_exhaustive()
    }
}
