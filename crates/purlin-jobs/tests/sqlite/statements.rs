//! How many statements each call costs, and how SQLite executes them once the tables are large.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use purlin_jobs::store::{
    Entry, Filter, Firing, Found, KeptResult, Note, NoteKind, NoteStore as _, On, Outcome, Page,
    Parent, Rescue, ScheduleEntry, ScheduleStore as _, Settlement, Signalled,
};
use purlin_jobs::{
    JobAdmin as _, JobStore as _, QueueName, SqliteStore, TransactionalJobStore as _, Unique,
};
use purlin_store::sqlite::begin_immediate;
use purlin_testkit::TestFile;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row as _};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use crate::harness::{
    HOUR, MINUTE, Place, claim_of, discard, id, job, job_with, lease, prepare, retry, worker,
};

/// One connection that logs each statement which it is given. `BEGIN`, `COMMIT` and `ROLLBACK` of sqlx's
/// transactions are not among them.
async fn logged(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(MINUTE);
    SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap()
}

/// The text of each statement in this process, when it has ended.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

impl Layer<Registry> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, Registry>) {
        if event.metadata().target() == "sqlx::query" {
            let mut text = Text::default();
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }
}

#[derive(Default)]
struct Text(String);

impl tracing::field::Visit for Text {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        // The summary is the whole of a short statement.
        let is_text = ["summary", "db.statement"].contains(&field.name());
        if is_text && !value.is_empty() {
            self.0 = value.to_owned();
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

struct Counted {
    statements: Statements,
    all: Vec<(&'static str, String)>,
}

impl Counted {
    /// At most once in a process, since statements are run by threads of the driver.
    fn start() -> Self {
        let statements = Statements::default();
        let subscriber = Registry::default().with(statements.clone());
        tracing::subscriber::set_global_default(subscriber).unwrap();
        Self {
            statements,
            all: Vec::new(),
        }
    }

    fn since(&mut self, call: &'static str, count: usize) {
        let seen = std::mem::take(&mut *self.statements.0.lock().unwrap());
        assert_eq!(seen.len(), count, "{call}: {seen:#?}");
        self.all.extend(seen.into_iter().map(|text| (call, text)));
    }
}

/// The table in the documentation of the store, and the plan of every statement.
#[tokio::test]
async fn calls_cost_what_the_documentation_says_and_read_no_table_from_end_to_end() {
    let file = TestFile::new();
    let pool = logged(&file.path()).await;
    let place = prepare(file, pool).await;
    let mut counted = Counted::start();
    costs(&place, &mut counted).await;
    flows(&place, &mut counted).await;
    fill(&place.pool).await;
    for (call, text) in &counted.all {
        let plan = plan(&place.pool, text).await;
        let is_large = |line: &&String| {
            let small = [
                "json_each",
                "wanted",
                "CONSTANT ROW",
                "(subquery",
                "purlin_jobs_cancel",
                "fallen",
                "purlin_jobs_schedules",
            ];
            line.starts_with("SCAN") && !small.iter().any(|small| line.contains(small))
        };
        let scan = plan.iter().find(is_large);
        assert!(
            scan.is_none() || *call == "counts",
            "{call}: {text}\n{plan:#?}"
        );
        // Rows are looked up by the whole key, or are all to be read.
        let partly = "purlin_jobs_ready USING PRIMARY KEY (queue=? AND rank=?)";
        assert!(
            !plan.iter().any(|line| line.contains(partly)),
            "{call}: {text}\n{plan:#?}"
        );
    }
}

async fn costs(place: &Place, counted: &mut Counted) {
    let store = &place.store;
    let done = |n| Settlement {
        id: id(n),
        outcome: Outcome::Done,
    };
    store.join(worker(1), HOUR).await.unwrap();
    counted.since("join", 1);
    store.claim(&claim_of(1, 10)).await.unwrap();
    counted.since("claim: nothing", 2);
    let jobs: Vec<_> = (1..=20).map(job).collect();
    store.enqueue(&jobs).await.unwrap();
    counted.since("enqueue: ready", 3);
    store.claim(&claim_of(1, 20)).await.unwrap();
    counted.since("claim", 5);
    store.claim(&claim_of(1, 20)).await.unwrap();
    counted.since("claim: again", 2);
    let settlements: Vec<_> = (1..=10).map(done).collect();
    store.settle(lease(1), &settlements).await.unwrap();
    counted.since("settle: done", 4);
    store.settle(lease(1), &settlements).await.unwrap();
    counted.since("settle: stale", 1);
    let ends = [
        retry(),
        discard(),
        Outcome::Cancelled,
        Outcome::Snooze { after: MINUTE },
    ];
    let ends = ends.into_iter().chain([Outcome::Release, Outcome::Done]);
    let settlements: Vec<_> = (11..)
        .zip(ends)
        .map(|(n, outcome)| Settlement { id: id(n), outcome })
        .collect();
    store.settle(lease(1), &settlements).await.unwrap();
    counted.since("settle: all", 7);
    store.cancel(id(17)).await.unwrap();
    counted.since("cancel: leased", 2);
    store.heartbeat(worker(1), HOUR).await.unwrap();
    counted.since("heartbeat", 2);
    notes(place, counted).await;
    let mut work = begin_immediate(&place.pool).await.unwrap();
    store
        .complete_in(&mut work, lease(1), id(18))
        .await
        .unwrap();
    counted.since("complete in", 4);
    store.enqueue_in(&mut work, &[job(21)]).await.unwrap();
    counted.since("enqueue in", 3);
    work.commit().await.unwrap();
    store.promote(10).await.unwrap();
    counted.since("promote: nothing", 1);
    place.clock.advance(MINUTE);
    store.promote(10).await.unwrap();
    counted.since("promote", 5);
    store.leave(worker(1)).await.unwrap();
    counted.since("leave", 6);

    let unique = |n| job_with(n, |o| o.with_unique(Unique::until_start("a").or_replace()));
    let later = job_with(32, |o| o.with_delay(MINUTE));
    store.enqueue(&[unique(31), later]).await.unwrap();
    counted.since("enqueue: unique, scheduled", 6);
    store.enqueue(&[unique(33)]).await.unwrap();
    counted.since("enqueue: replaces", 8);
    store.join(worker(1), HOUR).await.unwrap();
    counted.since("join", 1);
    store.claim(&claim_of(2, 20)).await.unwrap();
    counted.since("claim: until start", 6);
    let rescue = Rescue {
        limit: 10,
        max_crashes: 3,
    };
    store.rescue(&rescue).await.unwrap();
    counted.since("rescue: nobody", 1);
    place.clock.advance(HOUR);
    store.rescue(&rescue).await.unwrap();
    counted.since("rescue", 6);
    admin(store, counted).await;
}

/// Of the jobs 19 and 20, which are leased.
async fn notes(place: &Place, counted: &mut Counted) {
    let store = &place.store;
    let note = |kind| Note {
        kind,
        name: "approved".to_owned(),
        value: None,
        due_in: Some(HOUR),
    };
    let wait = note(NoteKind::Wait);
    store.note(lease(1), id(19), &wait).await.unwrap();
    counted.since("note", 3);
    let report = note(NoteKind::Progress);
    store.note(lease(1), id(19), &report).await.unwrap();
    counted.since("note: progress", 3);
    store.note(lease(2), id(19), &wait).await.unwrap();
    counted.since("note: stale", 1);
    assert_eq!(store.recall(id(19)).await.unwrap().unwrap().notes.len(), 2);
    counted.since("recall", 1);
    let (up_to, signals) = (HOUR, 0);
    let result = KeptResult {
        value: Bytes::from_static(b"1"),
        ttl: HOUR,
    };
    let ends = [
        (19, Outcome::Await { up_to, signals }),
        (20, Outcome::DoneWith(result)),
    ];
    let ends = ends.map(|(n, outcome)| Settlement { id: id(n), outcome });
    store.settle(lease(1), &ends).await.unwrap();
    counted.since("settle: waits, leaves a result", 8);
    let value = Bytes::from_static(b"1");
    for name in ["paid", "approved"] {
        let signalled = store.signal(id(19), name, &value).await.unwrap();
        assert_eq!(signalled, Signalled::Sent);
        let more = if name == "approved" { 3 } else { 0 };
        counted.since("signal", 4 + more);
    }
    assert!(matches!(store.result(id(20)).await, Ok(Found::Result(_))));
    counted.since("result", 1);
}

async fn admin(store: &SqliteStore, counted: &mut Counted) {
    store.get(id(12)).await.unwrap().unwrap();
    counted.since("get", 1);
    let page = Page {
        after: Some(id(1)),
        limit: 10,
    };
    store.list(&Filter::default(), &page).await.unwrap();
    counted.since("list", 1);
    store.counts(None).await.unwrap();
    counted.since("counts", 2);
    assert!(store.cancel(id(33)).await.unwrap());
    counted.since("cancel", 5);
    assert!(store.replay(id(12)).await.unwrap());
    counted.since("replay", 5);
    assert!(store.pause(&QueueName::DEFAULT).await.unwrap());
    counted.since("pause", 1);
    assert!(store.resume(&QueueName::DEFAULT).await.unwrap());
    counted.since("resume", 1);
    store.purge_finished(HOUR, 10).await.unwrap();
    counted.since("purge finished", 3);
    schedules(store, counted).await;
}

async fn schedules(store: &SqliteStore, counted: &mut Counted) {
    let entry = ScheduleEntry {
        name: "nightly".to_owned(),
        cron: "0 3 * * *".to_owned(),
        time_zone: "UTC".to_owned(),
    };
    store.put_schedule(&entry).await.unwrap();
    counted.since("put schedule", 1);
    let since = store.list_schedules().await.unwrap().now;
    counted.since("list schedules", 1);
    assert!(store.pause_schedule("nightly").await.unwrap());
    counted.since("pause schedule", 1);
    assert!(store.resume_schedule("nightly").await.unwrap());
    counted.since("resume schedule", 1);
    let firing = Firing {
        name: entry.name,
        since,
        until: since,
        jobs: vec![job(40)],
    };
    assert_eq!(store.fire_schedule(&firing).await.unwrap(), None);
    counted.since("fire schedule: not due", 1);
    assert!(store.remove_schedule("nightly").await.unwrap());
    counted.since("remove schedule", 1);
}

/// A job with two that wait for it, and one that waits for the first of those.
fn flow(n: u128) -> Vec<Entry> {
    let child = |n, parent, on| Entry {
        parents: vec![Parent { id: id(parent), on }],
        ..job(n)
    };
    vec![
        job(n),
        child(n + 1, n, On::Done),
        child(n + 2, n, On::Ended),
        child(n + 3, n + 1, On::Done),
    ]
}

/// What it costs to have children, however many.
async fn flows(place: &Place, counted: &mut Counted) {
    let store = &place.store;
    store
        .purge_finished(std::time::Duration::ZERO, 100)
        .await
        .unwrap();
    for n in 1..50 {
        store.cancel(id(n)).await.unwrap();
    }
    store.join(worker(1), HOUR).await.unwrap();
    counted.statements.0.lock().unwrap().clear();
    for n in [100, 200, 300] {
        store.enqueue(&flow(n)).await.unwrap();
        counted.since("enqueue: flow", 5);
        let claimed = store.claim(&claim_of(n, 1)).await.unwrap();
        assert_eq!(claimed[0].id, id(n));
        counted.since("claim", 5);
        let (outcome, cost) = match n {
            100 => (Outcome::Done, 4 + 5),
            200 => (discard(), 4 + 4),
            _ => (Outcome::Cancelled, 4 + 9),
        };
        let end = Settlement { id: id(n), outcome };
        store.settle(lease(n), &[end]).await.unwrap();
        counted.since("settle: flow", cost);
        // Those that are ready by that.
        store.cancel(id(n + 2)).await.unwrap();
        if n == 100 {
            store.cancel(id(n + 1)).await.unwrap();
        }
        counted.statements.0.lock().unwrap().clear();
    }
    assert!(store.cancel(id(203)).await.unwrap());
    counted.since("cancel: blocked", 1 + 6);
    place.clock.advance(HOUR);
    store.purge_finished(HOUR, 100).await.unwrap();
    counted.since("purge finished: dead parent", 3 + 7);
}

/// 20 000 jobs in each state.
async fn fill(pool: &SqlitePool) {
    let fill = "
        with recursive n (n) as (select 1000 union all select n + 1 from n where n < 101000)
        insert into purlin_jobs (id, kind, version, queue, priority_offset, max_attempts,
            unique_key, unique_span, cancel_requested, enqueued_at, run_at, finished_as, finished_at, payload)
        select randomblob(16), 'work', 1, 'default', 0, 20, randomblob(32), n % 3, n % 1000 = 4, n, n,
            case n % 5 when 0 then 'dead' when 1 then 'cancelled' end, iif(n % 5 < 2, n, null), x''
        from n;
        insert into purlin_jobs_ready (queue, rank, id, kind)
        select queue, rank, id, kind from purlin_jobs where run_at % 5 = 2;
        insert into purlin_jobs_scheduled (run_at, id)
        select run_at, id from purlin_jobs where run_at % 5 = 3;
        insert into purlin_jobs_workers (id, expires_at)
        select randomblob(16), run_at from purlin_jobs where run_at % 500 = 4;
        insert into purlin_jobs_leases (id, worker)
        select randomblob(16), id from purlin_jobs_workers;
        insert into purlin_jobs_leased (lease, job)
        select (select id from purlin_jobs_leases limit 1), id from purlin_jobs where run_at % 5 = 4;
        insert into purlin_jobs_notes (job, kind, name) select id, 2, 'other' from purlin_jobs;
        insert into purlin_jobs_results (job, expires_at, value)
        select id, run_at, x'' from purlin_jobs;
        insert into purlin_jobs_unique (key, job, span, until)
        select unique_key, id, unique_span, iif(unique_span = 2, run_at, null) from purlin_jobs
        where unique_key is not null;
        insert into purlin_jobs_children (child, waits_for)
        select randomblob(16), 1 from purlin_jobs where run_at % 5 = 0;
        insert into purlin_jobs_edges (parent, child, on_ended)
        select randomblob(16), child, random() % 2 = 0 from purlin_jobs_children;
        analyze;";
    sqlx::raw_sql(fill).execute(pool).await.unwrap();
}

async fn plan(pool: &SqlitePool, text: &str) -> Vec<String> {
    let explain = format!("explain query plan {text}");
    let rows = sqlx::query(AssertSqlSafe(explain))
        .fetch_all(pool)
        .await
        .unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}
