//! Jobs that wait for others of the same call.

use std::collections::HashSet;
use std::time::Duration;

use purlin_store::StoreErrorKind;

use super::Harness;
use super::bench::{
    HOUR, MINUTE, Store, Worker, YEAR, add, at_once, conflict, discard, enqueue, job, job_with,
    now, ok, queue, rescue, retry, settle, state, unique, view,
};
use crate::store::{
    Enqueued, Entry, Filter, On, Outcome, Page, Parent, Settled, Settlement, State, Tally, Wake,
};
use crate::{JobId, Priority, Unique};

/// A job that waits for these.
pub(super) fn after(parents: &[&Entry], on: On) -> Entry {
    let parent = |entry: &&Entry| Parent { id: entry.id, on };
    Entry {
        parents: parents.iter().map(parent).collect(),
        ..job()
    }
}

async fn add_all(store: &Store, entries: &[Entry]) {
    let new: Vec<_> = entries
        .iter()
        .map(|entry| Enqueued::New(entry.id))
        .collect();
    assert_eq!(ok(store.enqueue(entries).await), new);
}

/// Goes before all others.
fn urgent() -> Entry {
    job_with(|o| o.with_priority(Priority::URGENT))
}

async fn blocked(store: &Store) -> u64 {
    ok(store.counts(None).await).blocked
}

/// How many jobs are blocked, ready, dead and cancelled.
async fn standing(store: &Store) -> [u64; 4] {
    let counts = ok(store.counts(None).await);
    [counts.blocked, counts.ready, counts.dead, counts.cancelled]
}

/// Nobody gets it before. Then it is ready as if it were enqueued now, and knows how its parent ended.
pub async fn a_job_waits_until_another_is_done(h: &impl Harness) {
    let store = h.store();
    let first = job();
    let second = after(&[&first], On::Done);
    let enqueued_at = now(h);
    add_all(&store, &[first.clone(), second.clone()]).await;
    let waits = view(&h.second(), second.id).await;
    assert_eq!((waits.state, waits.waits_for), (State::Blocked, 1));
    assert_eq!((waits.run_at, waits.finished_at), (None, None));
    assert_eq!(waits.parents, Tally::default());
    assert_eq!(standing(&store).await, [1, 1, 0, 0]);
    assert_eq!(ok(store.counts(Some(&queue("other"))).await).blocked, 0);
    let filter = Filter {
        state: Some(State::Blocked),
        ..Filter::default()
    };
    let page = Page {
        after: None,
        limit: 10,
    };
    assert_eq!(ok(store.list(&filter, &page).await), [waits]);

    let worker = Worker::join(&store).await;
    let batch = worker.claim(10).await;
    assert_eq!(batch.job().id, first.id);
    assert_eq!(batch.job().parents, Tally::default());
    h.clock().advance(MINUTE);
    batch.end(Outcome::Done).await;
    let ready = view(&h.second(), second.id).await;
    assert_eq!((ready.state, ready.waits_for), (State::Ready, 0));
    assert_eq!(ready.run_at, Some(now(h)));
    assert_eq!(
        ready.enqueued_at.max(enqueued_at + MINUTE),
        enqueued_at + MINUTE
    );
    assert_eq!(ready.parents, Tally::new(1, 0, 0));
    let batch = worker.claim(10).await;
    assert_eq!(batch.job().id, second.id);
    assert_eq!(batch.job().parents, Tally::new(1, 0, 0));
    batch.end(retry(MINUTE)).await;
    h.clock().advance(MINUTE);
    assert_eq!(ok(store.promote(10).await).jobs, 1);
    let batch = worker.claim(10).await;
    assert_eq!(batch.job().parents, Tally::new(1, 0, 0));
    batch.end(Outcome::Done).await;
    assert_eq!(standing(&store).await, [0; 4]);
    assert_eq!(ok(store.list(&Filter::default(), &page).await), []);
}

/// For each of them, in whatever order they are done.
pub async fn a_job_waits_for_all_of_its_parents(h: &impl Harness) {
    let store = h.store();
    let top = urgent();
    let sides = [0; 3].map(|_| after(&[&top], On::Done));
    let bottom = after(&[&top, &sides[0], &sides[1], &sides[2]], On::Done);
    let [a, b, c] = sides.clone();
    add_all(&store, &[top.clone(), a, b, c, bottom.clone()]).await;
    let worker = Worker::join(&store).await;
    worker.claim(10).await.end(Outcome::Done).await;
    assert_eq!(standing(&store).await, [1, 3, 0, 0]);
    let batch = worker.claim(10).await;
    let ids: HashSet<_> = batch.ids().into_iter().collect();
    assert_eq!(ids, sides.iter().map(|side| side.id).collect());
    for (left, id) in (0..3).rev().zip(batch.ids()) {
        assert_eq!(batch.settle(id, Outcome::Done).await, Settled::Applied);
        let waits = view(&store, bottom.id).await;
        assert_eq!((waits.waits_for, waits.parents.done), (left, 4 - left));
        let expected = if left == 0 {
            State::Ready
        } else {
            State::Blocked
        };
        assert_eq!(waits.state, expected);
    }
    assert_eq!(worker.claim(10).await.ids(), [bottom.id]);
}

