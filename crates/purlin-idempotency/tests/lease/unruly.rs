//! A memory store whose calls fail or stand still when a test says so; a process cannot cut itself
//! off from its own memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use purlin_idempotency::{
    IdempotencyLayer, IdempotencyStore, Key, KeySyntax, Leased, MemoryStore, RecordId, Scope,
    ScopeId,
    store::{Claim, Claimed, Completion, Existing, Fenced, Lease},
};
use purlin_store::{StoreError, StoreErrorKind, testing::ManualClock};
use tokio::sync::Semaphore;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done.
    Before,
    /// It is done, and its answer lost.
    After,
    /// It is done, and its answer comes when it is let go.
    Held,
    /// As held, but what comes is a panic.
    Panics,
    /// It is not done, and no answer comes.
    Hangs,
}

#[derive(Clone, Debug)]
pub(crate) struct Unruly {
    pub(crate) memory: MemoryStore,
    pub(crate) clock: ManualClock,
    plan: Arc<Mutex<Plan>>,
    /// Permits for answers that are held, and how many there are.
    pub(crate) let_go: Arc<Semaphore>,
    pub(crate) holding: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Plan {
    calls: HashMap<&'static str, usize>,
    faults: HashMap<&'static str, (Fault, usize)>,
}

impl Unruly {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_000));
        Self {
            memory: MemoryStore::new().with_clock(clock.clone()),
            clock,
            plan: Arc::default(),
            let_go: Arc::new(Semaphore::new(0)),
            holding: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) fn layer(&self) -> IdempotencyLayer<Leased> {
        let layer = IdempotencyLayer::leased(self.clone()).single_tenant();
        layer.with_replay_cache_bytes(0)
    }

    /// The next `times` calls of `operation` fail so.
    pub(crate) fn fails(&self, operation: &'static str, fault: Fault, times: usize) {
        let mut plan = self.plan.lock().expect("nobody panics");
        plan.faults.insert(operation, (fault, times));
    }

    pub(crate) fn calls(&self, operation: &'static str) -> usize {
        let plan = self.plan.lock().expect("nobody panics");
        plan.calls.get(operation).copied().unwrap_or_default()
    }

    pub(crate) fn all_calls(&self) -> usize {
        self.plan
            .lock()
            .expect("nobody panics")
            .calls
            .values()
            .sum()
    }

    pub(crate) async fn record(&self) -> Option<Existing> {
        let key = Key::parse(b"k", KeySyntax::Lenient).expect("is a key");
        let id = RecordId::new("", &Scope::single_tenant(), &key);
        self.memory.get(&id).await.expect("memory does not fail")
    }

    async fn on<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = {
            let mut plan = self.plan.lock().expect("nobody panics");
            *plan.calls.entry(operation).or_default() += 1;
            match plan.faults.get_mut(operation) {
                Some((fault, times)) if *times > 0 => {
                    *times -= 1;
                    Some(*fault)
                }
                _ => None,
            }
        };
        let error = || {
            Err(StoreError::new(
                StoreErrorKind::Unavailable,
                "unruly",
                operation,
            ))
        };
        match fault {
            None => {
                // As over a network: the request is sent, and its answer awaited.
                tokio::task::yield_now().await;
                let result = call.await;
                tokio::task::yield_now().await;
                result
            }
            Some(Fault::Before) => error(),
            Some(Fault::After) => call.await.and_then(|_| error()),
            Some(fault @ (Fault::Held | Fault::Panics)) => {
                let result = call.await;
                self.holding.add_permits(1);
                self.let_go.acquire().await.expect("is open").forget();
                assert_ne!(fault, Fault::Panics);
                result
            }
            Some(Fault::Hangs) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl IdempotencyStore for Unruly {
    fn name(&self) -> &'static str {
        "unruly"
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        self.on("claim", self.memory.claim(claim)).await
    }

    async fn extend(&self, lease: &Lease, ttl: Duration) -> Result<Fenced, StoreError> {
        self.on("extend", self.memory.extend(lease, ttl)).await
    }

    async fn complete(&self, lease: &Lease, completion: &Completion) -> Result<Fenced, StoreError> {
        let complete = self.memory.complete(lease, completion);
        self.on("complete", complete).await
    }

    async fn release(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        self.on("release", self.memory.release(lease)).await
    }

    async fn abandon(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        self.on("abandon", self.memory.abandon(lease)).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Existing>, StoreError> {
        self.on("get", self.memory.get(id)).await
    }

    async fn remove(&self, id: &RecordId) -> Result<bool, StoreError> {
        self.on("remove", self.memory.remove(id)).await
    }

    async fn erase_scope(&self, scope: &ScopeId) -> Result<u64, StoreError> {
        self.on("erase_scope", self.memory.erase_scope(scope)).await
    }

    async fn purge_expired(&self, limit: u32) -> Result<u64, StoreError> {
        self.on("purge_expired", self.memory.purge_expired(limit))
            .await
    }
}
