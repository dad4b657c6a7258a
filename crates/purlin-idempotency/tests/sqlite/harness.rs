use std::time::{Duration, UNIX_EPOCH};

use http::Extensions;
use purlin_idempotency::store::{
    Begun, Claim, Claimed, Completion, Existing, Lease, State, UnitOfWork,
};
use purlin_idempotency::{
    Fingerprint, IdempotencyStore as _, Inbox, RecordId, RequestTransaction, SqliteStore,
    TransactionalStore as _,
};
use purlin_store::sqlite::{Durability, SqliteConfig};
use purlin_store::testing::ManualClock;
use purlin_testkit::TestFile;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// A file with the tables of the store and one of an application, and a store in it.
pub(crate) struct Place {
    pub(crate) file: TestFile,
    pub(crate) pool: SqlitePool,
    pub(crate) store: SqliteStore,
    pub(crate) clock: ManualClock,
}

/// Tests kill processes and never the kernel, so that nothing waits for the disk.
pub(crate) fn config(path: impl AsRef<std::path::Path>) -> SqliteConfig {
    SqliteConfig::new(path)
        .with_durability(Durability::ProcessCrash)
        .with_busy_timeout(MINUTE)
}

pub(crate) async fn place() -> Place {
    let file = TestFile::new();
    let pool = config(file.path()).connect().await.unwrap();
    prepare(file, pool).await
}

pub(crate) async fn prepare(file: TestFile, pool: SqlitePool) -> Place {
    let clock = clock();
    let store = SqliteStore::new(pool.clone()).with_clock(clock.clone());
    store.migrate().await.unwrap();
    sqlx::raw_sql("create table effects (id integer primary key, body blob) strict")
        .execute(&pool)
        .await
        .unwrap();
    Place {
        file,
        pool,
        store,
        clock,
    }
}

/// A store in the same file that does not wait for other writers at all, with a table of its own of the
/// ids that are under way.
pub(crate) async fn impatient(place: &Place) -> SqliteStore {
    let options = SqliteConnectOptions::new()
        .filename(place.file.path())
        .busy_timeout(Duration::ZERO);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    SqliteStore::new(pool).with_clock(place.clock.clone())
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
}

/// Record `n` of `scope`. An inbox makes ids as the layer does.
pub(crate) fn id_in(scope: &str, n: i64) -> RecordId {
    Inbox::new(scope).record_id(&n.to_be_bytes())
}

pub(crate) fn id(n: i64) -> RecordId {
    id_in("tests", n)
}

pub(crate) fn fingerprint(n: u8) -> Fingerprint {
    Fingerprint::from_bytes(&[n; Fingerprint::BYTES]).unwrap()
}

pub(crate) fn completion(answer: &'static str) -> Completion {
    Completion::new(fingerprint(1), answer.into(), HOUR)
}

pub(crate) async fn acquire(store: &SqliteStore, id: RecordId) -> Lease {
    match store.claim(&Claim::new(id, MINUTE)).await.unwrap() {
        Claimed::Acquired(lease) => lease,
        Claimed::Existing(existing) => panic!("{existing:?} stands in the way"),
    }
}

pub(crate) async fn started(store: &SqliteStore, id: &RecordId) -> Box<dyn UnitOfWork> {
    match store.begin(id).await.unwrap() {
        Begun::Started(unit) => unit,
        other => panic!("{other:?} stands in the way"),
    }
}

/// What a handler does: takes the transaction, writes effect `n`, and gives it back.
pub(crate) async fn effect(unit: &mut dyn UnitOfWork, n: i64) {
    let mut extensions = Extensions::new();
    unit.share(&mut extensions);
    let mut transaction = RequestTransaction::<Sqlite>::take(&extensions).unwrap();
    insert_effect(&mut transaction, n).await;
}

pub(crate) async fn insert_effect(connection: &mut SqliteConnection, n: i64) {
    sqlx::query("insert into effects (id) values (?)")
        .bind(n)
        .execute(connection)
        .await
        .unwrap();
}

pub(crate) async fn effects(pool: &SqlitePool) -> Vec<i64> {
    sqlx::query_scalar("select id from effects order by id")
        .fetch_all(pool)
        .await
        .unwrap()
}

/// The answer of a record that is completed; `None` when there is no record.
pub(crate) async fn answer(store: &SqliteStore, id: &RecordId) -> Option<String> {
    match store.get(id).await.unwrap() {
        None => None,
        Some(existing) => match existing.state {
            State::Completed { answer, .. } => Some(String::from_utf8(answer.to_vec()).unwrap()),
            _ => panic!("{existing:?}"),
        },
    }
}

pub(crate) fn existing(claimed: Claimed) -> Existing {
    match claimed {
        Claimed::Existing(existing) => existing,
        Claimed::Acquired(lease) => panic!("acquired {lease:?}"),
    }
}
