//! Lines of groups: [`LimitStore`](crate::LimitStore).

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use super::bench::{
    Batch, HOUR, MINUTE, Store, Worker, add, at_once, discard, enqueue, job, job_with, ok,
    outcomes, queue, rescue, retry, settle, state, view,
};
use super::{Harness, TransactionalHarness};
use crate::store::{Counts, Enqueued, Entry, Filter, GroupView, Outcome, Page, Settled, State};
use crate::{
    Group, JobId, LimitStore, Limits, Priority, Rate, TransactionalJobStore as _, Unique, WorkerId,
};

const GROUP: &str = "tenant:42";

/// Calls at one time of the clock have one place in a queue.
const A_MOMENT: Duration = Duration::from_millis(1);

fn limits(store: &Store) -> &dyn LimitStore {
    store.limits().expect("the store keeps groups")
}

fn of(group: Group) -> Entry {
    job_with(|options| options.with_group(group))
}

fn at_most(jobs: u32) -> Entry {
    of(Group::new(GROUP).with_at_most(jobs))
}

async fn group(store: &Store) -> Option<GroupView> {
    ok(limits(store).group(GROUP).await)
}

/// How many are held and how many are admitted.
async fn line(store: &Store) -> (u64, u64) {
    let group = group(store).await;
    group.map_or((0, 0), |group| (group.held, group.admitted))
}

async fn states(store: &Store, ids: &[JobId]) -> Vec<Option<State>> {
    let mut states = Vec::new();
    for id in ids {
        states.push(state(store, *id).await);
    }
    states
}

async fn add_all(store: &Store, entries: &[Entry]) -> Vec<JobId> {
    let enqueued = ok(store.enqueue(entries).await);
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    let new: Vec<_> = ids.iter().copied().map(Enqueued::New).collect();
    assert_eq!(enqueued, new);
    ids
}

async fn add_some(store: &Store, count: usize, entry: impl Fn() -> Entry) -> Vec<JobId> {
    let entries: Vec<_> = (0..count).map(|_| entry()).collect();
    add_all(store, &entries).await
}

/// In the order in which they were enqueued, and the next with each that ends.
pub async fn a_group_has_no_more_jobs_admitted_than_it_may(h: &impl Harness) {
    let store = h.store();
    let ids = add_some(&store, 5, || at_most(2)).await;
    assert_eq!(line(&store).await, (3, 2));
    let worker = Worker::join(&store).await;
    let first = worker.claim(10).await;
    assert_eq!(first.ids(), ids[..2]);
    assert!(worker.claim(10).await.jobs.is_empty());
    for (ended, next) in [(0, 2), (1, 3)] {
        let settled = first.settle(ids[ended], Outcome::Done).await;
        assert_eq!(settled, Settled::Applied);
        assert_eq!(worker.claim(10).await.job().id, ids[next]);
        assert!(worker.claim(10).await.jobs.is_empty());
    }
    assert_eq!(line(&store).await, (1, 2));
}

/// It is seen by who looks for it, and counted by its queue.
pub async fn a_held_job_is_visible(h: &impl Harness) {
    let store = h.store();
    let here = || at_most(1);
    let entry = job_with(|o| {
        o.with_group(Group::new(GROUP).with_at_most(1))
            .with_queue(queue("b"))
    });
    let ids = [add(&store, here()).await, add(&store, here()).await];
    let other = add(&store, entry).await;
    let held = view(&store, ids[1]).await;
    assert_eq!(held.state, State::Held);
    assert_eq!(held.run_at.map(|at| at >= held.enqueued_at), Some(true));
    let filter = Filter {
        state: Some(State::Held),
        ..Filter::default()
    };
    let page = Page {
        after: None,
        limit: 9,
    };
    let listed = ok(store.list(&filter, &page).await);
    let listed: Vec<_> = listed.iter().map(|job| (job.id, job.state)).collect();
    let mut expected = [(ids[1], State::Held), (other, State::Held)];
    expected.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(listed, expected);
    let count = |counts: Counts| (counts.ready, counts.held, counts.leased);
    assert_eq!(count(ok(store.counts(None).await)), (1, 2, 0));
    assert_eq!(count(ok(store.counts(Some(&queue("b"))).await)), (0, 1, 0));
}

