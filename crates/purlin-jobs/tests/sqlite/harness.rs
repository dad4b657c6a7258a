use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use purlin_jobs::store::{Claim, Claimed, Counts, Enqueued, Entry, Outcome, Settled, Settlement};
use purlin_jobs::{
    JobAdmin as _, JobId, JobStore as _, LeaseId, Options, QueueName, SqliteStore, WorkerId,
};
use purlin_store::sqlite::{Durability, SqliteConfig};
use purlin_store::testing::ManualClock;
use purlin_testkit::TestFile;
use sqlx::SqlitePool;
use uuid::Uuid;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// A file with the tables of the store, and a store in it.
pub(crate) struct Place {
    pub(crate) file: TestFile,
    pub(crate) pool: SqlitePool,
    pub(crate) store: SqliteStore,
    pub(crate) clock: ManualClock,
}

/// Tests kill processes and never the kernel, so that nothing waits for the disk.
pub(crate) fn config(path: impl AsRef<Path>) -> SqliteConfig {
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
    Place {
        file,
        pool,
        store,
        clock,
    }
}

/// A store in the same file with a pool of its own, as another process has it.
pub(crate) async fn second(place: &Place, busy_timeout: Duration) -> SqliteStore {
    let config = config(place.file.path()).with_busy_timeout(busy_timeout);
    let pool = config.connect().await.unwrap();
    SqliteStore::new(pool).with_clock(place.clock.clone())
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
}

pub(crate) fn id(n: u128) -> JobId {
    JobId::from_uuid(Uuid::from_u128(n))
}

pub(crate) fn lease(n: u128) -> LeaseId {
    LeaseId::from_uuid(Uuid::from_u128(n))
}

pub(crate) fn worker(n: u128) -> WorkerId {
    WorkerId::from_uuid(Uuid::from_u128(n))
}

pub(crate) fn job(n: u128) -> Entry {
    job_with(n, |options| options)
}

pub(crate) fn job_with(n: u128, change: impl FnOnce(Options) -> Options) -> Entry {
    Entry {
        id: id(n),
        kind: "work".to_owned(),
        version: 1,
        payload: "{}".into(),
        traceparent: None,
        options: change(Options::new()),
        parents: Vec::new(),
    }
}

pub(crate) async fn add(store: &SqliteStore, entry: Entry) {
    let id = entry.id;
    assert_eq!(store.enqueue(&[entry]).await.unwrap(), [Enqueued::New(id)]);
}

/// By a worker that has joined as number 1.
pub(crate) fn claim_of(n: u128, limit: u16) -> Claim {
    Claim {
        worker: worker(1),
        lease: lease(n),
        queue: QueueName::DEFAULT,
        kinds: vec!["work".to_owned()],
        limit,
    }
}

pub(crate) async fn claim(store: &SqliteStore, n: u128, limit: u16) -> Vec<Claimed> {
    store.join(worker(1), HOUR).await.unwrap();
    store.claim(&claim_of(n, limit)).await.unwrap()
}

pub(crate) fn ends(jobs: &[Claimed], outcome: &Outcome) -> Vec<Settlement> {
    let end = |job: &Claimed| Settlement {
        id: job.id,
        outcome: outcome.clone(),
    };
    jobs.iter().map(end).collect()
}

pub(crate) async fn settle(store: &SqliteStore, n: u128, job: u128, outcome: Outcome) -> Settled {
    let settlement = Settlement {
        id: id(job),
        outcome,
    };
    store.settle(lease(n), &[settlement]).await.unwrap()[0]
}

/// How many jobs are ready, scheduled, leased, dead and cancelled.
pub(crate) async fn counts(store: &SqliteStore) -> [u64; 5] {
    let Counts {
        ready,
        scheduled,
        leased,
        dead,
        cancelled,
        ..
    } = store.counts(None).await.unwrap();
    [ready, scheduled, leased, dead, cancelled]
}

pub(crate) fn retry() -> Outcome {
    Outcome::Retry {
        after: MINUTE,
        error: "it did not work".to_owned(),
    }
}

pub(crate) fn discard() -> Outcome {
    Outcome::Discard {
        error: "it never will".to_owned(),
    }
}
