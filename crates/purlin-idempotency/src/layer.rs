use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Response, request, response};
use purlin_problem::{Protocol, UriRef};
use purlin_store::{Clock, StoreError, deadline};
use tower_layer::Layer;

use crate::{
    AnswerCodec, DrainError, Idempotency, IdempotencyStore, InFlight, KeySyntax, LeaseLost,
    Observer, OnStoreError, Outcome, Rejection, Scope, ScopeId, TransactionalStore,
    config::{Config, ScopeFn},
    in_process::{InProcess, Running},
    replay_cache::ReplayCache,
};

/// The guarantee of a layer made by [`IdempotencyLayer::leased`].
#[derive(Clone, Copy, Debug)]
pub struct Leased(());

/// The guarantee of a layer made by [`IdempotencyLayer::transactional`].
#[derive(Clone, Copy, Debug)]
pub struct Transactional(());

/// Makes requests with an `Idempotency-Key` happen once.
///
/// Begin with [`transactional`](Self::transactional) or [`leased`](Self::leased), and say whose keys
/// they are. Place it *inside* of authentication and authorization, since a replay is given to
/// whoever is let through to this layer; compression, CORS and tracing go outside.
///
/// One layer is made and cloned: clones share what is under way and the answers in memory, also when
/// options differ, so that each route can have its own
/// (`layer.clone().with_lease_lost(…)`).
pub struct IdempotencyLayer<M> {
    config: Arc<Config>,
    shared: Arc<Shared>,
    guarantee: PhantomData<fn() -> M>,
}

/// A layer that does not know yet whose keys it looks at.
#[derive(Debug)]
#[must_use = "say whose keys they are: .scope(…) or .single_tenant()"]
pub struct Unscoped<M> {
    engine: Engine,
    guarantee: PhantomData<fn() -> M>,
}

/// What all clones of a layer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) in_process: Arc<InProcess>,
    pub(crate) running: Arc<Running>,
    pub(crate) replay_cache: ReplayCache,
}

#[derive(Clone, Debug)]
pub(crate) enum Engine {
    Leased(Arc<dyn IdempotencyStore>),
    Transactional(Arc<dyn TransactionalStore>),
}

impl IdempotencyLayer<Leased> {
    /// The *lease* guarantee, with any store: a request is claimed for a time that is extended while its
    /// handler works, and completed with its answer. After a crash in between nobody knows whether
    /// the effect took place; [`with_lease_lost`](Self::with_lease_lost) says what happens then.
    pub fn leased(store: impl IdempotencyStore) -> Unscoped<Leased> {
        Self::leased_by(Arc::new(store))
    }

    /// As [`leased`](Self::leased), with a store that others hold too.
    pub fn leased_by(store: Arc<dyn IdempotencyStore>) -> Unscoped<Leased> {
        Unscoped::new(Engine::Leased(store))
    }

    /// How long a lease lasts when it is not extended. Default 30 s, at least 1 ms. It is extended at
    /// a third of this, so that it should be several times what a call to the store takes at worst.
    #[must_use]
    pub fn with_lease_ttl(self, ttl: Duration) -> Self {
        self.edit(|config| config.lease_ttl = ttl.max(Duration::from_millis(1)))
    }

    /// What happens after a lost lease, a 5xx answer, a panic or an error of the handler. Default
    /// [`LeaseLost::Indeterminate`].
    #[must_use]
    pub fn with_lease_lost(self, lease_lost: LeaseLost) -> Self {
        self.edit(|config| config.lease_lost = lease_lost)
    }

    /// For how long a record is kept whose work never ended. Default 30 days; never shorter than a
    /// lease.
    #[must_use]
    pub fn with_unresolved_ttl(self, ttl: Duration) -> Self {
        self.edit(|config| config.unresolved_ttl = ttl)
    }

    /// What a request gets when it cannot be claimed. Default [`OnStoreError::Reject`].
    #[must_use]
    pub fn with_on_store_error(self, on_store_error: OnStoreError) -> Self {
        self.edit(|config| config.on_store_error = on_store_error)
    }

    /// Hands the request's body to the handler as it comes, and takes the fingerprint of what the
    /// handler reads. For uploads; the limit is the handler's.
    ///
    /// Whether a duplicate is another request is then only found out when the first is done.
    #[must_use]
    pub fn with_streamed_requests(self) -> Self {
        self.edit(|config| config.streams_request = true)
    }
}

impl IdempotencyLayer<Transactional> {
    /// The *transactional* guarantee, on Postgres or SQLite: what the handler writes through
    /// `RequestTransaction` and the record commit together. A crash anywhere means that nothing
    /// happened.
    pub fn transactional(store: impl TransactionalStore) -> Unscoped<Transactional> {
        Unscoped::new(Engine::Transactional(Arc::new(store)))
    }
}

