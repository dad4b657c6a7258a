//! The points at which a process stands still, to be killed there.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::Extensions;
use purlin_idempotency::{
    IdempotencyStore, RecordId, ScopeId, TransactionalStore,
    store::{Begun, Claim, Claimed, Completion, Existing, Fenced, Lease, Settled, UnitOfWork},
};
use purlin_store::StoreError;
use tokio::{sync::Semaphore, time::timeout};

use crate::{PATIENCE, tell};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// P0
    BeforeClaim,
    /// P1, P2: the claim is made, or the transaction begun, and the handler is not called.
    Claimed,
    /// P3
    InHandler,
    /// P4
    BetweenWrites,
    /// P6
    Written,
    /// The completion has joined the handler's transaction, which is not committed.
    Joined,
    /// P7: the record is there, and who wrote it does not know it.
    Completed,
    /// P8
    BeforeAnswer,
    /// P9: a part of the response is on its way.
    MidAnswer,
    /// P10: the lease was extended while the handler works, before it has written anything.
    Extended,
    /// P11: the process is told to end while the handler is between two writes, and waits for it.
    Draining,
}

impl Point {
    pub(crate) const ALL: [Self; 11] = [
        Self::BeforeClaim,
        Self::Claimed,
        Self::InHandler,
        Self::BetweenWrites,
        Self::Written,
        Self::Joined,
        Self::Completed,
        Self::BeforeAnswer,
        Self::MidAnswer,
        Self::Extended,
        Self::Draining,
    ];

    /// Whether its process knows by then what the store says to the first request.
    pub(crate) fn has_asked(self) -> bool {
        !matches!(self, Self::BeforeClaim | Self::Claimed)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BeforeClaim => "P0 before the claim",
            Self::Claimed => "P2 claimed, handler not called",
            Self::InHandler => "P3 in the handler, before its first write",
            Self::BetweenWrites => "P4 between two writes",
            Self::Written => "P6 written, not completed",
            Self::Joined => "P6 completed in the transaction, not committed",
            Self::Completed => "P7 completed, reply lost",
            Self::BeforeAnswer => "P8 before the response",
            Self::MidAnswer => "P9 in the middle of the response",
            Self::Extended => "P10 in a heartbeat",
            Self::Draining => "P11 in the drain of a shutdown",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|point| point.to_string() == text);
        found.ok_or_else(|| format!("not a point: {text}"))
    }
}

/// Where this process stands still, once.
#[derive(Debug)]
pub(crate) struct Stops {
    point: Option<Point>,
    over: AtomicBool,
    stopped: Semaphore,
    go_on: Semaphore,
}

impl Stops {
    pub(crate) fn new(point: Option<Point>) -> Arc<Self> {
        Arc::new(Self {
            point,
            over: AtomicBool::new(false),
            stopped: Semaphore::new(0),
            go_on: Semaphore::new(0),
        })
    }

    /// Stands still if this is the point, until the test says otherwise.
    pub(crate) async fn at(&self, point: Point) {
        if self.point == Some(point) && !self.over.swap(true, Ordering::SeqCst) {
            self.stopped.add_permits(1);
            tell("stopped");
            let _ = self.go_on.acquire().await;
        }
    }

    /// Keeps the handler at work until a heartbeat has come to that point.
    pub(crate) async fn until_over(&self, point: Point) {
        if self.point == Some(point) && !self.over.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// When it stands still, in this process.
    pub(crate) async fn stopped(&self) {
        let stopped = timeout(PATIENCE, self.stopped.acquire()).await;
        stopped.expect("the point is reached").unwrap().forget();
    }

    pub(crate) fn go_on(&self) {
        self.go_on.add_permits(1);
    }
}

/// What a process says before it asks the store for the work.
pub(crate) const ASKS: &str = "asks";
/// What it says when it has met the transaction of somebody else.
pub(crate) const IS_BUSY: &str = "is busy";

/// A store that stands still before and after its calls.
#[derive(Debug)]
pub(crate) struct Stopping<S> {
    pub(crate) store: S,
    pub(crate) stops: Arc<Stops>,
}

#[async_trait]
impl<S: IdempotencyStore> IdempotencyStore for Stopping<S> {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        tell(ASKS);
        self.stops.at(Point::BeforeClaim).await;
        let claimed = self.store.claim(claim).await;
        if matches!(claimed, Ok(Claimed::Acquired(_))) {
            self.stops.at(Point::Claimed).await;
        }
        claimed
    }

    async fn extend(&self, lease: &Lease, ttl: Duration) -> Result<Fenced, StoreError> {
        let extended = self.store.extend(lease, ttl).await;
        self.stops.at(Point::Extended).await;
        extended
    }

    async fn complete(&self, lease: &Lease, completion: &Completion) -> Result<Fenced, StoreError> {
        let completed = self.store.complete(lease, completion).await;
        self.stops.at(Point::Completed).await;
        completed
    }

    async fn release(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        self.store.release(lease).await
    }

    async fn abandon(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        self.store.abandon(lease).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Existing>, StoreError> {
        self.store.get(id).await
    }

    async fn remove(&self, id: &RecordId) -> Result<bool, StoreError> {
        self.store.remove(id).await
    }

    async fn erase_scope(&self, scope: &ScopeId) -> Result<u64, StoreError> {
        self.store.erase_scope(scope).await
    }

    async fn purge_expired(&self, limit: u32) -> Result<u64, StoreError> {
        self.store.purge_expired(limit).await
    }
}

#[async_trait]
impl<S: TransactionalStore> TransactionalStore for Stopping<S> {
    async fn begin(&self, id: &RecordId) -> Result<Begun, StoreError> {
        tell(ASKS);
        self.stops.at(Point::BeforeClaim).await;
        match self.store.begin(id).await? {
            Begun::Started(unit) => {
                self.stops.at(Point::Claimed).await;
                let stops = Arc::clone(&self.stops);
                Ok(Begun::Started(Box::new(StoppingUnit { unit, stops })))
            }
            Begun::Busy => {
                tell(IS_BUSY);
                Ok(Begun::Busy)
            }
            other => Ok(other),
        }
    }
}

#[derive(Debug)]
struct StoppingUnit {
    unit: Box<dyn UnitOfWork>,
    stops: Arc<Stops>,
}

#[async_trait]
impl UnitOfWork for StoppingUnit {
    fn share(&mut self, extensions: &mut Extensions) {
        self.unit.share(extensions);
    }

    async fn commit(self: Box<Self>, completion: &Completion) -> Result<Settled, StoreError> {
        let settled = self.unit.commit(completion).await;
        self.stops.at(Point::Completed).await;
        settled
    }

    async fn refuse(self: Box<Self>, completion: &Completion) -> Result<Settled, StoreError> {
        self.unit.refuse(completion).await
    }

    async fn roll_back(self: Box<Self>) -> Result<(), StoreError> {
        self.unit.roll_back().await
    }
}
