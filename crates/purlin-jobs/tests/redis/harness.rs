//! What the tests share: a store with keys of its own, jobs, claims.

use std::time::Duration;

use bytes::Bytes;
use purlin_jobs::store::{Claim, Claimed, Entry, Outcome, Settled, Settlement};
use purlin_jobs::testing::conformance::start;
use purlin_jobs::{
    JobId, JobStore as _, LeaseId, Options, QueueName, RedisStore, Unique, WorkerId,
};
use purlin_store::StoreError;
use purlin_store::redis::{KeySpace, RedisConfig, RedisHandle};
use purlin_store::testing::ManualClock;
use purlin_testkit::TestRedis;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const KIND: &str = "work";

/// A store with a prefix of its own on the server of all tests.
pub(crate) struct Place {
    pub(crate) redis: RedisHandle,
    pub(crate) store: RedisStore,
    pub(crate) clock: ManualClock,
    pub(crate) keys: KeySpace,
    pub(crate) _server: TestRedis,
}

impl Place {
    pub(crate) fn create() -> Option<Self> {
        let server = TestRedis::create()?;
        let redis = handle(server.url());
        let keys = KeySpace::new(server.prefix()).unwrap();
        let clock = ManualClock::new(start());
        let store = RedisStore::new(redis.clone())
            .with_key_prefix(keys.clone())
            .with_clock(clock.clone());
        Some(Self {
            redis,
            store,
            clock,
            keys,
            _server: server,
        })
    }
}

/// A handle that waits for as long as a busy machine may take.
pub(crate) fn handle(url: impl Into<String>) -> RedisHandle {
    RedisConfig::node(url).with_timeout(MINUTE).open().unwrap()
}

pub(crate) fn job() -> Entry {
    Entry {
        id: JobId::new(),
        kind: KIND.to_owned(),
        version: 1,
        payload: Bytes::from_static(b"{}"),
        traceparent: None,
        options: Options::new(),
        parents: Vec::new(),
    }
}

pub(crate) fn job_with(change: impl FnOnce(Options) -> Options) -> Entry {
    let mut entry = job();
    entry.options = change(entry.options);
    entry
}

pub(crate) fn unique(unique: Unique) -> Entry {
    job_with(|options| options.with_unique(unique))
}

pub(crate) fn jobs(count: usize) -> Vec<Entry> {
    (0..count).map(|_| job()).collect()
}

/// A worker that lives for long.
pub(crate) async fn worker(store: &RedisStore) -> WorkerId {
    let id = WorkerId::new();
    store.join(id, 24 * HOUR).await.unwrap();
    id
}

/// A claim under a fresh lease.
pub(crate) fn claim_of(worker: WorkerId, limit: u16) -> Claim {
    Claim {
        worker,
        lease: LeaseId::new(),
        queue: QueueName::DEFAULT,
        kinds: vec![KIND.to_owned()],
        limit,
    }
}

pub(crate) fn ends(jobs: &[Claimed], outcome: &Outcome) -> Vec<Settlement> {
    let end = |job: &Claimed| Settlement {
        id: job.id,
        outcome: outcome.clone(),
    };
    jobs.iter().map(end).collect()
}

pub(crate) fn retry() -> Outcome {
    Outcome::Retry {
        after: MINUTE,
        error: "no".to_owned(),
    }
}

pub(crate) fn discard() -> Outcome {
    Outcome::Discard {
        error: "no".to_owned(),
    }
}

/// Claims and settles until nothing is ready; returns what was done.
pub(crate) async fn drain(store: &RedisStore) -> Vec<JobId> {
    let worker = worker(store).await;
    let mut done = Vec::new();
    loop {
        let claim = claim_of(worker, 500);
        let jobs = store.claim(&claim).await.unwrap();
        if jobs.is_empty() {
            return done;
        }
        let settled = store
            .settle(claim.lease, &ends(&jobs, &Outcome::Done))
            .await
            .unwrap();
        assert!(settled.iter().all(|settled| *settled == Settled::Applied));
        done.extend(jobs.into_iter().map(|job| job.id));
    }
}

/// Repeats a call until one succeeds.
pub(crate) async fn until_ok<T>(call: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let begun = std::time::Instant::now();
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => assert!(begun.elapsed() < MINUTE, "it does not recover: {error:?}"),
        }
        tokio::task::yield_now().await;
    }
}
