//! What the tests share: a database of their own, jobs, workers.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use purlin_jobs::store::{Claim, Claimed, Entry, On, Outcome, Parent, Settled, Settlement};
use purlin_jobs::store::{
    Filter, Firing, JobAdmin as _, Page, Rescue, ScheduleEntry, ScheduleStore as _,
};
use purlin_jobs::store::{Found, KeptResult, Note, NoteKind, NoteStore as _, Noted, Signalled};
use purlin_jobs::{
    Group, JobId, JobStore as _, LeaseId, Options, PostgresStore, QueueName, Rate,
    TransactionalJobStore as _, Unique, WorkerId,
};
use purlin_store::postgres::PostgresConfig;
use purlin_store::testing::ManualClock;
use purlin_testkit::TestDatabase;
use sqlx::PgPool;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A database with the tables.
pub(crate) struct Db {
    pub(crate) pool: PgPool,
    pub(crate) store: PostgresStore,
    pub(crate) clock: ManualClock,
    _database: TestDatabase,
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
        Some(Self {
            pool,
            store,
            clock,
            _database: database,
        })
    }
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

pub(crate) fn job() -> Entry {
    job_with(|options| options)
}

pub(crate) fn job_with(options: impl FnOnce(Options) -> Options) -> Entry {
    Entry {
        id: JobId::new(),
        kind: "send_receipt".to_owned(),
        version: 1,
        payload: Bytes::from_static(b"{\"order\":\"0192d3f4\",\"lang\":12}"),
        traceparent: None,
        options: options(Options::new()),
        parents: Vec::new(),
    }
}

pub(crate) fn done(ids: impl IntoIterator<Item = JobId>) -> Vec<Settlement> {
    let settle = |id| Settlement {
        id,
        outcome: Outcome::Done,
    };
    ids.into_iter().map(settle).collect()
}

pub(crate) fn settlement(id: JobId, outcome: Outcome) -> [Settlement; 1] {
    [Settlement { id, outcome }]
}

pub(crate) fn retry(after: Duration) -> Outcome {
    Outcome::Retry {
        after,
        error: "no answer".to_owned(),
    }
}

pub(crate) fn discard() -> Outcome {
    Outcome::Discard {
        error: "no such order".to_owned(),
    }
}

/// A worker that is alive for an hour.
pub(crate) async fn worker(store: &PostgresStore) -> WorkerId {
    let worker = WorkerId::new();
    store.join(worker, HOUR).await.unwrap();
    worker
}

pub(crate) fn claim_of(worker: WorkerId, limit: u16) -> Claim {
    Claim {
        worker,
        lease: LeaseId::new(),
        queue: QueueName::DEFAULT,
        kinds: vec!["send_receipt".to_owned()],
        limit,
    }
}

pub(crate) async fn claim(
    store: &PostgresStore,
    worker: WorkerId,
    limit: u16,
) -> (LeaseId, Vec<Claimed>) {
    let claim = claim_of(worker, limit);
    (claim.lease, store.claim(&claim).await.unwrap())
}

/// A job that runs, with its lease.
pub(crate) async fn leased(store: &PostgresStore, entry: Entry) -> (LeaseId, JobId) {
    store.enqueue(&[entry]).await.unwrap();
    let (lease, claimed) = claim(store, worker(store).await, 1).await;
    (lease, claimed[0].id)
}

fn result() -> KeptResult {
    KeptResult {
        value: Bytes::from_static(b"1"),
        ttl: HOUR,
    }
}

/// Keeps notes of a job that runs.
async fn remember(store: &PostgresStore, pool: &PgPool, lease: LeaseId, job: JobId) {
    for kind in [NoteKind::Step, NoteKind::Progress, NoteKind::Wait] {
        let note = Note {
            kind,
            name: "approved".to_owned(),
            value: Some(Bytes::from_static(b"1")),
            due_in: Some(MINUTE),
        };
        assert_eq!(store.note(lease, job, &note).await.unwrap(), Noted::Kept);
        let mut transaction = pool.begin().await.unwrap();
        let noted = store.note_in(&mut transaction, lease, job, &note).await;
        assert_ne!(noted.unwrap(), Noted::Stale);
        transaction.commit().await.unwrap();
    }
    let value = Bytes::from_static(b"1");
    let signalled = store.signal(job, "approved", &value).await;
    assert_eq!(signalled.unwrap(), Signalled::Sent);
    let notes = store.recall(job).await.unwrap().unwrap();
    assert_eq!((notes.signals, notes.notes.len()), (1, 4));
}

/// A group is used up to its end, and a queue without jobs has a rate.
async fn use_groups(store: &PostgresStore, pool: &PgPool) {
    let own = worker(store).await;
    let queue = QueueName::new("limited").unwrap();
    let limits = store.limits().unwrap();
    let rate = Rate::new(100, MINUTE);
    let entry = || {
        let group = Group::new("tenant").with_at_most(1).with_rate(rate);
        job_with(|options| options.with_group(group).with_queue(queue.clone()))
    };
    store.enqueue(&[entry(), entry()]).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    let joined = store.enqueue_in(&mut transaction, &[entry()]).await;
    joined.unwrap();
    transaction.commit().await.unwrap();
    limits.limit_queue(&queue, Some(rate)).await.unwrap();
    for _ in 0..3 {
        let claim = Claim {
            queue: queue.clone(),
            ..claim_of(own, 5)
        };
        let claimed = store.claim(&claim).await.unwrap();
        assert_eq!(claimed.len(), 1);
        let settled = store.settle(claim.lease, &done([claimed[0].id])).await;
        assert_eq!(settled.unwrap(), [Settled::Applied]);
    }
    limits.limit_queue(&queue, None).await.unwrap();
    limits.limit_group("tenant", None).await.unwrap();
    limits.group("tenant").await.unwrap();
    store.leave(own).await.unwrap();
}