impl<M> Unscoped<M> {
    fn new(engine: Engine) -> Self {
        Self {
            engine,
            guarantee: PhantomData,
        }
    }

    /// Keys belong to the principal that `scope` finds in the request, which authentication has put
    /// into its extensions. Without one, a request with a key is refused with 403 and an error is logged:
    /// most likely this layer stands outside of authentication.
    #[must_use]
    pub fn scope(
        self,
        scope: impl Fn(&request::Parts) -> Option<Scope> + Send + Sync + 'static,
    ) -> IdempotencyLayer<M> {
        self.scoped(Arc::new(scope))
    }

    /// All keys belong to one client: whoever else can reach the service and knows a key can read
    /// the answer.
    #[must_use]
    pub fn single_tenant(self) -> IdempotencyLayer<M> {
        self.scoped(Arc::new(|_| Some(Scope::single_tenant())))
    }

    fn scoped(self, scope: ScopeFn) -> IdempotencyLayer<M> {
        IdempotencyLayer {
            config: Arc::new(Config::new(scope)),
            shared: Arc::new(Shared {
                engine: self.engine,
                in_process: Arc::default(),
                running: Arc::default(),
                replay_cache: ReplayCache::default(),
            }),
            guarantee: PhantomData,
        }
    }
}

impl<M> IdempotencyLayer<M> {
    /// Services that share a store, but not their keys, have names of their own. Default: none.
    #[must_use]
    pub fn with_namespace(self, namespace: impl Into<Box<str>>) -> Self {
        self.edit(|config| config.namespace = namespace.into())
    }

    /// Answers `POST` and `PATCH` without a key with 400. Default: they pass.
    #[must_use]
    pub fn with_required_key(self) -> Self {
        self.edit(|config| config.required = true)
    }

    /// Which forms of the header are taken. Default [`KeySyntax::Lenient`].
    #[must_use]
    pub fn with_key_syntax(self, syntax: KeySyntax) -> Self {
        self.edit(|config| config.syntax = syntax)
    }