/// How a job comes to its end, or does not.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Done,
    Discarded,
    Cancelled,
    CancelledByOther,
    CancelledWhileItRuns(Last),
    Crashed,
    CrashedWhenCancelled,
    GivenBackWhenCancelled,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Last {
    Retry,
    Snooze,
    Release,
}

impl Last {
    fn outcome(self) -> Outcome {
        match self {
            Self::Retry => retry(MINUTE),
            Self::Snooze => Outcome::Snooze { after: MINUTE },
            Self::Release => Outcome::Release,
        }
    }
}

impl Ending {
    pub(super) const ALL: [Self; 10] = [
        Self::Done,
        Self::Discarded,
        Self::Cancelled,
        Self::CancelledByOther,
        Self::CancelledWhileItRuns(Last::Retry),
        Self::CancelledWhileItRuns(Last::Snooze),
        Self::CancelledWhileItRuns(Last::Release),
        Self::Crashed,
        Self::CrashedWhenCancelled,
        Self::GivenBackWhenCancelled,
    ];

    /// Ends the only job that is ready.
    pub(super) async fn end(self, h: &impl Harness, id: JobId) {
        let store = h.store();
        if matches!(self, Self::CancelledByOther) {
            assert!(ok(store.cancel(id).await));
            return;
        }
        let worker = Worker::join(&store).await;
        let batch = worker.claim(1).await;
        assert_eq!(batch.job().id, id);
        match self {
            Self::Done => batch.end(Outcome::Done).await,
            Self::Discarded => batch.end(discard()).await,
            Self::Cancelled | Self::CancelledByOther => batch.end(Outcome::Cancelled).await,
            Self::CancelledWhileItRuns(last) => {
                assert!(ok(store.cancel(id).await));
                batch.end(last.outcome()).await;
            }
            Self::Crashed => {
                h.clock().advance(HOUR);
                assert_eq!(rescue(&store, 1).await.dead, 1);
            }
            Self::CrashedWhenCancelled => {
                assert!(ok(store.cancel(id).await));
                h.clock().advance(HOUR);
                assert!(rescue(&store, 1).await.workers > 0);
            }
            Self::GivenBackWhenCancelled => {
                assert!(ok(store.cancel(id).await));
                ok(store.leave(worker.id).await);
            }
        }
    }

    fn tally(self) -> Tally {
        match self {
            Self::Done => Tally::new(1, 0, 0),
            Self::Discarded | Self::Crashed => Tally::new(0, 1, 0),
            _ => Tally::new(0, 0, 1),
        }
    }
}

/// In the step that ends the parent: whoever waits for any end goes on; whoever waits until it is done
/// goes on, stays blocked when it is dead, and is cancelled with it.
pub async fn every_end_is_told(h: &impl Harness) {
    let store = h.store();
    for ending in Ending::ALL {
        let parent = job();
        let on_done = after(&[&parent], On::Done);
        let on_ended = after(&[&parent], On::Ended);
        let below = after(&[&on_done], On::Done);
        let flow = [&parent, &on_done, &on_ended, &below].map(Clone::clone);
        add_all(&store, &flow).await;
        ending.end(h, parent.id).await;
        let tally = ending.tally();
        let told = view(&h.second(), on_ended.id).await;
        assert_eq!(
            (told.state, told.parents),
            (State::Ready, tally),
            "{ending:?}"
        );
        let (done, below_it) = match tally {
            Tally { done: 1, .. } => (State::Ready, State::Blocked),
            Tally { dead: 1, .. } => (State::Blocked, State::Blocked),
            _ => (State::Cancelled, State::Cancelled),
        };
        assert_eq!(state(&store, on_done.id).await, Some(done), "{ending:?}");
        assert_eq!(state(&store, below.id).await, Some(below_it), "{ending:?}");
        for entry in [&on_ended, &on_done] {
            ok(store.cancel(entry.id).await);
        }
        assert_eq!(standing(&store).await[..2], [0, 0], "{ending:?}");
    }
}

