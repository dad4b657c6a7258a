//! What the tests share: keys of their own, ids, leases, answers.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use purlin_idempotency::store::{Claim, Claimed, Completion, Existing, Lease, State};
use purlin_idempotency::{
    Fingerprint, IdempotencyStore as _, Key, KeySyntax, RecordId, RedisStore, Scope,
};
use purlin_store::StoreError;
use purlin_store::redis::driver::cmd;
use purlin_store::redis::{KeySpace, RedisConfig, RedisHandle};
use purlin_store::testing::ManualClock;
use purlin_testkit::TestRedis;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A store with a prefix of its own on the server of all tests.
pub(crate) struct Place {
    pub(crate) redis: RedisHandle,
    pub(crate) store: RedisStore,
    pub(crate) clock: ManualClock,
    pub(crate) keys: KeySpace,
    pub(crate) server: TestRedis,
}

impl Place {
    pub(crate) fn create() -> Option<Self> {
        let server = TestRedis::create()?;
        let redis = handle(server.url());
        let keys = KeySpace::new(server.prefix()).unwrap();
        let clock = clock();
        let store = RedisStore::new(redis.clone())
            .with_key_prefix(keys.clone())
            .with_clock(clock.clone());
        Some(Self {
            redis,
            store,
            clock,
            keys,
            server,
        })
    }

    /// The key of an id, as the documentation of the store says.
    pub(crate) fn key(&self, id: &RecordId) -> String {
        self.keys.key(&format!("{}:{id}", id.scope()))
    }

    /// What Redis has under the key of an id.
    pub(crate) async fn value(&self, id: &RecordId) -> Option<Vec<u8>> {
        let command = cmd("GET").arg(self.key(id)).clone();
        self.redis.query("get", &command).await.unwrap()
    }

    pub(crate) async fn set_value(&self, id: &RecordId, value: &[u8]) {
        let command = cmd("SET").arg(self.key(id)).arg(value).clone();
        let () = self.redis.query("put", &command).await.unwrap();
    }

    /// For how many more milliseconds Redis keeps it; -1 is for ever, -2 is not at all.
    pub(crate) async fn pttl(&self, id: &RecordId) -> i64 {
        let command = cmd("PTTL").arg(self.key(id)).clone();
        self.redis.query("pttl", &command).await.unwrap()
    }
}

/// A handle that waits for as long as a busy machine may take.
pub(crate) fn handle(url: impl Into<String>) -> RedisHandle {
    RedisConfig::node(url).with_timeout(MINUTE).open().unwrap()
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + Duration::from_micros(1_800_000_000_123_457))
}

pub(crate) fn id(key: impl std::fmt::Display) -> RecordId {
    id_of("alice", key)
}

pub(crate) fn id_of(principal: &str, key: impl std::fmt::Display) -> RecordId {
    let key = Key::parse(format!("key-{key}").as_bytes(), KeySyntax::default()).unwrap();
    RecordId::new("test", &Scope::principal(principal), &key)
}

pub(crate) fn fingerprint(of: u8) -> Fingerprint {
    Fingerprint::from_bytes(&[of; Fingerprint::BYTES]).unwrap()
}

pub(crate) fn completion(answer: &'static str) -> Completion {
    Completion::new(fingerprint(1), Bytes::from_static(answer.as_bytes()), DAY)
}

pub(crate) fn acquired(claimed: Claimed) -> Lease {
    match claimed {
        Claimed::Acquired(lease) => lease,
        Claimed::Existing(existing) => panic!("{existing:?}"),
    }
}

pub(crate) fn existing(claimed: Claimed) -> Existing {
    match claimed {
        Claimed::Acquired(lease) => panic!("{lease:?}"),
        Claimed::Existing(existing) => existing,
    }
}

pub(crate) async fn lease(store: &RedisStore, id: RecordId) -> Lease {
    acquired(store.claim(&Claim::new(id, MINUTE)).await.unwrap())
}

/// The answer of a completed record; `None` when there is no record.
pub(crate) async fn answer(store: &RedisStore, id: &RecordId) -> Option<Bytes> {
    match store.get(id).await.unwrap()?.state {
        State::Completed { answer, .. } => Some(answer),
        state => panic!("{state:?}"),
    }
}

/// Repeats a call, as requests that keep coming do, until one succeeds.
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