    /// For how long answers are kept. Default 24 h. It belongs into the documentation of the API
    /// (draft-ietf-httpapi-idempotency-key-header section 2.3).
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        self.edit(|config| config.retention = retention)
    }

    /// How long a handler may work, its answer included. Default 10 min. Then it is dropped: under a
    /// lease that is a lost lease, in a transaction everything is rolled back.
    #[must_use]
    pub fn with_max_execution(self, max_execution: Duration) -> Self {
        self.edit(|config| config.max_execution = max_execution)
    }

    /// How long a call to the store may take. Default 5 s.
    #[must_use]
    pub fn with_store_timeout(self, timeout: Duration) -> Self {
        self.edit(|config| config.store_timeout = timeout)
    }

    /// What a duplicate gets while the first request is worked on. Default [`InFlight::Reject`].
    #[must_use]
    pub fn with_in_flight(self, in_flight: InFlight) -> Self {
        self.edit(|config| config.in_flight = in_flight)
    }

    /// What `Retry-After` says in answers of 409 and 503, rounded up to seconds. Default 1 s.
    #[must_use]
    pub fn with_retry_after(self, delay: Duration) -> Self {
        self.edit(|config| config.retry_after = delay)
    }

    /// The longest request body, which is read before the handler is called. Default 1 MiB; a longer
    /// one gets 413. Without effect on streamed requests.
    #[must_use]
    pub fn with_max_request_bytes(self, bytes: usize) -> Self {
        self.edit(|config| config.max_request_bytes = bytes)
    }

    /// The longest answer body that is kept. Default 1 MiB. Of a longer one the status and the headers
    /// are kept, it is sent as it comes, and retries get 409 `idempotency-answer-unavailable`.
    #[must_use]
    pub fn with_max_answer_bytes(self, bytes: usize) -> Self {
        self.edit(|config| config.max_answer_bytes = bytes)
    }

    /// How many bytes of answers this process keeps in memory, shared by all clones. Default 8 MiB;
    /// 0 asks the store each time. An answer stays for at most a minute, which is how long an
    /// [erased](Self::erase_scope) one may still be replayed by another process.
    #[must_use]
    pub fn with_replay_cache_bytes(self, bytes: usize) -> Self {
        self.edit(|config| config.replay_cache_bytes = bytes)
    }

    /// A header that is not kept, beside those that never are (the guide has the list).
    #[must_use]
    pub fn with_header_not_kept(self, name: HeaderName) -> Self {
        self.edit(|config| config.not_kept.push(name))
    }

    /// What the target of a request is for its fingerprint. Default: path and query as this layer
    /// sees them, which inside of a nested router lacks the prefix.
    #[must_use]
    pub fn with_target(
        self,
        target: impl Fn(&request::Parts) -> String + Send + Sync + 'static,
    ) -> Self {
        self.edit(|config| config.target = Some(Arc::new(target)))
    }

    /// What becomes of an answer, where `outcome` gives something and the answer has no [`Outcome`]
    /// in its extensions. Default: the table of the guide.
    #[must_use]
    pub fn with_outcome(
        self,
        outcome: impl Fn(&response::Parts) -> Option<Outcome> + Send + Sync + 'static,
    ) -> Self {
        self.edit(|config| config.outcome = Some(Arc::new(outcome)))
    }

    /// Encrypts or compresses what is stored.
    #[must_use]
    pub fn with_codec(self, codec: impl AnswerCodec) -> Self {
        self.edit(|config| config.codec = Some(Arc::new(codec)))
    }

    /// Tells what happens.
    #[must_use]
    pub fn with_observer(self, observer: impl Observer) -> Self {
        self.edit(|config| config.observer = Some(Arc::new(observer)))
    }

    /// Refuses, with 412, requests that were first sent longer ago than the [retention](Self::with_retention),
    /// by a header that all attempts of an operation repeat: an HTTP date, as
    /// `Repeatability-First-Sent` of OASIS Repeatable Requests 1.0. Without the header a request passes. Such
    /// a request may have been executed and forgotten, and would be executed again.
    #[must_use]
    pub fn with_first_sent(self, name: HeaderName) -> Self {
        self.edit(|config| config.first_sent = Some(name))
    }

    /// Judges [`with_first_sent`](Self::with_first_sent) by this clock. Default: the process's.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        self.edit(|config| config.clock = Arc::new(clock))
    }

    /// Where the API's rules for keys are described: the target of `Link: …; rel="describedby"`.
    /// Default: the problem type.
    #[must_use]
    pub fn with_described_by(self, uri: UriRef) -> Self {
        self.edit(|config| config.described_by = Some(uri))
    }

    /// Replaces the problem documents of this layer's refusals.
    #[must_use]
    pub fn with_rejection_response(
        self,
        render: impl Fn(&Rejection, &Protocol) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.edit(|config| config.render = Some(Arc::new(render)))
    }

    /// Waits until nothing with a key is being worked on any more, in this process and by clones of this
    /// layer, handlers whose client has left included. For a graceful shutdown, after the
    /// server has stopped to take requests.
    ///
    /// # Errors
    ///
    /// [`DrainError`] at the end of `deadline`: what is still running ends with the process, which
    /// is a crash like any other.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the wait and nothing else.
    pub async fn drain(&self, deadline: Duration) -> Result<(), DrainError> {
        self.shared.running.drain(deadline).await
    }

    /// Erases all answers kept for a principal, here and in the store, and says how many there were.
    /// What was executed is remembered without its answer; a retry gets 409
    /// `idempotency-answer-unavailable`. What is being worked on is not touched. Other processes may replay
    /// from memory for another minute.
    ///
    /// # Errors
    ///
    /// The store's; asking again is safe.
    pub async fn erase_scope(&self, scope: &Scope) -> Result<u64, StoreError> {
        let scope = ScopeId::new(&self.config.namespace, scope);
        self.shared.replay_cache.remove_scope(scope);
        let store = self.shared.engine.store();
        let limit = self.config.store_timeout;
        let erase = store.erase_scope(&scope);
        let erased = deadline(store.name(), "erase scope", limit, erase).await;
        // What was read from the store in between.
        self.shared.replay_cache.remove_scope(scope);
        erased
    }

    fn edit(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl Engine {
    pub(crate) fn store(&self) -> &dyn IdempotencyStore {
        match self {
            Self::Leased(store) => &**store,
            Self::Transactional(store) => &**store,
        }
    }
}

impl<S, M> Layer<S> for IdempotencyLayer<M> {
    type Service = Idempotency<S>;

    fn layer(&self, inner: S) -> Idempotency<S> {
        Idempotency::new(inner, Arc::clone(&self.config), Arc::clone(&self.shared))
    }
}

impl<M> Clone for IdempotencyLayer<M> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            shared: Arc::clone(&self.shared),
            guarantee: PhantomData,
        }
    }
}

impl<M> fmt::Debug for IdempotencyLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer")
            .field("config", &self.config)
            .field("shared", &self.shared)
            .finish()
    }
}
