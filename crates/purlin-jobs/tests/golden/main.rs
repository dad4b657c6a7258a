//! Rows that a release has written are read, run and replayed by this one. The rows are fixed SQL,
//! so that a change of how this code writes them does not change what it is asked to read.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use purlin_jobs::store::{Claim, Enqueued, Entry, JobView, Rescue, Rescued, State};
use purlin_jobs::{
    Emptied, Job, JobAdmin, JobContext, JobId, LeaseId, Options, PostgresStore, QueueName,
    SqliteStore, Unique, Worker, WorkerId, handler_fn,
};
use purlin_store::postgres::PostgresConfig;
use purlin_store::sqlite::SqliteConfig;
use purlin_store::testing::ManualClock;
use purlin_testkit::{TestDatabase, TestFile};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

const POSTGRES: &str = include_str!("postgres_v1.sql");
const SQLITE: &str = include_str!("sqlite_v1.sql");

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// So long after the epoch of the rows, 2027-01-15 08:00:00 UTC.
fn at(after: Duration) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000) + after
}

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[derive(Serialize, Deserialize)]
struct SendReceipt {
    order: u64,
}

impl Job for SendReceipt {
    const KIND: &'static str = "send_receipt";

    fn upcast(from: u16, payload: Value) -> Result<Self, serde_json::Error> {
        assert_eq!(from, 40_000);
        serde_json::from_value(payload["old_order"].clone()).map(|order| Self { order })
    }
}

fn id(n: u128) -> JobId {
    JobId::from_uuid(Uuid::from_u128(n))
}

/// What an operator sees of a job.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    state: State,
    queue: &'static str,
    version: u16,
    payload: &'static str,
    failures: u16,
    crashes: u16,
    max_attempts: u16,
    failure: Option<(&'static str, SystemTime)>,
    enqueued_at: SystemTime,
    run_at: Option<SystemTime>,
    finished_at: Option<SystemTime>,
}

impl Seen {
    fn new(n: u64, state: State, payload: &'static str) -> Self {
        let enqueued_at = at(micros(n));
        Self {
            state,
            queue: "default",
            version: 1,
            payload,
            failures: 0,
            crashes: 0,
            max_attempts: 20,
            failure: None,
            enqueued_at,
            run_at: (state == State::Ready).then_some(enqueued_at),
            finished_at: None,
        }
    }

    fn assert_is(&self, view: &JobView) {
        let failure = view.failure.as_ref();
        assert_eq!(
            (view.kind.as_str(), view.state),
            ("send_receipt", self.state)
        );
        assert_eq!(
            (view.queue.as_str(), view.version),
            (self.queue, self.version)
        );
        assert_eq!(view.payload, self.payload);
        let counts = (view.failures, view.crashes, view.max_attempts);
        assert_eq!(counts, (self.failures, self.crashes, self.max_attempts));
        assert_eq!(failure.map(|it| (it.error.as_str(), it.at)), self.failure);
        let times = (view.enqueued_at, view.run_at, view.finished_at);
        assert_eq!(times, (self.enqueued_at, self.run_at, self.finished_at));
    }
}