/// By whatever call the first one leaves what is admitted, its slot is the next one's in that call.
pub async fn every_way_out_admits_the_next(h: &impl Harness) {
    let store = h.store();
    for outcome in outcomes() {
        let ids = add_some(&store, 2, || at_most(1)).await;
        let worker = Worker::join(&store).await;
        worker.claim(1).await.end(outcome.clone()).await;
        let next = match outcome {
            // It stands where it stood.
            Outcome::Release => [Some(State::Ready), Some(State::Held)],
            _ => [state(&store, ids[0]).await, Some(State::Ready)],
        };
        assert_eq!(states(&store, &ids).await, next, "{outcome:?}");
        end_all(h).await;
    }
    for case in [
        "cancelled",
        "leave",
        "rescued",
        "crashed too often",
        "replaced",
    ] {
        let key = Unique::until_done("the first").or_replace();
        let group = || Group::new(GROUP).with_at_most(1);
        let first = job_with(|options| options.with_group(group()).with_unique(key));
        let ids = [add(&store, first).await, add(&store, at_most(1)).await];
        match case {
            "cancelled" => assert!(ok(store.cancel(ids[0]).await)),
            "replaced" => {
                let other = job_with(|options| options.with_unique(key).with_delay(HOUR));
                let replaced = enqueue(&store, &other).await;
                assert!(matches!(replaced, Enqueued::Replaced { old, .. } if old == ids[0]));
            }
            _ => {
                let worker = Worker::join(&store).await;
                assert_eq!(worker.claim(2).await.ids(), ids[..1]);
                if case == "leave" {
                    ok(store.leave(worker.id).await);
                } else {
                    h.clock().advance(HOUR);
                    rescue(&store, if case == "rescued" { 9 } else { 1 }).await;
                }
            }
        }
        let stands_again = matches!(case, "leave" | "rescued");
        let next = ids[usize::from(!stands_again)];
        assert_eq!(state(&store, next).await, Some(State::Ready), "{case}");
        assert_eq!(line(&store).await, (u64::from(stands_again), 1), "{case}");
        end_all(h).await;
    }
}

/// Ends whatever is there, by which every group is forgotten.
async fn end_all(h: &impl Harness) {
    let store = h.store();
    h.clock().advance(2 * HOUR);
    rescue(&store, 99).await;
    let page = Page {
        after: None,
        limit: 1_000,
    };
    for job in ok(store.list(&Filter::default(), &page).await) {
        ok(store.cancel(job.id).await);
    }
    ok(store.purge_finished(Duration::ZERO, 1_000).await);
    assert_eq!(group(&store).await, None);
}

/// Neither a group that is full, nor jobs that have none.
pub async fn a_full_group_holds_back_no_other(h: &impl Harness) {
    let store = h.store();
    add_some(&store, 3, || at_most(1)).await;
    h.clock().advance(A_MOMENT);
    let other = add_some(&store, 2, || of(Group::new("tenant:43").with_at_most(2))).await;
    h.clock().advance(A_MOMENT);
    let plain = add(&store, job()).await;
    let worker = Worker::join(&store).await;
    let mut claimed = worker.claim(10).await.ids();
    claimed.remove(0);
    assert_eq!(claimed, [other[0], other[1], plain]);
    assert_eq!(line(&store).await, (2, 1));
}

