//! What the tests share: a database of their own, ids, leases, answers.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::Extensions;
use purlin_idempotency::store::{
    Begun, Claim, Claimed, Completion, Existing, Lease, State, TransactionalStore as _, UnitOfWork,
};
use purlin_idempotency::{
    Fingerprint, IdempotencyStore as _, Key, KeySyntax, PostgresStore, RecordId,
    RequestTransaction, Scope,
};
use purlin_store::postgres::PostgresConfig;
use purlin_store::testing::ManualClock;
use purlin_testkit::TestDatabase;
use sqlx::{PgPool, Postgres};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A database with the tables, and a table for what handlers write.
pub(crate) struct Db {
    pub(crate) pool: PgPool,
    pub(crate) store: PostgresStore,
    pub(crate) clock: ManualClock,
    pub(crate) database: TestDatabase,
}

impl Db {
    pub(crate) async fn create() -> Option<Self> {
        Self::with_connections(10).await
    }

    pub(crate) async fn with_connections(connections: u32) -> Option<Self> {
        let database = TestDatabase::create()?;
        let pool = pool(&database.url(), connections).await;
        let clock = clock();
        let store = PostgresStore::new(pool.clone()).with_clock(clock.clone());
        store.migrate().await.unwrap();
        sqlx::raw_sql("create table effects (id bytea not null)")
            .execute(&pool)
            .await
            .unwrap();
        Some(Self {
            pool,
            store,
            clock,
            database,
        })
    }

    /// How often the work of an id has had its effect.
    pub(crate) async fn effects(&self, id: &RecordId) -> i64 {
        effects(&self.pool, id).await
    }
}

pub(crate) async fn effects(pool: &PgPool, id: &RecordId) -> i64 {
    sqlx::query_scalar("select count(*) from effects where id = $1")
        .bind(id.as_bytes().as_slice())
        .fetch_one(pool)
        .await
        .unwrap()
}

pub(crate) async fn pool(url: &str, connections: u32) -> PgPool {
    PostgresConfig::new(url)
        .unwrap()
        .with_max_connections(connections)
        .with_acquire_timeout(MINUTE)
        .connect()
        .await
        .unwrap()
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

pub(crate) async fn lease(store: &PostgresStore, id: RecordId) -> Lease {
    acquired(store.claim(&Claim::new(id, MINUTE)).await.unwrap())
}

/// The answer of a completed record; `None` when there is no record.
pub(crate) async fn answer(store: &PostgresStore, id: &RecordId) -> Option<Bytes> {
    match store.get(id).await.unwrap()?.state {
        State::Completed { answer, .. } => Some(answer),
        state => panic!("{state:?}"),
    }
}

pub(crate) async fn started(store: &PostgresStore, id: &RecordId) -> Box<dyn UnitOfWork> {
    match store.begin(id).await.unwrap() {
        Begun::Started(unit) => unit,
        begun => panic!("{begun:?}"),
    }
}

/// What a handler does: it takes the transaction out of the request's extensions.
pub(crate) fn shared(unit: &mut dyn UnitOfWork) -> RequestTransaction<Postgres> {
    let mut extensions = Extensions::new();
    unit.share(&mut extensions);
    RequestTransaction::take(&extensions).unwrap()
}

pub(crate) async fn write_effect(transaction: &mut sqlx::PgConnection, id: &RecordId) {
    sqlx::query("insert into effects values ($1)")
        .bind(id.as_bytes().as_slice())
        .execute(transaction)
        .await
        .unwrap();
}

/// A unit of work whose handler has written its effect.
pub(crate) async fn worked(store: &PostgresStore, id: &RecordId) -> Box<dyn UnitOfWork> {
    let mut unit = started(store, id).await;
    write_effect(&mut shared(&mut *unit), id).await;
    unit
}
