//! What the cases work with.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use purlin_store::StoreError;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::Harness;
use crate::store::{Claim, Claimed, Completion, Existing, Lease, State};
use crate::{Fingerprint, IdempotencyStore, LeaseLost, RecordId, Scope};

pub(super) const MICRO: Duration = Duration::from_micros(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) type Store = Arc<dyn IdempotencyStore>;

/// Record `n` of the scope `principal`.
pub(super) fn id_of(principal: &str, n: u64) -> RecordId {
    RecordId::of(
        "conformance",
        &Scope::principal(principal),
        &n.to_be_bytes(),
    )
}

pub(super) fn id(n: u64) -> RecordId {
    id_of("alice", n)
}

pub(super) fn fingerprint(n: u8) -> Fingerprint {
    Fingerprint::from_bytes(&[n; Fingerprint::BYTES]).expect("as many bytes as it has")
}

pub(super) fn completion(answer: impl Into<Bytes>) -> Completion {
    Completion::new(fingerprint(1), answer.into(), DAY)
}

/// A claim for a minute that is kept for an hour.
pub(super) fn claim(id: RecordId) -> Claim {
    Claim::new(id, MINUTE).with_unresolved_ttl(HOUR)
}

/// The same that takes over what has lapsed.
pub(super) fn takeover(id: RecordId) -> Claim {
    claim(id).with_lease_lost(LeaseLost::Reexecute)
}

#[track_caller]
pub(super) fn ok<T>(result: Result<T, StoreError>) -> T {
    result.unwrap_or_else(|error| panic!("the store failed: {error:?}"))
}

#[track_caller]
pub(super) fn acquired(result: Result<Claimed, StoreError>) -> Lease {
    match ok(result) {
        Claimed::Acquired(lease) => lease,
        Claimed::Existing(existing) => panic!("{existing:?} stands in the way"),
    }
}

#[track_caller]
pub(super) fn existing(result: Result<Claimed, StoreError>) -> Existing {
    match ok(result) {
        Claimed::Existing(existing) => existing,
        Claimed::Acquired(lease) => panic!("acquired {lease:?}"),
    }
}

pub(super) async fn get(store: &Store, id: RecordId) -> Option<Existing> {
    ok(store.get(&id).await)
}

pub(super) async fn acquire(store: &Store, id: RecordId) -> Lease {
    acquired(store.claim(&claim(id)).await)
}

/// A record whose lease has lapsed, without the clock being moved.
pub(super) async fn lapsed(store: &Store, id: RecordId) -> Lease {
    let claim = Claim::new(id, Duration::ZERO).with_unresolved_ttl(HOUR);
    acquired(store.claim(&claim).await)
}

pub(super) async fn completed(store: &Store, id: RecordId, answer: &'static str) -> Lease {
    let lease = acquire(store, id).await;
    let fenced = ok(store.complete(&lease, &completion(answer)).await);
    assert_eq!(fenced, crate::store::Fenced::Applied);
    lease
}

pub(super) fn in_flight(attempt: u64, remaining: Duration) -> Option<Existing> {
    Some(Existing::new(None, attempt, State::InFlight { remaining }))
}

pub(super) fn done(
    attempt: u64,
    answer: impl Into<Bytes>,
    remaining: Duration,
) -> Option<Existing> {
    let answer = answer.into();
    let state = State::Completed { answer, remaining };
    Some(Existing::new(Some(fingerprint(1)), attempt, state))
}

pub(super) fn has_lapsed(attempt: u64) -> Option<Existing> {
    Some(Existing::new(None, attempt, State::Lapsed))
}

/// Makes `count` calls at the same moment, every other one through the second handle.
pub(super) async fn at_once<T, F>(
    h: &impl Harness,
    count: usize,
    call: impl Fn(usize, Store) -> F,
) -> Vec<T>
where
    T: Debug + Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let stores = [h.store(), h.second()];
    let barrier = Arc::new(Barrier::new(count));
    let mut tasks = JoinSet::new();
    for n in 0..count {
        let (call, barrier) = (call(n, Arc::clone(&stores[n % 2])), Arc::clone(&barrier));
        tasks.spawn(async move {
            barrier.wait().await;
            call.await
        });
    }
    tasks.join_all().await
}