/// With its key, and without having had a slot.
pub async fn a_held_job_is_cancelled_or_replaced(h: &impl Harness) {
    let store = h.store();
    let first = add(&store, at_most(1)).await;
    let key = Unique::until_done("key").or_replace();
    let group = || Group::new(GROUP).with_at_most(1);
    let unique = || job_with(|options| options.with_group(group()).with_unique(key));
    let held = add(&store, unique()).await;
    let new = unique();
    let replaced = enqueue(&store, &new).await;
    assert_eq!(
        replaced,
        Enqueued::Replaced {
            new: new.id,
            old: held
        }
    );
    assert_eq!(state(&store, held).await, None);
    assert_eq!(state(&store, new.id).await, Some(State::Held));
    assert!(!ok(store.replay(new.id).await));
    assert!(ok(store.cancel(new.id).await));
    assert_eq!(state(&store, new.id).await, Some(State::Cancelled));
    assert_eq!(line(&store).await, (0, 1));
    assert!(matches!(enqueue(&store, &unique()).await, Enqueued::New(_)));
    assert_eq!(state(&store, first).await, Some(State::Ready));
}

/// A dead one that is replayed stands in line as any other.
pub async fn a_replayed_job_stands_in_line(h: &impl Harness) {
    let store = h.store();
    let ids = add_some(&store, 2, || at_most(1)).await;
    let worker = Worker::join(&store).await;
    worker.claim(1).await.end(discard()).await;
    assert!(ok(store.replay(ids[0]).await));
    let waits = [Some(State::Held), Some(State::Ready)];
    assert_eq!(states(&store, &ids).await, waits);
    worker.claim(2).await.end(Outcome::Done).await;
    assert_eq!(worker.claim(2).await.job().id, ids[0]);
}

/// It is no member of the line before its time, and has no slot when it waits for its next attempt.
pub async fn a_scheduled_job_stands_in_line_when_its_time_has_come(h: &impl Harness) {
    let store = h.store();
    let delayed = |group: Group| job_with(|o| o.with_group(group).with_delay(MINUTE));
    let later = add(&store, delayed(Group::new(GROUP).with_at_most(1))).await;
    let first = add(&store, at_most(1)).await;
    assert_eq!(line(&store).await, (0, 1));
    h.clock().advance(MINUTE);
    let promoted = ok(store.promote(10).await);
    assert_eq!((promoted.jobs, promoted.next_in), (0, None));
    let waits = [Some(State::Ready), Some(State::Held)];
    assert_eq!(states(&store, &[first, later]).await, waits);
    let worker = Worker::join(&store).await;
    worker.claim(2).await.end(retry(MINUTE)).await;
    assert_eq!(worker.claim(2).await.job().id, later);
    h.clock().advance(MINUTE);
    assert_eq!(ok(store.promote(10).await).jobs, 0);
    assert_eq!(state(&store, first).await, Some(State::Held));
}

/// A zombie changes nothing of the slot that another has by now.
pub async fn a_lost_lease_frees_no_slot(h: &impl Harness) {
    let store = h.store();
    for outcome in outcomes() {
        let ids = add_some(&store, 2, || at_most(1)).await;
        let zombie = Worker::join(&store).await.claim(1).await;
        h.clock().advance(HOUR);
        rescue(&store, u16::MAX).await;
        let batch = Worker::join(&store).await.claim(2).await;
        assert_eq!(batch.ids(), ids[..1]);
        let settled = zombie.settle(ids[0], outcome).await;
        assert_eq!(settled, Settled::Stale);
        assert_eq!(line(&store).await, (1, 1));
        assert_eq!(state(&store, ids[1]).await, Some(State::Held));
        end_all(h).await;
    }
}

/// As when an answer is lost.
pub async fn a_repeated_call_admits_nothing(h: &impl Harness) {
    let store = h.store();
    let entries: Vec<_> = (0..4).map(|_| at_most(2)).collect();
    add_all(&store, &entries).await;
    ok(store.enqueue(&entries).await);
    assert_eq!(line(&store).await, (2, 2));
    let worker = Worker::join(&store).await;
    let claim = worker.claim_of(10);
    let batch = worker.make(&claim).await;
    assert_eq!(worker.make(&claim).await.ids(), batch.ids());
    let first = batch.ids()[0];
    for expected in [Settled::Applied, Settled::Stale] {
        assert_eq!(batch.settle(first, Outcome::Done).await, expected);
        assert_eq!(line(&store).await, (1, 2));
    }
    for _ in 0..2 {
        ok(store.leave(worker.id).await);
        assert_eq!(line(&store).await, (1, 2));
    }
}

