//! Duplicates in two processes, and processes that are killed.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use http::Extensions;
use purlin_idempotency::store::{Begun, Settled, UnitOfWork};
use purlin_idempotency::{RequestTransaction, SqliteStore, TransactionalStore as _};
use purlin_store::StoreErrorKind;
use purlin_store::sqlite::begin_immediate;
use sqlx::Sqlite;

use crate::harness::{
    Place, answer, clock, completion, config, effect, effects, id, place, started,
};

/// This test program again, running one of the ignored tests below.
struct Process {
    child: Child,
    input: ChildStdin,
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
            input: child.stdin.take().unwrap(),
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

    fn tell(&mut self) {
        self.input.write_all(b"go on\n").unwrap();
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

fn wait_to_be_told() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn file() -> String {
    std::env::var("PURLIN_CHILD_FILE").unwrap()
}

fn argument() -> String {
    std::env::var("PURLIN_CHILD_ARGUMENT").unwrap()
}

async fn store(busy_timeout: Duration) -> SqliteStore {
    let config = config(file()).with_busy_timeout(busy_timeout);
    SqliteStore::new(config.connect().await.unwrap()).with_clock(clock())
}

#[tokio::test]
async fn a_duplicate_waits_for_the_busy_timeout_and_finds_the_record_later() {
    let place = place().await;
    let mut unit = started(&place.store, &id(1)).await;
    effect(&mut *unit, 1).await;
    let mut other = Process::start("duplicate_child", &place, "");
    assert_eq!(other.hear().unwrap(), "conflict or timeout");
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    other.tell();
    assert_eq!(other.hear().unwrap(), "existing");
    assert_eq!(effects(&place.pool).await, [1]);
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn duplicate_child() {
    let busy_timeout = Duration::from_millis(300);
    let store = store(busy_timeout).await;
    let error = store.begin(&id(1)).await.unwrap_err();
    assert!(error.tried_for().unwrap() >= busy_timeout, "{error}");
    match error.kind() {
        StoreErrorKind::Conflict | StoreErrorKind::Timeout => say("conflict or timeout"),
        _ => say(&format!("{error:?}")),
    }
    wait_to_be_told();
    match store.begin(&id(1)).await.unwrap() {
        Begun::Existing(_) => say("existing"),
        other => say(&format!("{other:?}")),
    }
}

/// Both want the lock before either has it.
#[tokio::test]
async fn a_duplicate_that_has_waited_finds_the_record_and_does_nothing() {
    let place = place().await;
    let lock = begin_immediate(&place.pool).await.unwrap();
    let mut other = Process::start("waiting_child", &place, "");
    assert_eq!(other.hear().unwrap(), "begins");
    lock.rollback().await.unwrap();
    // Whoever is first: one of the two commits.
    let mine = match place.store.begin(&id(1)).await.unwrap() {
        Begun::Started(mut unit) => {
            effect(&mut *unit, 1).await;
            unit.commit(&completion("mine")).await.unwrap() == Settled::Applied
        }
        _ => false,
    };
    let theirs = other.hear().unwrap();
    let (winner, said, effect) = if mine {
        ("mine", "Existing", 1)
    } else {
        ("theirs", "Applied", 2)
    };
    assert_eq!(theirs, said);
    assert_eq!(answer(&place.store, &id(1)).await.unwrap(), winner);
    assert_eq!(effects(&place.pool).await, [effect]);
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn waiting_child() {
    let store = store(Duration::from_secs(60)).await;
    say("begins");
    match store.begin(&id(1)).await.unwrap() {
        Begun::Started(mut unit) => {
            effect(&mut *unit, 2).await;
            let settled = unit.commit(&completion("theirs")).await.unwrap();
            say(&format!("{settled:?}"));
        }
        Begun::Existing(_) => say("Existing"),
        Begun::Busy => say("Busy"),
    }
}

#[tokio::test]
async fn kill_9_leaves_effect_and_record_or_neither() {
    for (point, survives) in [
        ("in the handler", false),
        ("after the insert", false),
        ("in the record's insert", false),
        ("after the commit", true),
    ] {
        let place = place().await;
        let mut other = Process::start("killed_child", &place, point);
        assert_eq!(other.hear().unwrap(), point);
        other.kill();

        let record = answer(&place.store, &id(1)).await;
        assert_eq!(record.as_deref(), survives.then_some("done"), "{point}");
        let expected: &[i64] = if survives { &[1] } else { &[] };
        assert_eq!(effects(&place.pool).await, expected, "{point}");
        // A retry executes it at once, or replays it.
        match place.store.begin(&id(1)).await.unwrap() {
            Begun::Started(mut unit) => {
                assert!(!survives, "{point}");
                effect(&mut *unit, 1).await;
                let settled = unit.commit(&completion("done")).await.unwrap();
                assert_eq!(settled, Settled::Applied);
            }
            Begun::Existing(_) => assert!(survives, "{point}"),
            Begun::Busy => panic!("nobody is at work"),
        }
        assert_eq!(effects(&place.pool).await, [1], "{point}");
    }
}

#[tokio::test]
#[ignore = "run and killed by another test, in a process of its own"]
async fn killed_child() {
    let store = store(Duration::from_secs(60)).await;
    let point = argument();
    let reached = |here: &str| {
        if point == here {
            say(here);
            wait_to_be_told();
        }
    };
    let mut unit = started(&store, &id(1)).await;
    reached("in the handler");
    effect(&mut *unit, 1).await;
    reached("after the insert");
    if point == "in the record's insert" {
        stop_in_record(&mut *unit).await;
    }
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    reached("after the commit");
}

/// SQLite calls the hook in the middle of the statement.
async fn stop_in_record(unit: &mut dyn UnitOfWork) {
    let mut extensions = Extensions::new();
    unit.share(&mut extensions);
    let mut transaction = RequestTransaction::<Sqlite>::take(&extensions).unwrap();
    transaction
        .lock_handle()
        .await
        .unwrap()
        .set_update_hook(|_| {
            say("in the record's insert");
            wait_to_be_told();
        });
}

/// Killed right after one of the things it does, in the middle of what comes next.
#[tokio::test]
async fn kill_9_at_any_time_leaves_effects_and_records_in_pairs() {
    let place = place().await;
    let mut first = 0;
    for round in 0..60 {
        let mut other = Process::start("busy_child", &place, &first.to_string());
        let mut committed = Vec::new();
        for _ in 0..6 + round % 3 {
            let said = other.hear().unwrap();
            committed.extend(said.strip_prefix("committed ").map(str::to_owned));
        }
        other.kill();
        let effects = effects(&place.pool).await;
        for n in &effects {
            assert!(answer(&place.store, &id(*n)).await.is_some(), "effect {n}");
        }
        let records: i64 = sqlx::query_scalar("select count(*) from purlin_idempotency")
            .fetch_one(&place.pool)
            .await
            .unwrap();
        assert_eq!(i64::try_from(effects.len()).unwrap(), records);
        assert!(committed.len() >= 2);
        for n in &committed {
            assert!(effects.contains(&n.parse().unwrap()), "commit {n} is lost");
        }
        first = effects.last().unwrap() + 1;
    }
}

#[tokio::test]
#[ignore = "run and killed by another test, in a process of its own"]
async fn busy_child() {
    let store = store(Duration::from_secs(60)).await;
    for n in argument().parse().unwrap().. {
        let mut unit = started(&store, &id(n)).await;
        say(&format!("began {n}"));
        effect(&mut *unit, n).await;
        say(&format!("wrote {n}"));
        let settled = unit.commit(&completion("done")).await.unwrap();
        assert_eq!(settled, Settled::Applied);
        say(&format!("committed {n}"));
    }
}