/// It has not ended.
pub async fn a_job_that_waits_again_tells_nobody(h: &impl Harness) {
    let store = h.store();
    let parent = job();
    let children = [On::Done, On::Ended].map(|on| after(&[&parent], on));
    let [one, other] = children.clone();
    add_all(&store, &[parent.clone(), one, other]).await;
    for last in [Last::Retry, Last::Snooze, Last::Release] {
        Worker::join(&store)
            .await
            .claim(1)
            .await
            .end(last.outcome())
            .await;
        h.clock().advance(MINUTE);
        ok(store.promote(10).await);
        assert_eq!(blocked(&store).await, 2);
    }
    let worker = Worker::join(&store).await;
    assert_eq!(worker.claim(10).await.ids(), [parent.id]);
    ok(store.leave(worker.id).await);
    assert_eq!(blocked(&store).await, 2);
    assert_eq!(
        Worker::join(&store).await.claim(10).await.ids(),
        [parent.id]
    );
    h.clock().advance(HOUR);
    assert_eq!(rescue(&store, 9).await.ready, 1);
    assert_eq!(blocked(&store).await, 2);
}

/// Those that wait until it is done go on then. Those that have heard that it is dead hear no more.
pub async fn a_dead_parent_that_is_replayed_is_waited_for(h: &impl Harness) {
    let store = h.store();
    let (parent, other) = (urgent(), job());
    let on_done = after(&[&parent], On::Done);
    let on_ended = after(&[&parent, &other], On::Ended);
    let flow = [&parent, &other, &on_done, &on_ended].map(Clone::clone);
    add_all(&store, &flow).await;
    let worker = Worker::join(&store).await;
    for replayed in 1..=2 {
        worker.claim(1).await.end(discard()).await;
        let told = view(&store, on_ended.id).await;
        assert_eq!((told.state, told.waits_for), (State::Blocked, 1));
        assert_eq!(told.parents, Tally::new(0, 1, 0));
        assert_eq!(state(&store, on_done.id).await, Some(State::Blocked));
        assert!(ok(store.replay(parent.id).await), "{replayed}");
        h.clock().advance(MINUTE);
    }
    let batch = worker.claim(1).await;
    assert_eq!(batch.job().id, parent.id);
    batch.end(Outcome::Done).await;
    let done = view(&store, on_done.id).await;
    assert_eq!(
        (done.state, done.parents),
        (State::Ready, Tally::new(1, 0, 0))
    );
    let told = view(&store, on_ended.id).await;
    assert_eq!(
        (told.state, told.parents),
        (State::Blocked, Tally::new(0, 1, 0))
    );
}

/// A callback that died knows what it knew when it is replayed.
pub async fn a_dead_child_that_is_replayed_knows_its_parents(h: &impl Harness) {
    let store = h.store();
    let parent = job();
    let child = after(&[&parent], On::Ended);
    add_all(&store, &[parent, child.clone()]).await;
    let worker = Worker::join(&store).await;
    worker.claim(1).await.end(discard()).await;
    worker.claim(1).await.end(discard()).await;
    assert_eq!(view(&store, child.id).await.parents, Tally::new(0, 1, 0));
    assert!(ok(store.replay(child.id).await));
    assert_eq!(worker.claim(1).await.job().parents, Tally::new(0, 1, 0));
}

/// However far below it they stand, and their keys are free. Those that wait for any end go on.
pub async fn a_cancelled_job_takes_along_who_waits_for_it(h: &impl Harness) {
    let store = h.store();
    let root = job();
    let mut flow = vec![root.clone()];
    for n in 0..50_u8 {
        let parent = flow[usize::from(n)].clone();
        let mut next = after(&[&parent], On::Done);
        next.options.unique = Some(Unique::until_done([n]));
        flow.push(next);
    }
    let (middle, last) = (flow[25].clone(), flow[50].clone());
    let told = after(&[&middle, &last], On::Ended);
    let spared = after(&[&told], On::Done);
    let outside = urgent();
    let mixed = after(&[&outside, &last], On::Done);
    flow.extend([told.clone(), spared.clone(), outside.clone(), mixed.clone()]);
    add_all(&store, &flow).await;
    assert!(ok(h.second().cancel(root.id).await));
    assert_eq!(standing(&store).await, [1, 2, 0, 52]);
    let cancelled = view(&store, last.id).await;
    assert_eq!(cancelled.finished_at, Some(now(h)));
    assert_eq!(
        (cancelled.state, cancelled.waits_for),
        (State::Cancelled, 0)
    );
    assert_eq!(view(&store, told.id).await.parents, Tally::new(0, 0, 2));
    assert_eq!(state(&store, spared.id).await, Some(State::Blocked));
    for n in 0..50_u8 {
        add(&store, unique(Unique::until_done([n]))).await;
    }
    // Its other parent tells nothing to one that has ended.
    Worker::join(&store)
        .await
        .claim(1)
        .await
        .end(Outcome::Done)
        .await;
    assert_eq!(state(&store, mixed.id).await, Some(State::Cancelled));
    assert_eq!(state(&store, outside.id).await, None);
}