/// Of several in one call the last of them.
pub async fn the_last_declaration_holds(h: &impl Harness) {
    let store = h.store();
    add_all(&store, &[at_most(9), at_most(1)]).await;
    assert_eq!(line(&store).await, (1, 1));
    add(&store, at_most(3)).await;
    assert_eq!(line(&store).await, (0, 3));
    // What runs goes on, and nothing more begins before there is room.
    let worker = Worker::join(&store).await;
    let batch = worker.claim(3).await;
    add(&store, at_most(2)).await;
    assert_eq!(line(&store).await, (1, 3));
    for expected in [(1, 2), (0, 2)] {
        let next = batch.ids()[usize::from(expected.0 == 0)];
        batch.settle(next, Outcome::Done).await;
        assert_eq!(line(&store).await, expected);
    }
}

/// Until he takes them back.
pub async fn what_an_operator_sets_stands_above_declarations(h: &impl Harness) {
    let store = h.store();
    let one = Limits::new().with_at_most(1);
    ok(limits(&store).limit_group(GROUP, Some(one)).await);
    add_some(&store, 4, || at_most(3)).await;
    assert_eq!(line(&store).await, (3, 1));
    let known = group(&store).await.expect("it has jobs");
    assert_eq!((known.limits, known.is_set), (one, true));
    let two = Some(Limits::new().with_at_most(2));
    ok(limits(&store).limit_group(GROUP, two).await);
    assert_eq!(line(&store).await, (2, 2));
    ok(limits(&store).limit_group(GROUP, None).await);
    assert_eq!(line(&store).await, (2, 2));
    add(&store, at_most(5)).await;
    assert_eq!(line(&store).await, (0, 5));
    let none = Some(Limits::new().with_at_most(0));
    ok(limits(&store).limit_group(GROUP, none).await);
    let worker = Worker::join(&store).await;
    worker.claim(9).await.settle_all(Outcome::Release).await;
    assert_eq!(line(&store).await, (5, 0));
    ok(limits(&store).limit_group(GROUP, None).await);
    add(&store, at_most(1)).await;
    end_all(h).await;
}

/// It has no row, no slot and no limit any more.
pub async fn an_empty_group_is_forgotten(h: &impl Harness) {
    let store = h.store();
    assert_eq!(group(&store).await, None);
    add_some(&store, 2, || at_most(1)).await;
    let worker = Worker::join(&store).await;
    for _ in 0..2 {
        assert!(group(&store).await.is_some());
        worker.claim(1).await.end(Outcome::Done).await;
    }
    assert_eq!(group(&store).await, None);
    add_some(&store, 20, || of(Group::new(GROUP))).await;
    assert_eq!(line(&store).await, (4, 16), "the window");
}

/// A job that comes back by a retry or a replay, when nothing else is left of its group, has the limits that were
/// declared with it.
pub async fn a_forgotten_group_is_as_its_jobs_have_declared_it(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    let ids = add_some(&store, 2, || at_most(1)).await;
    for id in &ids {
        let batch = worker.claim(2).await;
        assert_eq!(batch.job().id, *id);
        batch.end(retry(MINUTE)).await;
        assert_eq!(group(&store).await.is_none(), id == &ids[1]);
    }
    h.clock().advance(MINUTE);
    assert_eq!(ok(store.promote(9).await).jobs, 1);
    assert_eq!(line(&store).await, (1, 1));
    for id in &ids {
        let batch = worker.claim(2).await;
        assert_eq!(batch.job().id, *id);
        batch.end(discard()).await;
    }
    assert_eq!(group(&store).await, None);
    for id in &ids {
        assert!(ok(store.replay(*id).await));
    }
    assert_eq!(line(&store).await, (1, 1));
}