fn rows() -> Vec<(u128, Seen)> {
    vec![
        (1, Seen::new(1, State::Ready, r#"{"order":1}"#)),
        (
            2,
            Seen {
                queue: "mail",
                version: 40_000,
                failures: 2,
                crashes: 1,
                max_attempts: 3,
                failure: Some(("no answer", at(secs(1)))),
                ..Seen::new(2, State::Ready, r#"{"old_order":2}"#)
            },
        ),
        (
            3,
            Seen {
                run_at: Some(at(DAY)),
                ..Seen::new(3, State::Scheduled, r#"{"order":3}"#)
            },
        ),
        (4, Seen::new(4, State::Leased, r#"{"order":4}"#)),
        (
            5,
            Seen {
                failures: 20,
                failure: Some(("no such order", at(secs(2)))),
                finished_at: Some(at(secs(2))),
                ..Seen::new(5, State::Dead, r#"{"order":5}"#)
            },
        ),
        (
            6,
            Seen {
                finished_at: Some(at(secs(3))),
                ..Seen::new(6, State::Cancelled, r#"{"order":6}"#)
            },
        ),
        (7, Seen::new(7, State::Leased, r#"{"order":7}"#)),
        (
            8,
            Seen {
                queue: "paused",
                ..Seen::new(8, State::Ready, r#"{"order":8}"#)
            },
        ),
        (10, Seen::new(10, State::Ready, r#"{"order":10}"#)),
    ]
}

async fn counts(store: &impl JobAdmin) -> [u64; 5] {
    let counts = store.counts(None).await.unwrap();
    [
        counts.ready,
        counts.scheduled,
        counts.leased,
        counts.dead,
        counts.cancelled,
    ]
}

async fn state(store: &impl JobAdmin, n: u128) -> State {
    store.get(id(n)).await.unwrap().unwrap().state
}

/// Enqueues one of this id, or of this key.
async fn enqueue(store: &impl JobAdmin, id: JobId, unique: Option<Unique>) -> Enqueued {
    let mut options = Options::new();
    options.unique = unique;
    let entry = Entry {
        id,
        kind: SendReceipt::KIND.to_owned(),
        version: 1,
        payload: "{}".into(),
        parents: Vec::new(),
        traceparent: None,
        options,
    };
    store.enqueue(&[entry]).await.unwrap()[0]
}

async fn keys_are_held(store: &impl JobAdmin, held: &[(Unique, u128)]) {
    for (unique, holder) in held {
        let enqueued = enqueue(store, JobId::new(), Some(*unique)).await;
        assert_eq!(enqueued, Enqueued::Existing(id(*holder)), "{unique:?}");
    }
}

/// What operators and dead workers leave to be done.
async fn are_read_and_mended(store: &impl JobAdmin) {
    assert_eq!(counts(store).await, [4, 1, 2, 1, 1]);
    for (n, seen) in rows() {
        seen.assert_is(&store.get(id(n)).await.unwrap().unwrap());
        assert_eq!(enqueue(store, id(n), None).await, Enqueued::Existing(id(n)));
    }
    let held = [
        (Unique::until_done("golden"), 2),
        (Unique::for_period("golden period", DAY), 3),
        (Unique::until_start("golden start"), 10),
    ];
    keys_are_held(store, &held).await;

    let worker = WorkerId::new();
    store.join(worker, DAY).await.unwrap();
    let claim = Claim {
        worker,
        lease: LeaseId::new(),
        queue: QueueName::new("paused").unwrap(),
        kinds: vec![SendReceipt::KIND.to_owned()],
        limit: 10,
    };
    assert_eq!(store.claim(&claim).await.unwrap(), []);
    assert!(store.resume(&claim.queue).await.unwrap());
    store.leave(worker).await.unwrap();

    let rescue = Rescue {
        limit: 10,
        max_crashes: 3,
    };
    let rescued = Rescued {
        workers: 1,
        ready: 1,
        dead: 0,
    };
    assert_eq!(store.rescue(&rescue).await.unwrap(), rescued);
    assert_eq!(state(store, 4).await, State::Ready);
    assert_eq!(state(store, 7).await, State::Cancelled);
    assert!(store.replay(id(5)).await.unwrap());
    assert_eq!(state(store, 5).await, State::Ready);
    keys_are_held(store, &[(Unique::until_done("golden dead"), 5)]).await;
    assert_eq!(counts(store).await, [6, 1, 0, 0, 2]);
}

/// The order, the attempt, the crashes and the trace.
type Run = (u64, u16, u16, Option<String>);

async fn are_run<S: JobAdmin + Clone>(store: &S) -> BTreeSet<Run> {
    let runs = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&runs);
    let handler = handler_fn(move |job: SendReceipt, context: JobContext| {
        let info = context.info();
        let run = (
            job.order,
            info.attempt,
            info.crashes,
            info.traceparent.clone(),
        );
        let is_new = seen.lock().unwrap().insert(run);
        assert!(is_new);
        async { Ok(()) }
    });
    let queue = |name: &'static str| QueueName::new(name).unwrap();
    let worker = Worker::new(store.clone())
        .register(handler)
        .with_queue(QueueName::DEFAULT, 5)
        .with_queue(queue("mail"), 5)
        .with_queue(queue("paused"), 5);
    let emptied = worker.run_until_empty(secs(60)).await.unwrap();
    assert_eq!(emptied, Emptied::Empty);
    let runs = runs.lock().unwrap();
    runs.clone()
}

async fn scene<S: JobAdmin + Clone>(store: &S, clock: &ManualClock) {
    are_read_and_mended(store).await;
    clock.advance(DAY);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let expected = [
        (1, 1, 0, None),
        (2, 3, 1, Some(trace.to_owned())),
        (3, 1, 0, None),
        (4, 1, 1, None),
        (5, 1, 0, None),
        (8, 1, 0, None),
        (10, 1, 0, None),
    ];
    assert_eq!(are_run(store).await, BTreeSet::from(expected));
    assert_eq!(counts(store).await, [0, 0, 0, 0, 2]);
    for key in ["golden", "golden period", "golden start", "golden dead"] {
        let new = JobId::new();
        let enqueued = enqueue(store, new, Some(Unique::until_done(key))).await;
        assert_eq!(enqueued, Enqueued::New(new), "{key} is free");
    }
    assert_eq!(store.purge_finished(Duration::ZERO, 100).await.unwrap(), 2);
}

fn clock() -> ManualClock {
    ManualClock::new(at(HOUR))
}

#[tokio::test]
async fn postgres() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let config = PostgresConfig::new(&database.url()).unwrap();
    let pool = config.connect().await.unwrap();
    let clock = clock();
    let store = PostgresStore::new(pool.clone()).with_clock(clock.clone());
    store.migrate().await.unwrap();
    sqlx::raw_sql(POSTGRES).execute(&pool).await.unwrap();
    scene(&store, &clock).await;
}

#[tokio::test]
async fn sqlite() {
    let file = TestFile::new();
    let pool = SqliteConfig::new(file.path()).connect().await.unwrap();
    let clock = clock();
    let store = SqliteStore::new(pool.clone()).with_clock(clock.clone());
    store.migrate().await.unwrap();
    sqlx::raw_sql(SQLITE).execute(&pool).await.unwrap();
    scene(&store, &clock).await;
}
