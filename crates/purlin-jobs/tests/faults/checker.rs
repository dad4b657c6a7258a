//! What must be true in the end, by the log and by the tables.

use std::collections::{HashMap, HashSet};

use purlin_jobs::store::State;
use purlin_jobs::{JobId, QueueName};
use tokio::time::{Instant, sleep};

use crate::PATIENCE;
use crate::child::Orders;
use crate::ground::{Ground, Kind};
use crate::log::{Fault, Line};
use crate::process::Process;
use crate::say;

/// How often what must never be was seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrongs {
    /// Confirmed, and neither done, nor dead, nor cancelled, nor there.
    lost: usize,
    /// Run although its transaction was rolled back.
    run_although_rolled_back: usize,
    /// Leases that were given on a job while another one was live.
    two_leases: usize,
    /// Settlements that a store took although another lease had the job by then.
    stale_applied: usize,
    /// Effects of a transaction that completes its job, beside another one.
    effects_twice: usize,
    /// Attempts spent, and no handler had failed.
    attempts_by_crashes: usize,
    /// Jobs begun again without a crash, a failure or a release.
    unexplained: usize,
    /// Crashes that no fault explains.
    crashes_without_fault: usize,
}

/// What happened otherwise.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    jobs: usize,
    begun: usize,
    again: usize,
    faults: usize,
    /// Milliseconds from a kill until a job of the dead process was begun by another one.
    rescues: Vec<i64>,
}