/// The more urgent one first, as in a queue.
pub async fn a_group_is_in_the_order_of_a_queue(h: &impl Harness) {
    let store = h.store();
    let with = |priority| {
        job_with(|o| {
            o.with_group(Group::new(GROUP).with_at_most(1))
                .with_priority(priority)
        })
    };
    let first = add(&store, with(Priority::NORMAL)).await;
    let [bulk, normal, urgent] = [Priority::BULK, Priority::NORMAL, Priority::URGENT].map(with);
    let ids = add_all(&store, &[bulk, normal, urgent]).await;
    let worker = Worker::join(&store).await;
    for id in [first, ids[2], ids[1], ids[0]] {
        let batch = worker.claim(4).await;
        assert_eq!(batch.job().id, id);
        batch.end(Outcome::Done).await;
    }
}

/// A tenant with ten thousand jobs who came first does not stand before one with ten.
pub async fn a_large_group_does_not_starve_others(h: &impl Harness) {
    const WINDOW: usize = 16;
    const BATCH: u16 = 8;
    let store = h.store();
    for _ in 0..10 {
        add_some(&store, 1_000, || of(Group::new("large"))).await;
    }
    h.clock().advance(A_MOMENT);
    let small = add_some(&store, 10, || of(Group::new("small"))).await;
    h.clock().advance(A_MOMENT);
    let worker = Worker::join(&store).await;
    let (mut claims, mut left) = (0, small.len());
    while left > 0 {
        let batch = worker.claim(BATCH).await;
        claims += batch.jobs.len();
        left -= batch.ids().iter().filter(|id| small.contains(id)).count();
        h.clock().advance(A_MOMENT);
        batch.settle_all(Outcome::Done).await;
        assert!(claims <= WINDOW + 10 + usize::from(BATCH), "{left} left");
    }
}

/// As many at once as the burst, and then one when its time has come; what has waited long for a
/// worker has its token spent when it starts, and not before.
pub async fn a_group_starts_no_more_than_its_rate(h: &impl Harness) {
    let store = h.store();
    let rate = Rate::new(2, 2 * MINUTE);
    let entry = || of(Group::new(GROUP).with_rate(rate));
    add_some(&store, 9, entry).await;
    assert_eq!(line(&store).await, (7, 2));
    assert_eq!(
        ok(store.promote(9).await).next_in,
        None,
        "these start first"
    );
    h.clock().advance(HOUR);
    assert_eq!(ok(store.promote(9).await).jobs, 0);
    let worker = Worker::join(&store).await;
    assert_eq!(worker.claim(9).await.jobs.len(), 2);
    for _ in 0..3 {
        let admits_in = limits(&store).admits_in().expect("a time");
        assert!(
            admits_in <= MINUTE && admits_in > MINUTE / 2,
            "{admits_in:?}"
        );
        let promoted = ok(store.promote(9).await);
        assert_eq!((promoted.jobs, promoted.next_in), (0, Some(MINUTE)));
        h.clock().advance(MINUTE - Duration::from_micros(1));
        assert_eq!(ok(store.promote(9).await).jobs, 0);
        limits(&store).admits_in();
        h.clock().advance(Duration::from_micros(1));
        assert_eq!(ok(store.promote(9).await).jobs, 1);
        assert_eq!(worker.claim(9).await.jobs.len(), 1);
    }
}

/// Whatever is done in between: by the store's clock no time has more starts than it may have.
pub async fn starts_are_counted_by_time(h: &impl Harness) {
    const SECOND: Duration = Duration::from_secs(1);
    let store = h.store();
    let rate = Rate::new(1, 2 * SECOND).with_burst(3);
    add_some(&store, 60, || of(Group::new(GROUP).with_rate(rate))).await;
    let worker = Worker::join(&store).await;
    let mut starts = Vec::new();
    for (second, takes) in (0..60_u32).zip(
        [true, false, true, true, false, false, false]
            .into_iter()
            .cycle(),
    ) {
        ok(store.promote(100).await);
        if takes {
            let batch = worker.claim(100).await;
            starts.extend(batch.jobs.iter().map(|_| second));
            let half = batch.jobs.len() / 2;
            for (n, id) in batch.ids().into_iter().enumerate() {
                batch
                    .settle(
                        id,
                        if n < half {
                            retry(SECOND)
                        } else {
                            Outcome::Done
                        },
                    )
                    .await;
            }
        }
        h.clock().advance(SECOND);
    }
    assert!(starts.len() >= 25, "{starts:?}");
    for (n, from) in starts.iter().enumerate() {
        for (m, to) in starts.iter().enumerate().skip(n) {
            let most = 3 + (to - from) / 2;
            assert!(m - n < most as usize, "{starts:?}");
        }
    }
}