/// In one step, though each of a thousand waits for the one before.
pub async fn a_long_chain_is_cancelled_at_once(h: &impl Harness) {
    let store = h.store();
    let mut flow = vec![job()];
    for n in 0..1_000 {
        let parent = &flow[n];
        flow.push(after(&[parent], On::Done));
    }
    add_all(&store, &flow).await;
    assert!(ok(store.cancel(flow[0].id).await));
    assert_eq!(standing(&store).await, [0, 0, 0, 1_001]);
}

/// Nobody can replay it any more.
pub async fn a_dead_parent_that_is_purged_takes_along_who_waits_for_it(h: &impl Harness) {
    let store = h.store();
    let parent = job();
    let on_done = after(&[&parent], On::Done);
    let below = after(&[&on_done], On::Ended);
    let on_ended = after(&[&parent], On::Ended);
    let flow = [&parent, &on_done, &below, &on_ended].map(Clone::clone);
    add_all(&store, &flow).await;
    let worker = Worker::join(&store).await;
    worker.claim(1).await.end(discard()).await;
    let callback = worker.claim(1).await;
    assert_eq!(callback.job().id, on_ended.id);
    callback.end(Outcome::Done).await;
    h.clock().advance(MINUTE);
    assert_eq!(ok(store.purge_finished(MINUTE, 10).await), 1);
    assert_eq!(state(&store, parent.id).await, None);
    assert_eq!(state(&store, on_done.id).await, Some(State::Cancelled));
    assert_eq!(view(&store, below.id).await.parents, Tally::new(0, 0, 1));
    h.clock().advance(MINUTE);
    assert_eq!(ok(store.purge_finished(MINUTE, 10).await), 1);
    assert_eq!(worker.claim(10).await.ids(), [below.id]);
    assert_eq!(standing(&store).await, [0; 4]);
}

/// Neither a lost lease nor what was settled before lets anybody go on.
pub async fn a_stale_settlement_tells_nobody(h: &impl Harness) {
    let store = h.store();
    let (first, second) = (urgent(), job());
    let child = after(&[&first, &second], On::Ended);
    add_all(&store, &[first.clone(), second.clone(), child.clone()]).await;
    let lost = Worker::join(&store).await.claim(2).await;
    assert_eq!(lost.ids(), [first.id, second.id]);
    h.clock().advance(HOUR);
    rescue(&store, 9).await;
    let batch = Worker::join(&store).await.claim(1).await;
    assert_eq!(batch.job().id, first.id);
    for outcome in [Outcome::Done, discard(), Outcome::Cancelled] {
        let said = lost.settle_all(outcome).await;
        assert_eq!(said, [Settled::Stale, Settled::Stale]);
        assert_eq!(view(&store, child.id).await.waits_for, 2);
    }
    batch.end(Outcome::Done).await;
    for outcome in [Outcome::Done, discard()] {
        assert_eq!(batch.settle(first.id, outcome).await, Settled::Stale);
        let waits = view(&store, child.id).await;
        assert_eq!((waits.waits_for, waits.parents), (1, Tally::new(1, 0, 0)));
    }
    // The id of a parent that is done may come again; its first end counts.
    add(
        &store,
        Entry {
            id: first.id,
            ..job()
        },
    )
    .await;
    assert!(ok(store.cancel(first.id).await));
    assert_eq!(view(&store, child.id).await.waits_for, 1);
}