impl Ground {
    /// Waits until no job waits or runs.
    pub(crate) async fn drained(&self) {
        let begun = Instant::now();
        loop {
            let counts = self
                .open
                .admin()
                .counts(Some(&QueueName::DEFAULT))
                .await
                .unwrap();
            if counts.ready + counts.scheduled + counts.leased == 0 {
                return;
            }
            if begun.elapsed() > PATIENCE {
                let (lines, rows) = (self.log.lines().await, self.dump().await);
                panic!("jobs are left: {counts:?}, {rows:#?}, {lines:#?}");
            }
            // Leases end by themselves, and nobody says when.
            sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Lets a worker do what is left, and looks whether all is well. Prints a row.
    pub(crate) async fn finish(&self, name: &str) {
        let heir = Process::worker(&Orders::worker(&self.place)).await;
        self.drained().await;
        heir.end().await;
        self.check(name).await;
    }

    /// Looks whether all is well when nothing is left to be done. Prints a row.
    pub(crate) async fn check(&self, name: &str) {
        let lines = self.log.lines().await;
        let (wrongs, seen) = self.judge(&lines).await;
        assert_eq!(wrongs, Wrongs::default(), "{name}: {lines:#?}");
        assert_eq!(self.rows().await, 0, "{name}: {:#?}", self.dump().await);
        let kind = self.place.kind;
        let rescues = match (seen.rescues.iter().min(), seen.rescues.iter().max()) {
            (Some(least), Some(most)) => format!("{least}–{most} ms"),
            _ => "none".to_owned(),
        };
        say(&format!(
            "| {kind:?} | {name} | {} jobs | {} begun | {} again | {} faults | rescued in: {rescues} |",
            seen.jobs, seen.begun, seen.again, seen.faults
        ));
    }

    pub(crate) async fn judge(&self, lines: &[Line]) -> (Wrongs, Seen) {
        let mut wrongs = Wrongs {
            two_leases: usize::try_from(self.count("select count(*) from two_leases").await)
                .unwrap(),
            ..Wrongs::default()
        };
        let mut seen = Seen {
            faults: lines.iter().filter(|line| line.what == "fault").count(),
            ..Seen::default()
        };
        let mut jobs: HashMap<&str, Vec<&Line>> = HashMap::new();
        for line in lines.iter().filter(|line| !line.job.is_empty()) {
            jobs.entry(&line.job).or_default().push(line);
        }
        seen.jobs = jobs.len();
        let effects = self.effects().await;
        let killed = killed(lines);
        for (job, lines) in jobs {
            let has = |what: &str| lines.iter().any(|line| line.what == what);
            let of_job = effects.iter().filter(|effect| *effect == job).count();
            wrongs.effects_twice += usize::from(of_job > 1);
            let is_done = of_job > 0
                || lines
                    .iter()
                    .any(|line| line.what == "ended" && line.detail == "ok");
            if has("enqueued") && !is_done {
                let id: JobId = job.parse().unwrap();
                let ended = self
                    .get(id)
                    .await
                    .is_some_and(|job| job.state != State::Leased);
                wrongs.lost += usize::from(!ended);
            }
            wrongs.run_although_rolled_back += usize::from(has("rolled back") && has("begun"));
            wrongs.stale_applied += stale_applied(&lines);
            let begun: Vec<_> = lines.iter().filter(|line| line.what == "begun").collect();
            seen.begun += begun.len();
            seen.again += begun.len().saturating_sub(1);
            for (at, line) in begun.iter().enumerate() {
                let failures = lines.iter().filter(|before| {
                    before.seq < line.seq && before.what == "ended" && before.detail == "failed"
                });
                let failures = i64::try_from(failures.count()).unwrap();
                wrongs.attempts_by_crashes += usize::from(line.attempt > failures + 1);
                let faults = i64::try_from(seen.faults).unwrap();
                wrongs.crashes_without_fault += usize::from(line.crashes > faults);
                let Some(before) = at.checked_sub(1).map(|at| begun[at]) else {
                    continue;
                };
                let is_released = lines
                    .iter()
                    .any(|released| released.lease == before.lease && released.detail == "release");
                let again = (line.attempt, line.crashes);
                if again <= (before.attempt, before.crashes) && !is_released {
                    wrongs.unexplained += 1;
                }
                if let Some(killed) = killed.get(&before.process)
                    && line.crashes > before.crashes
                {
                    seen.rescues.push(line.at - killed);
                }
            }
        }
        (wrongs, seen)
    }
}

fn killed(lines: &[Line]) -> HashMap<i64, i64> {
    let killed = format!("{:?}", Fault::Killed);
    let lines = lines
        .iter()
        .filter(|line| line.what == "fault" && line.detail == killed);
    lines.map(|line| (line.process, line.at)).collect()
}

/// How many settlements were applied that were begun when another lease had the job, which is so from
/// when its handler was called at the latest.
fn stale_applied(lines: &[&Line]) -> usize {
    let applied = lines.iter().filter(|line| line.what == "applied");
    let is_stale = |applied: &&&Line| {
        let settling = lines.iter().rfind(|line| {
            line.what == "settling" && line.lease == applied.lease && line.seq < applied.seq
        });
        let settling = settling.expect("it was begun").seq;
        let mut leases = HashSet::new();
        let mut last = None;
        for line in lines
            .iter()
            .filter(|line| line.what == "begun" && line.seq < settling)
        {
            if leases.insert(&line.lease) {
                last = Some(&line.lease);
            }
        }
        last.is_some_and(|last| *last != applied.lease)
    };
    applied.filter(is_stale).count()
}

impl Kind {
    pub(crate) const DIRECT: [Self; 2] = [Self::Postgres, Self::Sqlite];
}

/// Each wrong is found where it is.
#[tokio::test]
async fn wrongs_are_seen() {
    let ground = Ground::create(Kind::Sqlite).await.unwrap();
    let ids: Vec<_> = (0..7).map(|_| JobId::new().to_string()).collect();
    let lines = [
        ("enqueued", 0, "", 0, 0, ""),
        ("rolled back", 1, "", 0, 0, ""),
        ("begun", 1, "a", 1, 0, ""),
        ("begun", 2, "a", 1, 0, ""),
        ("begun", 2, "b", 2, 0, ""),
        ("begun", 3, "a", 1, 0, ""),
        ("begun", 3, "b", 1, 0, ""),
        ("begun", 4, "a", 1, 1, ""),
        ("begun", 5, "a", 1, 0, ""),
        ("ended", 5, "a", 1, 0, "failed"),
        ("begun", 5, "b", 2, 0, ""),
        ("settling", 5, "a", 0, 0, "retry"),
        ("applied", 5, "a", 0, 0, ""),
    ];
    let line =
        |(seq, (what, job, lease, attempt, crashes, detail)): (usize, (_, usize, _, _, _, _))| {
            let (what, lease, detail): (&str, &str, &str) = (what, lease, detail);
            Line {
                seq: i64::try_from(seq).unwrap(),
                at: 0,
                process: 1,
                what: what.to_owned(),
                job: ids[job].clone(),
                lease: lease.to_owned(),
                attempt,
                crashes,
                detail: detail.to_owned(),
            }
        };
    let lines: Vec<_> = lines.into_iter().enumerate().map(line).collect();
    let twice = format!("insert into effects values ('{0}'), ('{0}')", ids[1]);
    ground.execute(&twice).await;
    ground
        .execute("insert into two_leases values (x'00')")
        .await;
    let (wrongs, _) = ground.judge(&lines).await;
    let expected = Wrongs {
        lost: 1,
        run_although_rolled_back: 1,
        two_leases: 1,
        stale_applied: 1,
        effects_twice: 1,
        attempts_by_crashes: 1,
        unexplained: 1,
        crashes_without_fault: 1,
    };
    assert_eq!(wrongs, expected);
}