/// A group with nothing in it is remembered as long as its rate is not full again.
pub async fn a_rate_outlives_its_jobs(h: &impl Harness) {
    let store = h.store();
    let entry = || of(Group::new(GROUP).with_rate(Rate::new(1, MINUTE)));
    add(&store, entry()).await;
    let worker = Worker::join(&store).await;
    worker.claim(1).await.end(Outcome::Done).await;
    let next = add(&store, entry()).await;
    assert_eq!(state(&store, next).await, Some(State::Held));
    assert_eq!(ok(store.promote(9).await).next_in, Some(MINUTE));
    h.clock().advance(MINUTE);
    assert_eq!(ok(store.promote(9).await).jobs, 1);
    worker.claim(1).await.end(Outcome::Done).await;
    assert!(group(&store).await.is_some());
    h.clock().advance(MINUTE);
    let promoted = ok(store.promote(9).await);
    assert_eq!((promoted.jobs, promoted.next_in), (0, None));
    assert_eq!(group(&store).await, None);
}

/// A claim takes less, and says when there is more. Other queues do not mind.
pub async fn a_queue_starts_no_more_than_its_rate(h: &impl Harness) {
    let store = h.store();
    let entries: Vec<_> = (0..9).map(|_| job()).collect();
    let ids = add_all(&store, &entries).await;
    let worker = Worker::join(&store).await;
    let claim = worker.claim_of(9);
    let rate = Rate::new(3, 3 * MINUTE).with_burst(2);
    ok(limits(&store).limit_queue(&claim.queue, Some(rate)).await);
    let batch = worker.make(&claim).await;
    assert_eq!(batch.ids(), ids[..2]);
    assert_eq!(worker.make(&claim).await.ids(), ids[..2], "asked again");
    assert!(worker.claim(9).await.jobs.is_empty());
    let more_in = limits(&store).more_in(&claim.queue).expect("a time");
    assert!(more_in <= MINUTE && more_in > MINUTE / 2, "{more_in:?}");
    h.clock().advance(MINUTE);
    assert_eq!(worker.claim(9).await.ids(), ids[2..3]);
    h.clock().advance(HOUR / 2);
    assert_eq!(worker.claim(9).await.ids(), ids[3..5]);
    let elsewhere = job_with(|options| options.with_queue(queue("b")));
    let other = add(&store, elsewhere).await;
    let from_b = crate::store::Claim {
        queue: queue("b"),
        ..worker.claim_of(9)
    };
    assert_eq!(worker.make(&from_b).await.job().id, other);
    assert_eq!(limits(&store).more_in(&from_b.queue), None);
    ok(limits(&store).limit_queue(&claim.queue, None).await);
    assert_eq!(worker.claim(9).await.ids(), ids[5..]);
    assert_eq!(limits(&store).more_in(&claim.queue), None);
}

