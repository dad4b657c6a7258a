//! Schedules: moved on and their jobs added, both or neither, and by one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use purlin_store::testing::{Dropped, drop_at_every_await};

use super::Harness;
use super::bench::{
    DAY, HOUR, MICRO, MINUTE, Store, Worker, add, at_once, counts, job, job_of, now, ok, state,
    unique,
};
use crate::Unique;
use crate::store::{
    Enqueued, Entry, Firing, Outcome, ScheduleEntry, ScheduleList, ScheduleRow, ScheduleStore,
    State,
};

fn power(store: &Store) -> &dyn ScheduleStore {
    store.schedules().expect("a store that keeps schedules")
}

fn entry(name: &str) -> ScheduleEntry {
    ScheduleEntry {
        name: name.to_owned(),
        cron: "* * * * *".to_owned(),
        time_zone: "Europe/Oslo".to_owned(),
    }
}

async fn put(store: &Store, entry: &ScheduleEntry) {
    ok(power(store).put_schedule(entry).await);
}

async fn list(store: &Store) -> ScheduleList {
    ok(power(store).list_schedules().await)
}

/// The only one.
async fn row(store: &Store) -> ScheduleRow {
    let mut list = list(store).await;
    assert_eq!(list.schedules.len(), 1, "{list:?}");
    list.schedules.remove(0)
}

async fn fire(store: &Store, firing: &Firing) -> Option<Vec<Enqueued>> {
    ok(power(store).fire_schedule(firing).await)
}

fn firing(since: SystemTime, until: SystemTime, jobs: Vec<Entry>) -> Firing {
    Firing {
        name: "nightly".to_owned(),
        since,
        until,
        jobs,
    }
}

/// A schedule that is dealt with up to an hour ago, and when that was.
async fn due(h: &impl Harness) -> SystemTime {
    put(&h.store(), &entry("nightly")).await;
    let since = now(h);
    h.clock().advance(HOUR);
    since
}

/// When a store first hears of it, and only then.
pub async fn a_schedule_begins_when_it_is_put(h: &impl Harness) {
    let store = h.store();
    let begun = now(h);
    for _ in 0..3 {
        put(&store, &entry("nightly")).await;
        let expected = ScheduleRow {
            entry: entry("nightly"),
            since: begun,
            last_at: None,
            is_paused: false,
        };
        assert_eq!(row(&h.second()).await, expected);
        h.clock().advance(MINUTE + MICRO);
    }
}

/// From then on, but not before what it is dealt with up to.
pub async fn a_schedule_that_is_changed_begins_anew(h: &impl Harness) {
    let store = h.store();
    let since = due(h).await;
    let fired = fire(&store, &firing(since, since + MINUTE, vec![job()])).await;
    assert!(fired.is_some());
    assert!(ok(power(&store).pause_schedule("nightly").await));
    let changes: [fn(&mut ScheduleEntry); 2] = [
        |entry| entry.cron = "0 3 * * *".to_owned(),
        |entry| entry.time_zone = "UTC".to_owned(),
    ];
    let mut changed = entry("nightly");
    for change in changes {
        change(&mut changed);
        put(&store, &changed).await;
        let expected = ScheduleRow {
            entry: changed.clone(),
            since: now(h),
            last_at: Some(since + MINUTE),
            is_paused: true,
        };
        assert_eq!(row(&store).await, expected);
        h.clock().advance(MINUTE);
    }
    let begun = row(&store).await.since;
    h.clock().set(begun - HOUR);
    put(&store, &entry("nightly")).await;
    assert_eq!(row(&store).await.since, begun);
}

/// With the time of the store.
pub async fn schedules_are_listed_by_name(h: &impl Harness) {
    let store = h.store();
    let nothing = ScheduleList {
        now: now(h),
        schedules: Vec::new(),
    };
    assert_eq!(list(&store).await, nothing);
    for name in ["b", "A", "a.1", "c"] {
        put(&store, &entry(name)).await;
    }
    h.clock().advance(MICRO);
    let list = list(&h.second()).await;
    assert_eq!(list.now, now(h));
    let names = list.schedules.iter().map(|row| row.entry.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["A", "a.1", "b", "c"]);
}