/// Makes every call, by whatever statement it can use.
pub(crate) async fn use_it(store: &PostgresStore, pool: &PgPool, clock: Option<&ManualClock>) {
    store.check_schema().await.unwrap();
    let own = worker(store).await;
    store.enqueue(&[job(), job()]).await.unwrap();
    let key = job().id.to_string();
    let keep = Unique::until_done(&key);
    let unique = || job_with(|options| options.with_unique(keep));
    store.enqueue(&[unique(), unique()]).await.unwrap();
    store.enqueue(&[unique()]).await.unwrap();
    let replacing = keep.or_replace();
    let replacing = job_with(|options| options.with_unique(replacing).with_delay(MINUTE));
    store.enqueue(&[replacing]).await.unwrap();
    let period = Unique::for_period(format!("{key} period"), Duration::ZERO);
    for _ in 0..2 {
        let brief = job_with(|options| options.with_unique(period));
        store.enqueue(&[brief]).await.unwrap();
    }
    let mut transaction = pool.begin().await.unwrap();
    let one = job();
    let joined = store.enqueue_in(&mut transaction, &[one, unique()]).await;
    joined.unwrap();
    transaction.commit().await.unwrap();

    use_groups(store, pool).await;
    let (lease, claimed) = claim(store, own, 5).await;
    let ids: Vec<_> = claimed.iter().map(|job| job.id).collect();
    assert_eq!(ids.len(), 5);
    store.heartbeat(own, HOUR).await.unwrap();
    assert!(store.cancel(ids[1]).await.unwrap());
    let settled = store.settle(lease, &done([ids[0]])).await.unwrap();
    assert_eq!(settled, [Settled::Applied]);
    remember(store, pool, lease, ids[2]).await;
    for (id, outcome) in [
        (ids[1], Outcome::Release),
        (ids[2], retry(Duration::ZERO)),
        (ids[3], discard()),
    ] {
        let settled = store.settle(lease, &settlement(id, outcome)).await.unwrap();
        assert_eq!(settled, [Settled::Applied]);
    }
    let mut transaction = pool.begin().await.unwrap();
    let completed = store.complete_in(&mut transaction, lease, ids[4]).await;
    assert_eq!(completed.unwrap(), Settled::Applied);
    let kept = store.keep_in(&mut transaction, ids[4], &result()).await;
    kept.unwrap();
    transaction.commit().await.unwrap();
    assert!(matches!(store.result(ids[4]).await, Ok(Found::Result(_))));

    let parent = job();
    let mut child = job();
    child.parents = vec![Parent {
        id: parent.id,
        on: On::Ended,
    }];
    store.enqueue(&[parent, child]).await.unwrap();

    store.promote(10).await.unwrap();
    store.promote(0).await.unwrap();
    assert!(store.replay(ids[3]).await.unwrap());
    assert!(store.get(ids[3]).await.unwrap().is_some());
    let page = Page {
        after: None,
        limit: 10,
    };
    assert!(
        !store
            .list(&Filter::default(), &page)
            .await
            .unwrap()
            .is_empty()
    );
    store.counts(None).await.unwrap();
    assert!(store.pause(&QueueName::DEFAULT).await.unwrap());
    assert!(store.resume(&QueueName::DEFAULT).await.unwrap());
    let rescue = Rescue {
        limit: 10,
        max_crashes: 3,
    };
    store.rescue(&rescue).await.unwrap();
    if let Some(clock) = clock {
        let dead = worker(store).await;
        claim(store, dead, 1).await;
        clock.advance(HOUR);
        assert!(store.rescue(&rescue).await.unwrap().workers > 0);
    }
    store.leave(own).await.unwrap();
    store.purge_finished(Duration::ZERO, 1_000).await.unwrap();
    use_schedules(store).await;
}

async fn use_schedules(store: &PostgresStore) {
    let entry = ScheduleEntry {
        name: JobId::new().to_string(),
        cron: "* * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
    };
    store.put_schedule(&entry).await.unwrap();
    let schedules = store.list_schedules().await.unwrap().schedules;
    let row = schedules.iter().find(|row| row.entry == entry).unwrap();
    let firing = Firing {
        name: entry.name.clone(),
        since: row.since,
        until: row.since,
        jobs: vec![job()],
    };
    assert_eq!(store.fire_schedule(&firing).await.unwrap(), None);
    assert!(store.pause_schedule(&entry.name).await.unwrap());
    assert!(store.resume_schedule(&entry.name).await.unwrap());
    assert!(store.remove_schedule(&entry.name).await.unwrap());
}
