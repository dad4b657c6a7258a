#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use purlin_jobs::store::{ScheduleEntry, ScheduleStore as _};
use purlin_jobs::{
    ConfigError, Cron, Emptied, Fire, Job, JobAdmin as _, JobContext, JobError, Jobs, Missed,
    NewJob, Options, Schedule, ScheduleError, Scheduler, Unique, Worker, WorkerError, handler_fn,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::common::{Fault, Log, Running, Store, bare_worker, secs, start};

#[derive(Serialize, Deserialize)]
struct Report {
    fire: Fire,
}

impl Job for Report {
    const KIND: &'static str = "report";
}

fn schedule(name: &str, line: &str) -> Schedule {
    let cron = Cron::new(line).unwrap();
    Schedule::new(name, cron, |fire| Report { fire: fire.clone() }).unwrap()
}

/// The schedule of a job that has run, its time and the one before.
type Run = (String, u64, Option<u64>);

#[derive(Clone, Default)]
struct Ran(Arc<Mutex<Vec<Run>>>);

/// Seconds since the test began.
fn since(begun: SystemTime, at: SystemTime) -> u64 {
    at.duration_since(begun).unwrap().as_secs()
}

impl Ran {
    fn worker(&self, store: &Store, log: &Log) -> Worker {
        let (ran, begun) = (self.clone(), begun());
        let report = handler_fn(move |job: Report, _: JobContext| {
            let ran = ran.clone();
            async move {
                let fire = job.fire;
                let previous = fire.previous_at().map(|at| since(begun, at));
                let run = (
                    fire.schedule().to_owned(),
                    since(begun, fire.at()),
                    previous,
                );
                ran.0.lock().unwrap().push(run);
                Ok::<_, JobError>(())
            }
        });
        bare_worker(store, log).register(report)
    }

    fn times(&self) -> Vec<u64> {
        let ran = self.0.lock().unwrap();
        ran.iter().map(|(_, at, _)| *at).collect()
    }
}

/// When a store was made at the beginning of the test, by its own clock: 13:46:40 on some day.
fn begun() -> SystemTime {
    SystemTime::UNIX_EPOCH + secs(1_000_000)
}

/// The first time of `*/5 * * * *` after the beginning, and what lies between two.
const FIRST: u64 = 200;
const STEP: u64 = 300;

#[tokio::test(start_paused = true)]
async fn each_time_has_one_job_however_many_workers_there_are() {
    let (store, log, ran) = (Store::new(), Log::default(), Ran::default());
    let begun = Instant::now();
    let workers: Vec<Running> = (0..3)
        .map(|_| {
            start(
                ran.worker(&store, &log)
                    .with_schedule(schedule("five", "*/5 * * * *")),
            )
        })
        .collect();
    log.has("done 1", 12).await;
    // The last one was at its time, but for a wake-up.
    let last = FIRST + 11 * STEP;
    assert_eq!(begun.elapsed().as_secs(), last);
    sleep(secs(STEP - 1)).await;
    for worker in workers {
        worker.end().await.unwrap();
    }
    let expected: Vec<_> = (0..12).map(|n| FIRST + n * STEP).collect();
    assert_eq!(ran.times(), expected);
    assert_eq!(log.count("fired"), 12);
    let previous: Vec<_> = ran.0.lock().unwrap().iter().map(|run| run.2).collect();
    assert_eq!(previous[..3], [None, Some(FIRST), Some(FIRST + STEP)]);
    // Each looks once a minute, and once or twice when a time has come; not each second.
    let minutes = u32::try_from(begun.elapsed().as_secs() / 60).unwrap();
    let looks = store.calls("list_schedules");
    assert!(
        looks <= 3 * (minutes + 1 + 2 * 13),
        "{looks} in {minutes} minutes"
    );
}

#[tokio::test(start_paused = true)]
async fn what_passed_while_nobody_was_there_is_dealt_with_as_the_policy_says() {
    for (missed, expected, jobs) in [
        (Missed::Coalesce, vec![FIRST + 24 * STEP], 1),
        (
            Missed::All { limit: 3 },
            (22..=24).map(|n| FIRST + n * STEP).collect(),
            1,
        ),
        (
            Missed::Skip {
                later_than: secs(60),
            },
            vec![FIRST + 25 * STEP],
            2,
        ),
        (
            Missed::Skip {
                later_than: secs(120),
            },
            vec![FIRST + 24 * STEP],
            1,
        ),
    ] {
        let (store, log, ran) = (Store::new(), Log::default(), Ran::default());
        let schedule = schedule("five", "*/5 * * * *").with_missed(missed);
        let worker = start(ran.worker(&store, &log).with_schedule(schedule.clone()));
        store.called("list_schedules", 1).await;
        worker.kill().await;
        let clock = store.inner.list_schedules().await.unwrap().now;
        sleep(secs(FIRST + 24 * STEP + 100 - since(begun(), clock))).await;

        let worker = start(ran.worker(&store, &log).with_schedule(schedule));
        log.has("fired", jobs).await;
        log.has("done 1", expected.len()).await;
        worker.end().await.unwrap();
        assert_eq!(ran.times(), expected, "{missed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fire_is_neither_lost_nor_doubled_when_the_store_fails() {
    let faults = [
        ("fire_schedule", Fault::Refused),
        ("fire_schedule", Fault::ReplyLost),
        ("fire_schedule", Fault::Panics),
        ("list_schedules", Fault::Refused),
        ("list_schedules", Fault::Panics),
        ("put_schedule", Fault::ReplyLost),
    ];
    for (call, fault) in faults {
        let (store, log, ran) = (Store::new(), Log::default(), Ran::default());
        store.fail(call, fault, 2);
        let schedule = schedule("five", "*/5 * * * *");
        let worker = start(ran.worker(&store, &log).with_schedule(schedule));
        log.has("done 1", 3).await;
        let told = log.count("store_failed schedules") + log.count("loop_restarted schedules");
        assert!(told > 0, "{call} {fault:?}");
        worker.end().await.unwrap();
        assert_eq!(
            ran.times(),
            [FIRST, FIRST + STEP, FIRST + 2 * STEP],
            "{call} {fault:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_whose_job_cannot_be_made_stops_no_other_and_is_tried_again() {
    let (store, log, ran) = (Store::new(), Log::default(), Ran::default());
    let left = Arc::new(Mutex::new(3));
    let broken = Schedule::new("broken", Cron::new("*/5 * * * *").unwrap(), move |fire| {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        *left -= 1;
        assert!(*left < 0, "no job yet");
        Report { fire: fire.clone() }
    });
    let large = Schedule::new("large", Cron::new("*/5 * * * *").unwrap(), |_| {
        NewJob::new(&Large("x".repeat(2 << 20)))
    });
    let worker = ran
        .worker(&store, &log)
        .with_schedule(broken.unwrap())
        .with_schedule(large.unwrap())
        .with_schedule(schedule("whole", "*/5 * * * *"));
    let worker = start(worker);
    log.has("done 1", 2).await;
    worker.end().await.unwrap();
    let ran = ran.0.lock().unwrap().clone();
    let run = |name: &str| (name.to_owned(), FIRST, None);
    assert_eq!(ran, [run("whole"), run("broken")]);
    assert!(log.count("schedule_failed") >= 3 + 3);
}

#[derive(Serialize, Deserialize)]
struct Large(String);

impl Job for Large {
    const KIND: &'static str = "large";
}

#[tokio::test(start_paused = true)]
async fn the_next_one_is_left_out_while_one_runs_if_the_job_is_unique() {
    #[derive(Serialize, Deserialize)]
    struct Slow(Fire);
    impl Job for Slow {
        const KIND: &'static str = "slow";
        fn options() -> Options {
            Options::new().with_unique(Unique::until_done("slow"))
        }
    }
    let (store, log) = (Store::new(), Log::default());
    let ran = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&ran);
    let slow = handler_fn(move |job: Slow, _: JobContext| {
        times.lock().unwrap().push(since(begun(), job.0.at()));
        async {
            // Over the second and the third time.
            sleep(secs(2 * STEP + 60)).await;
            Ok::<_, JobError>(())
        }
    });
    let cron = Cron::new("*/5 * * * *").unwrap();
    let schedule = Schedule::new("slow", cron, |fire| Slow(fire.clone())).unwrap();
    let worker = bare_worker(&store, &log)
        .register(slow)
        .with_schedule(schedule);
    let worker = start(worker);
    log.has("done 1", 2).await;
    worker.end().await.unwrap();
    assert_eq!(*ran.lock().unwrap(), [FIRST, FIRST + 3 * STEP]);
    assert_eq!(log.count("fired"), 6);
}

#[tokio::test(start_paused = true)]
async fn two_versions_of_a_line_are_served_side_by_side_during_a_deploy() {
    let (store, log, ran) = (Store::new(), Log::default(), Ran::default());
    let old = start(
        ran.worker(&store, &log)
            .with_schedule(schedule("report", "*/5 * * * *")),
    );
    log.has("done 1", 1).await;
    // Nothing of the new line is made up for that was before it.
    let new = start(
        ran.worker(&store, &log)
            .with_schedule(schedule("report", "*/4 * * * *")),
    );
    log.has("done 1", 5).await;
    old.end().await.unwrap();
    log.has("done 1", 6).await;
    new.end().await.unwrap();
    // 13:50; 13:52, 13:55, 13:56; 14:00, of both; 14:04.
    assert_eq!(ran.times(), [200, 320, 500, 560, 800, 1_040]);
    let row = store
        .inner
        .list_schedules()
        .await
        .unwrap()
        .schedules
        .remove(0);
    assert_eq!(row.entry.cron, "*/4 * * * *");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_started_from_time_to_time_does_what_is_due() {
    let (store, log, ran) = (Store::new(), Log::default(), Ran::default());
    let worker = || {
        ran.worker(&store, &log)
            .with_schedule(schedule("five", "*/5 * * * *"))
    };
    for expected in [&[][..], &[FIRST], &[FIRST, FIRST + 2 * STEP]] {
        // Its loop would come too late.
        store.fail("list_schedules", Fault::ReplySlow, 1);
        let emptied = worker().run_until_empty(secs(30)).await.unwrap();
        assert_eq!(emptied, Emptied::Empty);
        assert_eq!(ran.times(), expected);
        let now = store.inner.list_schedules().await.unwrap().now;
        let later = if expected.is_empty() {
            FIRST
        } else {
            FIRST + 2 * STEP
        };
        sleep(secs(later + 1).saturating_sub(now.duration_since(begun()).unwrap())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn operators_see_stop_and_trigger_schedules() {
    let (store, log, ran) = (Store::new(), Log::default(), Ran::default());
    let five = || schedule("five", "*/5 * * * *");
    let running = start(ran.worker(&store, &log).with_schedule(five()));
    log.has("done 1", 1).await;

    let jobs = Jobs::new(store.clone());
    let scheduler = Scheduler::new(jobs, [five()]).unwrap();
    let view = async || scheduler.list().await.unwrap().remove(0);
    let seen = view().await;
    assert_eq!(
        (
            seen.name.as_str(),
            seen.cron.as_str(),
            seen.time_zone.as_str()
        ),
        ("five", "*/5 * * * *", "UTC")
    );
    assert_eq!(
        (seen.last_at, seen.next_at),
        (
            Some(begun() + secs(FIRST)),
            Some(begun() + secs(FIRST + STEP))
        )
    );

    assert!(scheduler.pause("five").await.unwrap());
    assert!(!scheduler.pause("six").await.unwrap());
    let seen = view().await;
    assert_eq!((seen.is_paused, seen.next_at), (true, None));
    sleep(secs(2 * STEP + 60)).await;
    assert_eq!(ran.times(), [FIRST]);
    scheduler.trigger("five").await.unwrap();
    log.has("done 1", 2).await;
    assert_eq!(ran.times(), [FIRST, FIRST + 2 * STEP + 60]);
    assert!(matches!(
        scheduler.trigger("six").await,
        Err(ScheduleError::Unknown)
    ));

    assert!(scheduler.resume("five").await.unwrap());
    log.has("done 1", 3).await;
    assert_eq!(ran.times()[2..], [FIRST + 3 * STEP]);
    // One that is served comes back, from now on.
    assert!(scheduler.remove("five").await.unwrap());
    log.has("done 1", 4).await;
    running.end().await.unwrap();
    assert_eq!(
        ran.0.lock().unwrap()[3],
        ("five".to_owned(), FIRST + 4 * STEP, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_loop_of_the_callers_own_is_told_when_to_look_again() {
    let store = Store::new();
    let schedules = [
        schedule("five", "*/5 * * * *"),
        schedule("yearly", "@yearly"),
    ];
    let scheduler = Scheduler::new(Jobs::new(store.clone()), schedules).unwrap();
    let mut waits = Vec::new();
    while store.inner.counts(None).await.unwrap().ready < 2 {
        let wait = scheduler.tick().await.unwrap();
        waits.push(wait.as_secs());
        sleep(wait).await;
    }
    assert_eq!(waits, [60, 60, 60, 20, 60, 60, 60, 60, 60, 60]);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_is_stuck_is_seen() {
    let (store, log, ran) = (Store::new(), Log::default(), Ran::default());
    let worker = ran
        .worker(&store, &log)
        .with_schedule(schedule("yearly", "@yearly"));
    let handle = worker.handle();
    let running = start(worker);
    store.called("list_schedules", 5).await;
    assert!(handle.health().is_healthy(), "{:?}", handle.health());
    store.fail("list_schedules", Fault::Hangs, 1);
    store.called("list_schedules", 6).await;
    sleep(secs(121)).await;
    let health = handle.health();
    let stuck: Vec<_> = health.loops.iter().filter(|it| !it.is_healthy()).collect();
    assert_eq!((stuck.len(), stuck[0].name.as_str()), (1, "schedules"));
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_served_is_refused_at_the_start() {
    let log = Log::default();
    let mut store = Store::new();
    let twice = bare_worker(&store, &log)
        .with_schedule(schedule("one", "@daily"))
        .with_schedule(schedule("one", "@hourly"));
    let error = twice.run_until(std::future::pending::<()>()).await;
    assert!(matches!(
        error,
        Err(WorkerError::Config(ConfigError::TwoSchedules))
    ));

    store.keeps_schedules = false;
    let worker = bare_worker(&store, &log).with_schedule(schedule("one", "@daily"));
    let error = worker
        .run_until(std::future::pending::<()>())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the store `faulty` has no schedules");
    let error = Scheduler::new(Jobs::new(store.clone()), []).unwrap_err();
    assert_eq!(error.to_string(), "the store `faulty` has no schedules");
    let entry = ScheduleEntry {
        name: "one".to_owned(),
        cron: "@daily".to_owned(),
        time_zone: "UTC".to_owned(),
    };
    // Nothing was told to it, and without schedules nothing is asked.
    store.inner.put_schedule(&entry).await.unwrap();
    store.keeps_schedules = true;
    let worker = bare_worker(&store, &log);
    worker.run_until_empty(secs(30)).await.unwrap();
    assert_eq!(
        (store.calls("put_schedule"), store.calls("list_schedules")),
        (0, 0)
    );
}