/// Claimers, enqueuers, zombies and the rescue of them, all at once: what is leased is never more than
/// it may be, and in the end no slot is left.
pub async fn many_workers_never_run_more_of_a_group_than_it_may(h: &impl Harness) {
    const WORKERS: usize = 8;
    const GROUPS: usize = 3;
    const EACH: usize = 12;
    let of_group = |n: usize| {
        let most = [1, 2, 3][n];
        of(Group::new(format!("group {n}")).with_at_most(most))
    };
    let store = h.store();
    let group_of = std::sync::Arc::<std::sync::Mutex<HashMap<JobId, usize>>>::default();
    let know = |group_of: &std::sync::Mutex<HashMap<JobId, usize>>, id| {
        group_of.lock().expect("nobody panics with it")[&id]
    };
    let running: std::sync::Arc<[AtomicI64; GROUPS]> = std::sync::Arc::default();
    let ended = std::sync::Arc::new(AtomicU32::new(0));
    let all = u32::try_from(WORKERS * EACH).expect("they are few");
    let work = at_once(h, WORKERS, |n, store| {
        let (group_of, running, ended) = (group_of.clone(), running.clone(), ended.clone());
        async move {
            let entries: Vec<_> = (0..EACH).map(|m| of_group((n + m) % GROUPS)).collect();
            for (m, entry) in entries.iter().enumerate() {
                let mut known = group_of.lock().expect("nobody panics with it");
                known.insert(entry.id, (n + m) % GROUPS);
            }
            for two in entries.chunks(2) {
                ok(store.enqueue(two).await);
            }
            let mut worker = Worker::join(&store).await;
            let mut round = n;
            while ended.load(Ordering::SeqCst) < all {
                round += 1;
                let batch = worker.claim(1 + (round % 4) as u16).await;
                for id in batch.ids() {
                    let group = know(&group_of, id);
                    let now = running[group].fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(now <= group as i64 + 1, "{now} of group {group} run");
                }
                tokio::task::yield_now().await;
                for id in batch.ids() {
                    let group = know(&group_of, id);
                    running[group].fetch_sub(1, Ordering::SeqCst);
                }
                worker = end(batch, worker, round, &ended).await;
            }
        }
    });
    let done = tokio::time::timeout(5 * MINUTE, work).await;
    assert_eq!(done.expect("all come to their end").len(), WORKERS);
    for n in 0..GROUPS {
        let name = format!("group {n}");
        assert_eq!(
            ok(limits(&store).group(&name).await),
            None,
            "no slot is left"
        );
    }
    assert_eq!(ok(store.counts(None).await), Counts::default());
}

/// Ends the batch in one of several ways, and says who works on.
async fn end(batch: Batch, worker: Worker, round: usize, ended: &AtomicU32) -> Worker {
    if batch.jobs.is_empty() {
        ok(batch.store.promote(100).await);
        return worker;
    }
    match round % 5 {
        0 => {
            ok(batch.store.leave(worker.id).await);
            for settled in batch.settle_all(Outcome::Done).await {
                assert_eq!(settled, Settled::Stale);
            }
            Worker::join(&batch.store).await
        }
        1 => {
            batch.settle_all(Outcome::Release).await;
            worker
        }
        2 => {
            batch.settle_all(retry(Duration::ZERO)).await;
            ok(batch.store.promote(100).await);
            worker
        }
        3 => {
            // It dies, and is rescued by whoever comes first.
            ok(batch.store.join(worker.id, Duration::ZERO).await);
            rescue(&batch.store, u16::MAX).await;
            Worker::join(&batch.store).await
        }
        _ => {
            for settled in batch.settle_all(Outcome::Done).await {
                if settled == Settled::Applied {
                    ended.fetch_add(1, Ordering::SeqCst);
                }
            }
            worker
        }
    }
}

/// Whoever comes at the same moment sees the same room, which is there once.
pub async fn many_enqueues_at_once_share_the_room_of_a_group(h: &impl Harness) {
    const CALLS: usize = 8;
    let store = h.store();
    let two = Some(Limits::new().with_at_most(2));
    ok(limits(&store).limit_group(GROUP, two).await);
    for _ in 0..10 {
        let calls = at_once(h, CALLS, |_, store| async move {
            let entries = [at_most(9), at_most(9)];
            let ids = entries.each_ref().map(|entry| entry.id);
            ok(store.enqueue(&entries).await);
            ids
        });
        let ids: Vec<_> = calls.await.into_iter().flatten().collect();
        assert_eq!(line(&store).await, (2 * CALLS as u64 - 2, 2));
        let cancelled = at_once(h, ids.len(), move |n, store| {
            let id = ids[n];
            async move { ok(store.cancel(id).await) }
        });
        assert!(cancelled.await.into_iter().all(|cancelled| cancelled));
        assert_eq!(line(&store).await, (0, 0));
    }
    ok(limits(&store).limit_group(GROUP, None).await);
    assert_eq!(group(&store).await, None);
}

