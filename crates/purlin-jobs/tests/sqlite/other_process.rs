//! Jobs of other processes, and processes that are killed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use purlin_jobs::store::{
    Claim, Filter, Outcome, Page, Rescue, Rescued, Settled, Settlement, State,
};
use purlin_jobs::{JobAdmin as _, JobId, JobStore as _, LeaseId, QueueName, SqliteStore, WorkerId};
use uuid::Uuid;

use crate::harness::{HOUR, MINUTE, Place, add, config, counts, ends, id, job, place};

/// This test program again, running one of the ignored tests below.
struct Process {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(test: &str, place: &Place, argument: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&format!("other_process::{test}"), "--exact", "--ignored"])
            .arg("--nocapture")
            .env("PURLIN_CHILD_FILE", place.file.path())
            .env("PURLIN_CHILD_ARGUMENT", argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    /// What the process says next, among the lines of the test harness; `None` at its end.
    fn hear(&mut self) -> Option<String> {
        self.output.find_map(|line| {
            let line = line.unwrap();
            let (_, said) = line.split_once("child: ")?;
            Some(said.to_owned())
        })
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(line: &str) {
    // One write, and none that the harness would capture.
    let line = format!("child: {line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// Says that this point is reached, and waits there to be killed.
fn reached(point: &str) {
    if argument() == point {
        say(point);
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
}

fn argument() -> String {
    std::env::var("PURLIN_CHILD_ARGUMENT").unwrap()
}

/// In the child, by the time of the system.
async fn child_store() -> SqliteStore {
    let file = std::env::var("PURLIN_CHILD_FILE").unwrap();
    SqliteStore::new(config(file).connect().await.unwrap())
}

/// The same for its parent, to which the file belongs.
fn parent_store(place: &Place) -> SqliteStore {
    SqliteStore::new(place.pool.clone())
}

/// A worker that is dead as soon as it joins, so that nobody has to wait for that.
const NO_TIME: Duration = Duration::ZERO;

async fn rescue(store: &SqliteStore) -> Rescued {
    let rescue = Rescue {
        limit: 10,
        max_crashes: 1_000,
    };
    store.rescue(&rescue).await.unwrap()
}

fn claim_by(worker: WorkerId, limit: u16) -> Claim {
    Claim {
        worker,
        lease: LeaseId::new(),
        queue: QueueName::DEFAULT,
        kinds: vec!["work".to_owned()],
        limit,
    }
}

#[tokio::test]
async fn kill_9_leaves_each_call_done_or_not_begun() {
    for (point, expected) in [
        ("enqueued", [2, 0, 0, 0, 0]),
        ("claimed", [0, 0, 2, 0, 0]),
        ("in a settlement", [0, 0, 2, 0, 0]),
        ("settled", [0, 0, 1, 0, 0]),
    ] {
        let place = place().await;
        let mut other = Process::start("killed_child", &place, point);
        assert_eq!(other.hear().unwrap(), point);
        other.kill();

        let store = parent_store(&place);
        assert_eq!(counts(&store).await, expected, "{point}");
        let [_, _, leased, ..] = expected;
        let rescued = rescue(&store).await;
        assert_eq!(u64::from(rescued.ready), leased, "{point}");
        assert_eq!(counts(&store).await[0], expected[0] + leased, "{point}");
        for n in [1, 2] {
            let job = store.get(id(n)).await.unwrap();
            let crashes = job.map(|job| u64::from(job.crashes));
            let survives = n == 2 || point != "settled";
            assert_eq!(crashes, survives.then(|| leased.min(1)), "{point}");
        }
    }
}

#[tokio::test]
#[ignore = "run and killed by another test, in a process of its own"]
async fn killed_child() {
    let store = child_store().await;
    store.enqueue(&[job(1), job(2)]).await.unwrap();
    reached("enqueued");
    let worker = WorkerId::new();
    store.join(worker, HOUR).await.unwrap();
    let claim = claim_by(worker, 10);
    let jobs = store.claim(&claim).await.unwrap();
    // Dead from now on, as if its time were over.
    store.join(worker, NO_TIME).await.unwrap();
    reached("claimed");
    let done = ends(&jobs[..1], &Outcome::Done);
    if argument() == "in a settlement" {
        stop_in_settlement(&store, claim.lease, &done).await;
    }
    assert_eq!(
        store.settle(claim.lease, &done).await.unwrap(),
        [Settled::Applied]
    );
    reached("settled");
}

/// After its last statement, before the commit.
async fn stop_in_settlement(store: &SqliteStore, lease: LeaseId, done: &[Settlement]) {
    use purlin_jobs::TransactionalJobStore as _;
    let file = std::env::var("PURLIN_CHILD_FILE").unwrap();
    let pool = config(file).connect().await.unwrap();
    let mut work = purlin_store::sqlite::begin_immediate(&pool).await.unwrap();
    let settled = store
        .complete_in(&mut work, lease, done[0].id)
        .await
        .unwrap();
    assert_eq!(settled, Settled::Applied);
    reached("in a settlement");
}

/// Killed in the middle of whatever it does. What it has said is so, and nothing is lost.
#[tokio::test]
async fn kill_9_at_any_time_loses_nothing() {
    let place = place().await;
    let store = parent_store(&place);
    let (mut enqueued, mut settling, mut done) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for round in 0..40_usize {
        let mut other = Process::start("busy_child", &place, &format!("{}", round * 1_000));
        for _ in 0..5 + round % 6 {
            let said = other.hear().unwrap();
            let (what, id) = said.split_once(' ').unwrap();
            let known = match what {
                "enqueued" => &mut enqueued,
                "settling" => &mut settling,
                _ => &mut done,
            };
            let is_new = known.insert(id.parse::<JobId>().unwrap());
            // What a dead worker was settling is settled again.
            assert!(is_new || what == "settling", "{said}");
        }
        other.kill();
        let [ready, _, leased, dead, cancelled] = counts(&store).await;
        assert_eq!((dead, cancelled), (0, 0));
        let rescued = rescue(&store).await;
        assert_eq!(u64::from(rescued.ready), leased);
        assert_eq!(counts(&store).await, [ready + leased, 0, 0, 0, 0]);
        consistent(&place).await;
    }
    let page = Page {
        after: None,
        limit: 1_000,
    };
    let left = store.list(&Filter::default(), &page).await.unwrap();
    assert!(left.iter().all(|job| job.state == State::Ready));
    let left: BTreeSet<_> = left.iter().map(|job| job.id).collect();
    let gone: BTreeSet<_> = enqueued.difference(&left).copied().collect();
    assert!(gone.is_subset(&settling), "jobs are lost");
    assert!(left.is_disjoint(&done), "jobs are done and still there");
    assert!(enqueued.len() > 40 && done.len() > 20);
}

/// Each job stands in one place, and nothing points to one that is not there.
async fn consistent(place: &Place) {
    let wrong: i64 = sqlx::query_scalar(
        "select (select count(*) from purlin_jobs)
            - (select count(*) from purlin_jobs_ready join purlin_jobs using (id))
            + (select count(*) from purlin_jobs_leases)
            + (select count(*) from purlin_jobs_leased)
            + (select count(*) from purlin_jobs_scheduled)",
    )
    .fetch_one(&place.pool)
    .await
    .unwrap();
    assert_eq!(wrong, 0);
    let check: String = sqlx::query_scalar("pragma integrity_check")
        .fetch_one(&place.pool)
        .await
        .unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test]
#[ignore = "run and killed by another test, in a process of its own"]
async fn busy_child() {
    let store = child_store().await;
    let first: u128 = argument().parse().unwrap();
    let worker = WorkerId::new();
    store.join(worker, HOUR).await.unwrap();
    for n in first + 1.. {
        let new = JobId::from_uuid(Uuid::from_u128(n));
        store.enqueue(&[job(n)]).await.unwrap();
        say(&format!("enqueued {new}"));
        // For a moment it lives, and may be killed then with the lease.
        store.join(worker, HOUR).await.unwrap();
        let claim = claim_by(worker, 1);
        let jobs = store.claim(&claim).await.unwrap();
        store.join(worker, NO_TIME).await.unwrap();
        let done = ends(&jobs, &Outcome::Done);
        say(&format!("settling {}", jobs[0].id));
        assert_eq!(
            store.settle(claim.lease, &done).await.unwrap(),
            [Settled::Applied]
        );
        say(&format!("done {}", jobs[0].id));
    }
}

#[tokio::test]
async fn a_process_sees_what_another_one_has_enqueued() {
    let place = place().await;
    let store = parent_store(&place);
    let mut wakeups = store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    let mut other = Process::start("enqueueing_child", &place, "");
    assert_eq!(other.hear().unwrap(), "enqueued");
    let _ = wakeups.next(MINUTE).await;
    let worker = WorkerId::new();
    store.join(worker, HOUR).await.unwrap();
    let jobs = store.claim(&claim_by(worker, 10)).await.unwrap();
    assert_eq!(jobs[0].id, id(1));
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn enqueueing_child() {
    add(&child_store().await, job(1)).await;
    say("enqueued");
}