/// Not from when it was enqueued. A time is a time.
pub async fn a_delay_counts_from_when_a_job_waits_for_nobody(h: &impl Harness) {
    let store = h.store();
    let parent = urgent();
    let child = |change: &dyn Fn(crate::Options) -> crate::Options| Entry {
        options: change(crate::Options::new()),
        ..after(&[&parent], On::Done)
    };
    let soon = now(h) + MINUTE;
    let late = now(h) + 3 * HOUR;
    let delayed = child(&|o| o.with_delay(MINUTE));
    let at_once = child(&|o| o.with_run_at(soon));
    let later = child(&|o| o.with_run_at(late));
    let never = child(&|o| o.with_delay(Duration::MAX));
    let children = [&delayed, &at_once, &later, &never];
    let mut flow = vec![parent.clone()];
    flow.extend(children.map(Clone::clone));
    add_all(&store, &flow).await;
    for child in children {
        assert_eq!(view(&store, child.id).await.run_at, None);
    }
    h.clock().advance(HOUR);
    assert_eq!(ok(store.promote(10).await).jobs, 0);
    Worker::join(&store)
        .await
        .claim(1)
        .await
        .end(Outcome::Done)
        .await;
    let stands = async |entry: &Entry| {
        let view = view(&store, entry.id).await;
        (view.state, view.run_at)
    };
    let minute = Some(now(h) + MINUTE);
    assert_eq!(stands(&delayed).await, (State::Scheduled, minute));
    let (state, run_at) = stands(&at_once).await;
    assert_eq!(state, State::Ready);
    // Those that go on together may stand a few microseconds apart.
    assert!(run_at >= Some(now(h)) && run_at < Some(now(h) + Duration::from_millis(1)));
    assert_eq!(stands(&later).await, (State::Scheduled, Some(late)));
    let (state, run_at) = stands(&never).await;
    assert_eq!(state, State::Scheduled);
    assert!(run_at > Some(now(h) + 1_000 * YEAR), "{run_at:?}");
    h.clock().advance(MINUTE);
    assert_eq!(ok(store.promote(10).await).jobs, 1);
}

/// With those that wait for it. It is not replayed, and its parent tells it nothing more.
pub async fn a_blocked_job_is_cancelled(h: &impl Harness) {
    let store = h.store();
    let parents = [urgent(), job()];
    let mut child = after(&[&parents[0], &parents[1]], On::Ended);
    child.options.unique = Some(Unique::until_done("key"));
    let below = after(&[&child], On::Done);
    let told = after(&[&child], On::Ended);
    let [one, other] = parents.clone();
    let flow = [one, other, child.clone(), below.clone(), told.clone()];
    add_all(&store, &flow).await;
    assert!(!ok(store.replay(child.id).await));
    assert_eq!(state(&store, child.id).await, Some(State::Blocked));
    let worker = Worker::join(&store).await;
    worker.claim(1).await.end(Outcome::Done).await;
    assert!(ok(h.second().cancel(child.id).await));
    assert!(!ok(h.second().cancel(child.id).await));
    let cancelled = view(&store, child.id).await;
    assert_eq!(
        (cancelled.state, cancelled.waits_for),
        (State::Cancelled, 0)
    );
    assert_eq!(cancelled.parents, Tally::new(1, 0, 0));
    assert_eq!(cancelled.finished_at, Some(now(h)));
    assert_eq!(state(&store, below.id).await, Some(State::Cancelled));
    assert_eq!(view(&store, told.id).await.parents, Tally::new(0, 0, 1));
    add(&store, unique(Unique::until_done("key"))).await;
    let batch = worker.claim(10).await;
    assert_eq!(batch.jobs.len(), 3);
    batch.settle_all(Outcome::Done).await;
    assert_eq!(state(&store, child.id).await, Some(State::Cancelled));
    assert_eq!(standing(&store).await, [0, 0, 0, 2]);
    // Nothing is left of it that another one of its id would trip over.
    ok(store.purge_finished(Duration::ZERO, 10).await);
    let parent = job();
    let again = Entry {
        id: child.id,
        ..after(&[&parent], On::Done)
    };
    add_all(&store, &[parent, again.clone()]).await;
    assert_eq!(view(&store, again.id).await.parents, Tally::default());
    worker.claim(10).await.end(Outcome::Done).await;
    assert_eq!(worker.claim(10).await.ids(), [again.id]);
}

/// While it is blocked, and its place is nobody else's.
pub async fn a_blocked_job_holds_its_key(h: &impl Harness) {
    let store = h.store();
    for key in [
        Unique::until_start("start"),
        Unique::until_done("done"),
        Unique::for_period("period", HOUR),
    ] {
        let parent = job();
        let mut child = after(&[&parent], On::Done);
        child.options.unique = Some(key);
        add_all(&store, &[parent.clone(), child.clone()]).await;
        for other in [key, key.or_replace()] {
            let enqueued = enqueue(&store, &unique(other)).await;
            assert_eq!(enqueued, Enqueued::Existing(child.id));
        }
        assert_eq!(state(&store, child.id).await, Some(State::Blocked));
        let worker = Worker::join(&store).await;
        worker.claim(10).await.end(Outcome::Done).await;
        let other = unique(key.or_replace());
        let replaced = Enqueued::Replaced {
            new: other.id,
            old: child.id,
        };
        assert_eq!(enqueue(&store, &other).await, replaced);
        assert_eq!(worker.claim(10).await.ids(), [other.id]);
    }
}