/// Both, and a second time neither.
pub async fn a_fire_moves_its_schedule_and_adds_its_jobs(h: &impl Harness) {
    let store = h.store();
    let since = due(h).await;
    put(&store, &entry("weekly")).await;
    let jobs: Vec<_> = (0..3).map(|_| job()).collect();
    let added: Vec<_> = jobs.iter().map(|job| Enqueued::New(job.id)).collect();
    // The moment in which it is due, to the microsecond.
    let until = now(h);
    let firing = firing(since, until, jobs);
    assert_eq!(fire(&store, &firing).await, Some(added));
    for store in [h.store(), h.second()] {
        assert_eq!(fire(&store, &firing).await, None);
        let [moved, other] =
            <[ScheduleRow; 2]>::try_from(list(&store).await.schedules).expect("there are two");
        assert_eq!((moved.since, moved.last_at), (until, Some(until)));
        assert_eq!((other.since, other.last_at), (now(h), None));
        assert_eq!(counts(&store).await, [3, 0, 0, 0, 0]);
    }
}

/// It is dealt with then, but had no job.
pub async fn a_fire_without_jobs_moves_its_schedule(h: &impl Harness) {
    let store = h.store();
    let since = due(h).await;
    let (first, second) = (since + MINUTE, since + 2 * MINUTE);
    let fired = fire(&store, &firing(since, first, vec![job()])).await;
    assert_eq!(fired.map(|jobs| jobs.len()), Some(1));
    let fired = fire(&store, &firing(first, second, Vec::new())).await;
    assert_eq!(fired, Some(Vec::new()));
    let row = row(&store).await;
    assert_eq!((row.since, row.last_at), (second, Some(first)));
}

/// By the store's clock, whatever the caller's says.
pub async fn nothing_fires_before_its_time(h: &impl Harness) {
    let store = h.store();
    let since = due(h).await;
    let before = list(&store).await;
    let mut unknown = firing(since, since + MINUTE, vec![job()]);
    unknown.name = "weekly".to_owned();
    for wrong in [
        firing(since, now(h) + MICRO, vec![job()]),
        firing(since, since, vec![job()]),
        firing(since, since - MINUTE, vec![job()]),
        firing(since - MICRO, since + MINUTE, vec![job()]),
        firing(since + MICRO, since + MINUTE, vec![job()]),
        unknown,
    ] {
        assert_eq!(fire(&store, &wrong).await, None, "{wrong:?}");
    }
    assert_eq!(list(&store).await, before);
    assert_eq!(counts(&store).await, [0; 5]);
}

/// And when it is resumed, what passed meanwhile is dealt with.
pub async fn a_paused_schedule_does_not_fire(h: &impl Harness) {
    let store = h.store();
    let since = due(h).await;
    let firing = firing(since, since + MINUTE, vec![job()]);
    let power = power(&store);
    assert!(!ok(power.resume_schedule("nightly").await));
    assert!(ok(power.pause_schedule("nightly").await));
    assert!(!ok(power.pause_schedule("nightly").await));
    assert!(row(&h.second()).await.is_paused);
    assert_eq!(fire(&h.second(), &firing).await, None);
    put(&store, &entry("nightly")).await;
    assert!(row(&store).await.is_paused);

    assert!(ok(power.resume_schedule("nightly").await));
    assert!(!ok(power.resume_schedule("nightly").await));
    assert_eq!(fire(&store, &firing).await, None);
    let resumed = row(&store).await;
    assert_eq!((resumed.since, resumed.is_paused), (now(h), false));
    assert_eq!(counts(&store).await, [0; 5]);
    for name in ["weekly", ""] {
        assert!(!ok(power.pause_schedule(name).await));
        assert!(!ok(power.resume_schedule(name).await));
    }
}

/// And begins anew if it is put again.
pub async fn a_removed_schedule_is_not_known(h: &impl Harness) {
    let store = h.store();
    let since = due(h).await;
    put(&store, &entry("weekly")).await;
    assert!(ok(power(&store).remove_schedule("nightly").await));
    assert!(!ok(power(&store).remove_schedule("nightly").await));
    assert_eq!(row(&store).await.entry.name, "weekly");
    let firing = firing(since, since + MINUTE, vec![job()]);
    assert_eq!(fire(&store, &firing).await, None);
    put(&store, &entry("nightly")).await;
    assert_eq!(list(&store).await.schedules[0].since, now(h));
}