/// And settlements of several groups in several orders do not block each other.
pub async fn many_settlements_of_many_groups_end(h: &impl Harness) {
    const GROUPS: usize = 6;
    let store = h.store();
    let entry = |n: usize| of(Group::new(format!("group {}", n % GROUPS)).with_at_most(2));
    for turn in 0..8 {
        let mut entries: Vec<_> = (0..4 * GROUPS).map(entry).collect();
        entries.rotate_left(turn);
        add_all(&store, &entries).await;
    }
    let worked = at_once(h, 4, |_, store| async move {
        let worker = Worker::join(&store).await;
        let mut done = 0;
        loop {
            let batch = worker.claim(5).await;
            if batch.jobs.is_empty() && ok(store.counts(None).await) == Counts::default() {
                return done;
            }
            done += batch.settle_all(Outcome::Done).await.len();
        }
    });
    let worked = tokio::time::timeout(5 * MINUTE, worked).await;
    let worked: usize = worked.expect("nobody waits for ever").into_iter().sum();
    assert_eq!(worked, 8 * 4 * GROUPS);
}

/// In the transaction of the caller both are done or neither; then the line moves on by itself.
pub async fn a_line_moves_on_when_its_transaction_commits(h: &impl TransactionalHarness) {
    let store = h.store();
    let (first, second) = (at_most(1), at_most(1));
    for commits in [false, true] {
        let mut transaction = h.begin().await;
        let joined = h.transactional_store();
        ok(joined
            .enqueue_in(&mut *transaction, &[first.clone(), second.clone()])
            .await);
        if commits {
            h.commit(transaction).await;
        } else {
            h.roll_back(transaction).await;
            assert_eq!(group(&store).await, None);
        }
    }
    let worker = Worker::join(&store).await;
    let batch = worker.claim(9).await;
    assert_eq!(batch.job().id, first.id);
    for commits in [false, true] {
        let mut transaction = h.begin().await;
        let joined = h.transactional_store();
        let completed = joined
            .complete_in(&mut *transaction, batch.lease, first.id)
            .await;
        assert_eq!(ok(completed), Settled::Applied);
        if commits {
            h.commit(transaction).await;
            assert_eq!(worker.claim(9).await.job().id, second.id);
        } else {
            h.roll_back(transaction).await;
            assert!(worker.claim(9).await.jobs.is_empty());
        }
    }
    assert_eq!(line(&store).await, (0, 1));
}

/// A transaction that is open holds up nobody who works on the same group.
pub async fn an_open_transaction_does_not_block_its_group(h: &impl TransactionalHarness) {
    let store = h.store();
    let ids = add_some(&store, 3, || at_most(2)).await;
    let worker = Worker::join(&store).await;
    let batch = worker.claim(9).await;
    let mut transaction = h.begin().await;
    let joined = h.transactional_store();
    let completed = joined
        .complete_in(&mut *transaction, batch.lease, ids[0])
        .await;
    assert_eq!(ok(completed), Settled::Applied);
    if h.waits_for_transactions() {
        h.commit(transaction).await;
        assert_eq!(line(&store).await, (0, 2));
        return;
    }
    let id = WorkerId::new();
    ok(store.join(id, HOUR).await);
    let settled = settle(&store, batch.lease, ids[1], Outcome::Done).await;
    assert_eq!(settled, Settled::Applied);
    assert_eq!(state(&store, ids[2]).await, Some(State::Ready));
    h.commit(transaction).await;
    ok(store.promote(9).await);
    assert_eq!(line(&store).await, (0, 1));
}