/// They have not lost whom they wait for.
pub async fn who_waits_for_a_replaced_job_waits_for_the_other(h: &impl Harness) {
    let store = h.store();
    let key = Unique::until_done("key").or_replace();
    for delay in [Duration::ZERO, HOUR] {
        let mut old = job_with(|o| o.with_delay(delay));
        old.options.unique = Some(key);
        let on_done = after(&[&old], On::Done);
        let on_ended = after(&[&old], On::Ended);
        let flow = [&old, &on_done, &on_ended].map(Clone::clone);
        add_all(&store, &flow).await;
        let new = unique(key);
        let replaced = Enqueued::Replaced {
            new: new.id,
            old: old.id,
        };
        assert_eq!(enqueue(&store, &new).await, replaced);
        assert_eq!(blocked(&store).await, 2);
        let worker = Worker::join(&store).await;
        worker.claim(1).await.end(Outcome::Done).await;
        let batch = worker.claim(10).await;
        let ids: HashSet<_> = batch.ids().into_iter().collect();
        assert_eq!(ids, [on_done.id, on_ended.id].into());
        assert!(
            batch
                .jobs
                .iter()
                .all(|job| job.parents == Tally::new(1, 0, 0))
        );
        batch.settle_all(Outcome::Done).await;
    }
    assert_eq!(standing(&store).await, [0; 4]);
}

/// Made again, the call adds nothing and changes nothing.
pub async fn a_flow_is_added_once(h: &impl Harness) {
    let store = h.store();
    let (first, second) = (urgent(), job());
    let child = after(&[&first, &second], On::Done);
    let flow = [first.clone(), second.clone(), child.clone()];
    add_all(&store, &flow).await;
    let again = async || {
        let existing = flow.each_ref().map(|entry| Enqueued::Existing(entry.id));
        let before = view(&store, child.id).await;
        assert_eq!(ok(h.second().enqueue(&flow).await), existing);
        assert_eq!(view(&store, child.id).await, before);
    };
    again().await;
    let worker = Worker::join(&store).await;
    let batch = worker.claim(2).await;
    again().await;
    assert_eq!(batch.settle(first.id, discard()).await, Settled::Applied);
    again().await;
    assert!(ok(store.replay(first.id).await));
    worker.claim(1).await.end(Outcome::Done).await;
    assert_eq!(
        batch.settle(second.id, Outcome::Done).await,
        Settled::Applied
    );
    assert_eq!(worker.claim(10).await.ids(), [child.id]);
}

/// Nobody could say when its children are to go on. Nothing of the call is added.
pub async fn a_flow_whose_parent_is_taken_is_refused(h: &impl Harness) {
    let store = h.store();
    let taken = add(&store, unique(Unique::until_done("key"))).await;
    let by_key = unique(Unique::until_done("key"));
    let by_id = Entry { id: taken, ..job() };
    for parent in [by_key, by_id] {
        let mut keyed = job();
        keyed.options.unique = Some(Unique::until_done("other"));
        let child = after(&[&keyed, &parent], On::Done);
        conflict(store.enqueue(&[keyed, parent, child]).await);
        assert_eq!(standing(&store).await, [0, 1, 0, 0]);
    }
    // Two of one call with one key.
    let twins = [0; 2].map(|_| unique(Unique::until_done("twin")));
    let child = after(&[&twins[1]], On::Done);
    let [one, other] = twins;
    conflict(store.enqueue(&[one, other, child]).await);
    assert_eq!(standing(&store).await, [0, 1, 0, 0]);
    // Whoever is waited for by nobody may be taken.
    let parent = job();
    let mut child = after(&[&parent], On::Done);
    child.options.unique = Some(Unique::until_done("key"));
    let said = ok(store.enqueue(&[parent.clone(), child]).await);
    assert_eq!(said, [Enqueued::New(parent.id), Enqueued::Existing(taken)]);
    assert_eq!(standing(&store).await, [0, 2, 0, 0]);
    for key in ["other", "twin"] {
        add(&store, unique(Unique::until_done(key))).await;
    }
}

/// So that nobody waits for what has ended, for what comes later or for himself.
pub async fn a_parent_stands_before_its_child(h: &impl Harness) {
    let store = h.store();
    let there = Entry {
        id: add(&store, job()).await,
        ..job()
    };
    let parent = job();
    let child = after(&[&parent], On::Done);
    let twice = after(&[&parent, &parent], On::Done);
    let mut own = job();
    own.parents = vec![Parent {
        id: own.id,
        on: On::Done,
    }];
    for call in [
        vec![child.clone()],
        vec![child, parent.clone()],
        vec![parent.clone(), twice],
        vec![own],
        vec![after(&[&there], On::Ended)],
    ] {
        let refused = store.enqueue(&call).await.map_err(|error| error.kind());
        assert_eq!(refused, Err(StoreErrorKind::Refused));
    }
    assert_eq!(standing(&store).await, [0, 1, 0, 0]);
}