/// The schedule is moved on all the same: that one is left out.
pub async fn a_fire_whose_key_is_taken_adds_no_job(h: &impl Harness) {
    let store = h.store();
    let since = due(h).await;
    let key = Unique::until_done("reconcile");
    let holder = add(&store, unique(key)).await;
    let (first, second) = (since + MINUTE, since + 2 * MINUTE);
    let fired = fire(&store, &firing(since, first, vec![unique(key)])).await;
    assert_eq!(fired, Some(vec![Enqueued::Existing(holder)]));
    assert_eq!(row(&store).await.since, first);
    let replacing = unique(key.or_replace());
    let (old, new) = (holder, replacing.id);
    let fired = fire(&store, &firing(first, second, vec![replacing])).await;
    assert_eq!(fired, Some(vec![Enqueued::Replaced { new, old }]));
    assert_eq!(counts(&store).await, [1, 0, 0, 0, 0]);
}

/// What it has fired is known without its jobs.
pub async fn a_fire_is_not_repeated_when_its_jobs_are_gone(h: &impl Harness) {
    let store = h.store();
    let since = due(h).await;
    let jobs = vec![job(), job_of("other")];
    let (done, cancelled) = (jobs[0].id, jobs[1].id);
    let firing = firing(since, since + MINUTE, jobs);
    assert!(fire(&store, &firing).await.is_some());
    Worker::join(&store)
        .await
        .claim(9)
        .await
        .end(Outcome::Done)
        .await;
    assert!(ok(store.cancel(cancelled).await));
    assert_eq!(state(&store, cancelled).await, Some(State::Cancelled));
    h.clock().advance(DAY);
    assert_eq!(ok(store.purge_finished(HOUR, 10).await), 1);
    assert_eq!(fire(&store, &firing).await, None);
    for id in [done, cancelled] {
        assert_eq!(state(&store, id).await, None);
    }
}

/// Each looks what is to do and does it, until nothing is left: each minute has one job.
pub async fn many_workers_fire_each_time_once(h: &impl Harness) {
    let since = due(h).await;
    let end = now(h);
    let fired = at_once(h, 8, |_, store| async move {
        let mut own = Vec::new();
        loop {
            let row = row(&store).await;
            let until = row.since + MINUTE;
            if until > end {
                return own;
            }
            // Two of them, so that half of a fire would be seen.
            let jobs = vec![job(), job_of("other")];
            let ids = [jobs[0].id, jobs[1].id];
            let firing = firing(row.since, until, jobs);
            if let Some(added) = fire(&store, &firing).await {
                assert_eq!(added, ids.map(Enqueued::New));
                own.push(until);
            }
            tokio::task::yield_now().await;
        }
    });
    let fired = fired.await;
    let mut times = BTreeMap::new();
    for until in fired.into_iter().flatten() {
        *times.entry(until).or_insert(0) += 1;
    }
    let expected = (1..=60).map(|minute| (since + minute * MINUTE, 1));
    assert_eq!(times, expected.collect());
    assert_eq!(counts(&h.store()).await, [120, 0, 0, 0, 0]);
}

/// The schedule is moved on and the jobs are there, or neither, and then it can be done again.
pub async fn a_dropped_fire_is_all_or_nothing(h: &impl Harness) {
    let store = h.store();
    let since = due(h).await;
    let call = async |store: Store, firing: Firing| {
        ok(power(&store).fire_schedule(&firing).await);
    };
    let rounds = Cell::new(0);
    let next = || {
        let since = since + rounds.get() * MICRO;
        let key = Unique::until_done(rounds.get().to_string());
        firing(
            since,
            since + MICRO,
            vec![job(), unique(key), job_of("other")],
        )
    };
    let current = RefCell::new(next());
    for _ in 0..4 {
        drop_at_every_await(
            || call(Arc::clone(&store), current.borrow().clone()),
            async |at| {
                let whole = current.borrow().clone();
                let ready = counts(&store).await[0];
                let is_moved = row(&store).await.since == whole.until;
                let repeated = fire(&store, &whole).await.is_some();
                if at == Dropped::Completed {
                    assert!(is_moved && !repeated);
                }
                // What was dropped may arrive between these calls, but not half of it.
                let done = u64::from(rounds.get()) * 3;
                assert!(
                    ready == done || ready == done + 3,
                    "{ready} of {done} at {at:?}"
                );
                // Jobs that were there are those of a schedule that is moved on.
                assert!(is_moved || ready == done, "half of it at {at:?}");
                assert!(!(is_moved && repeated), "{at:?}");
                assert_eq!(row(&store).await.since, whole.until, "{at:?}");
                rounds.set(rounds.get() + 1);
                assert_eq!(counts(&store).await[0], done + 3, "{at:?}");
                current.replace(next());
            },
        )
        .await;
    }
}