/// Ten thousand jobs with a callback, by calls of a thousand.
pub async fn a_large_batch_calls_back_once(h: &impl Harness) {
    const JOBS: u32 = 10_000;
    let store = h.store();
    let jobs: Vec<_> = (0..JOBS).map(|_| job()).collect();
    let parents: Vec<_> = jobs.iter().collect();
    let callback = after(&parents, On::Ended);
    let success = after(&parents, On::Done);
    let mut flow = jobs.clone();
    flow.extend([callback.clone(), success.clone()]);
    add_all(&store, &flow).await;
    let worker = Worker::join(&store).await;
    let mut failed = None;
    for n in 0..10 {
        assert_eq!(standing(&store).await[0], 2, "{n}");
        let batch = worker.claim(1_000).await;
        let mut settlements: Vec<_> = batch
            .ids()
            .into_iter()
            .map(|id| Settlement {
                id,
                outcome: Outcome::Done,
            })
            .collect();
        assert_eq!(settlements.len(), 1_000);
        if n == 5 {
            settlements[500].outcome = discard();
            failed = Some(settlements[500].id);
        }
        let said = ok(store.settle(batch.lease, &settlements).await);
        assert!(said.iter().all(|settled| *settled == Settled::Applied));
    }
    let batch = worker.claim(1_000).await;
    assert_eq!(batch.job().id, callback.id);
    assert_eq!(batch.job().parents, Tally::new(JOBS - 1, 1, 0));
    batch.end(Outcome::Done).await;
    let waits = view(&store, success.id).await;
    assert_eq!((waits.state, waits.waits_for), (State::Blocked, 1));
    let failed = failed.expect("one has failed");
    assert!(ok(store.replay(failed).await));
    worker.claim(10).await.end(Outcome::Done).await;
    let batch = worker.claim(10).await;
    assert_eq!(batch.job().id, success.id);
    assert_eq!(batch.job().parents, Tally::new(JOBS, 0, 0));
    batch.end(Outcome::Done).await;
    assert_eq!(standing(&store).await, [0; 4]);
}

/// Eight workers settle the last of a batch at the same moment, each in its own way.
pub async fn a_callback_goes_on_once_whoever_is_the_last(h: &impl Harness) {
    for _ in 0..10 {
        let store = h.store();
        let jobs = [0; 8].map(|_| job());
        let callbacks = [0; 3].map(|_| after(&jobs.each_ref(), On::Ended));
        let mut flow = jobs.to_vec();
        flow.extend(callbacks.clone());
        add_all(&store, &flow).await;
        let mut batches = Vec::new();
        for _ in 0..8 {
            batches.push(Worker::join(&store).await.claim(1).await);
        }
        // Behind what was claimed: a claim may overlook for a while what stands before that.
        h.clock().advance(MINUTE);
        let said = at_once(h, 16, |n, store| {
            let (lease, id) = (batches[n / 2].lease, batches[n / 2].job().id);
            let outcome = match n / 2 {
                0..4 => Outcome::Done,
                4 | 5 => discard(),
                _ => Outcome::Cancelled,
            };
            async move { settle(&store, lease, id, outcome).await }
        });
        let said = said.await;
        let applied = said.iter().filter(|said| **said == Settled::Applied);
        assert_eq!(applied.count(), 8);
        let batch = Worker::join(&store).await.claim(100).await;
        let ids: HashSet<_> = batch.ids().into_iter().collect();
        assert_eq!(batch.jobs.len(), 3);
        assert_eq!(ids, callbacks.iter().map(|entry| entry.id).collect());
        for callback in &batch.jobs {
            assert_eq!(callback.parents, Tally::new(4, 2, 2));
        }
        batch.settle_all(Outcome::Done).await;
        assert_eq!(blocked(&store).await, 0);
    }
}

/// Whoever changes the same flow at the same moment waits for the others without a knot.
pub async fn ends_and_cancellations_of_one_flow_do_not_block_each_other(h: &impl Harness) {
    for _ in 0..10 {
        let store = h.store();
        let tops = [0; 6].map(|_| job());
        let middles = [0; 6].map(|n: usize| {
            let on = if n.is_multiple_of(2) {
                On::Done
            } else {
                On::Ended
            };
            after(&tops.each_ref(), on)
        });
        let lows = [0; 6].map(|_| after(&middles.each_ref(), On::Done));
        let last = after(&lows.each_ref(), On::Ended);
        let mut flow = tops.to_vec();
        flow.extend(middles.clone());
        flow.extend(lows.clone());
        flow.push(last.clone());
        add_all(&store, &flow).await;
        let mut batches = Vec::new();
        for _ in 0..4 {
            batches.push(Worker::join(&store).await.claim(1).await);
        }
        let waiting = tops.iter().map(|top| top.id);
        let claimed: HashSet<_> = batches.iter().flat_map(super::bench::Batch::ids).collect();
        let waiting: Vec<_> = waiting.filter(|id| !claimed.contains(id)).collect();
        let ids: Vec<_> = [waiting[0], waiting[1]]
            .into_iter()
            .chain([middles[0].id, middles[3].id, lows[1].id, lows[4].id])
            .collect();
        h.clock().advance(MINUTE);
        at_once(h, 10, |n, store| {
            let settlement = batches.get(n).map(|batch| (batch.lease, batch.job().id));
            let cancel = ids.get(n.wrapping_sub(4)).copied();
            async move {
                match (settlement, cancel) {
                    (Some((lease, id)), _) => {
                        let settled = settle(&store, lease, id, Outcome::Done).await;
                        assert_eq!(settled, Settled::Applied);
                    }
                    (None, Some(id)) => drop(ok(store.cancel(id).await)),
                    (None, None) => {}
                }
            }
        })
        .await;
        let mut tops = Tally::new(4, 0, 2);
        for middle in &middles {
            let seen = view(&store, middle.id).await;
            if middle.parents[0].on == On::Done || middle.id == middles[3].id {
                assert_eq!(seen.state, State::Cancelled);
            } else {
                assert_eq!((seen.state, seen.parents), (State::Ready, tops));
            }
        }
        tops.done = 0;
        tops.cancelled = 6;
        let seen = view(&store, last.id).await;
        assert_eq!((seen.state, seen.parents), (State::Ready, tops));
        let worker = Worker::join(&store).await;
        worker.claim(100).await.settle_all(Outcome::Done).await;
        assert_eq!(standing(&store).await[..2], [0, 0]);
    }
}

/// While it is let go, claimed and cancelled. Who waits for it is cancelled with it, and only then.
pub async fn a_blocked_job_is_cancelled_or_goes_on(h: &impl Harness) {
    for _ in 0..40 {
        let store = h.store();
        let parent = job();
        let child = after(&[&parent], On::Done);
        let below = after(&[&child], On::Done);
        let flow = [&parent, &child, &below].map(Clone::clone);
        add_all(&store, &flow).await;
        let batch = Worker::join(&store).await.claim(1).await;
        let worker = Worker::join(&store).await;
        let claim = worker.claim_of(1);
        let claimed = at_once(h, 3, |n, store| {
            let (lease, claim) = (batch.lease, claim.clone());
            async move {
                match n {
                    0 => {
                        let settled = settle(&store, lease, parent.id, Outcome::Done).await;
                        assert_eq!(settled, Settled::Applied);
                        ok(store.claim(&claim).await).len()
                    }
                    1 => usize::from(!ok(store.cancel(child.id).await)),
                    _ => 0,
                }
            }
        });
        claimed.await;
        let stands = async || (state(&store, child.id).await, state(&store, below.id).await);
        if stands().await.0 == Some(State::Leased) {
            assert_eq!(stands().await.1, Some(State::Blocked));
            let settled = settle(&store, claim.lease, child.id, Outcome::Done).await;
            assert_eq!(settled, Settled::Applied);
            assert_eq!(stands().await, (None, Some(State::Ready)));
            assert!(ok(store.cancel(below.id).await));
        } else {
            let cancelled = Some(State::Cancelled);
            assert_eq!(stands().await, (cancelled, cancelled));
        }
    }
}

/// It is ready by the step of another one.
pub async fn a_job_that_goes_on_wakes_who_waits(h: &impl Harness) {
    let store = h.store();
    for ending in Ending::ALL {
        let parent = job();
        let child = after(&[&parent], On::Ended);
        add_all(&store, &[parent.clone(), child.clone()]).await;
        let mut wakeups = ok(store.wakeups(&[crate::QueueName::DEFAULT]).await);
        // What was heard before is heard.
        while wakeups.next(Duration::from_millis(20)).await == Wake::Jobs {}
        ending.end(h, parent.id).await;
        assert_eq!(wakeups.next(HOUR).await, Wake::Jobs, "{ending:?}");
        Worker::join(&store)
            .await
            .claim(1)
            .await
            .end(Outcome::Done)
            .await;
    }
}
