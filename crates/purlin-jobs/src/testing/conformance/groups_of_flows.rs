//! Jobs that have a group and wait for others.

use super::bench::{HOUR, MINUTE, Store, Worker, add, discard, job, job_with, ok, state};
use super::flows::{Ending, after};
use super::{Harness, TransactionalHarness};
use crate::store::{Entry, On, Outcome, Settled, State};
use crate::{Group, TransactionalJobStore as _};

const GROUP: &str = "tenant:42";

/// Of a group that has one at a time.
fn of_group(entry: Entry) -> Entry {
    let options = entry.options;
    Entry {
        options: options.with_group(Group::new(GROUP).with_at_most(1)),
        ..entry
    }
}

/// How many are held and how many are admitted; nothing when the group is forgotten.
async fn line(store: &Store) -> Option<(u64, u64)> {
    let limits = store.limits().expect("the store keeps groups");
    let group = ok(limits.group(GROUP).await);
    group.map(|group| (group.held, group.admitted))
}

async fn states<const N: usize>(store: &Store, entries: [&Entry; N]) -> [Option<State>; N] {
    let mut states = [None; N];
    for (state_of, entry) in states.iter_mut().zip(entries) {
        *state_of = state(store, entry.id).await;
    }
    states
}

/// When it waits for nobody any more, and not before: while it is blocked it takes no room.
pub async fn a_child_stands_in_the_line_of_its_group(h: &impl Harness) {
    let store = h.store();
    let parent = job();
    let [one, other] = [0; 2].map(|_| of_group(after(&[&parent], On::Done)));
    let flow = [parent.clone(), one.clone(), other.clone()];
    ok(store.enqueue(&flow).await);
    assert_eq!(
        states(&store, [&one, &other]).await,
        [Some(State::Blocked); 2]
    );
    assert_eq!(line(&store).await.unwrap_or_default(), (0, 0));
    let worker = Worker::join(&store).await;
    worker.claim(9).await.end(Outcome::Done).await;
    assert_eq!(line(&store).await, Some((1, 1)));
    let first = worker.claim(9).await;
    let last = if first.job().id == one.id {
        &other
    } else {
        &one
    };
    assert_eq!(state(&store, last.id).await, Some(State::Held));
    assert_eq!(first.job().parents.done, 1);
    first.end(Outcome::Done).await;
    assert_eq!(line(&store).await, Some((0, 1)));
    let batch = worker.claim(9).await;
    assert_eq!((batch.job().id, batch.job().parents.done), (last.id, 1));
    batch.end(Outcome::Done).await;
    assert_eq!(line(&store).await, None);
}

/// Until then it is scheduled, and others go before it.
pub async fn a_child_with_a_delay_stands_in_line_when_it_is_due(h: &impl Harness) {
    let store = h.store();
    let parent = job();
    let child = of_group(Entry {
        options: job_with(|options| options.with_delay(HOUR)).options,
        ..after(&[&parent], On::Done)
    });
    ok(store.enqueue(&[parent, child.clone()]).await);
    let worker = Worker::join(&store).await;
    worker.claim(9).await.end(Outcome::Done).await;
    assert_eq!(state(&store, child.id).await, Some(State::Scheduled));
    let other = of_group(job());
    add(&store, other.clone()).await;
    h.clock().advance(HOUR);
    ok(store.promote(9).await);
    let expected = [Some(State::Ready), Some(State::Held)];
    assert_eq!(states(&store, [&other, &child]).await, expected);
    assert!(ok(store.cancel(other.id).await));
    assert_eq!(state(&store, child.id).await, Some(State::Ready));
}

/// In the step that ends the parent, however it ends.
pub async fn the_slot_of_a_parent_passes_to_its_child(h: &impl Harness) {
    let store = h.store();
    for ending in Ending::ALL {
        let parent = of_group(job());
        let [child, below] = [&parent; 2].map(|above| of_group(after(&[above], On::Ended)));
        ok(store
            .enqueue(&[parent.clone(), child.clone(), below.clone()])
            .await);
        assert_eq!(line(&store).await, Some((0, 1)), "{ending:?}");
        ending.end(h, parent.id).await;
        assert_eq!(line(&store).await, Some((1, 1)), "{ending:?}");
        for entry in [&child, &below] {
            assert!(ok(store.cancel(entry.id).await));
        }
        assert_eq!(line(&store).await, None, "{ending:?}");
    }
}

/// What it cancels had no slot to pass on.
pub async fn a_purge_lets_children_stand_in_line(h: &impl Harness) {
    let store = h.store();
    let parent = of_group(job());
    let lost = of_group(after(&[&parent], On::Done));
    let below = of_group(after(&[&lost], On::Ended));
    let flow = [parent.clone(), lost.clone(), below.clone()];
    ok(store.enqueue(&flow).await);
    let worker = Worker::join(&store).await;
    worker.claim(1).await.end(discard()).await;
    assert_eq!(line(&store).await, None);
    h.clock().advance(MINUTE);
    assert_eq!(ok(store.purge_finished(MINUTE, 1).await), 1);
    let expected = [None, Some(State::Cancelled), Some(State::Ready)];
    assert_eq!(states(&store, [&parent, &lost, &below]).await, expected);
    assert_eq!(line(&store).await, Some((0, 1)));
}

/// Of the transaction that completes its parent. Who looks next admits it.
pub async fn a_child_stands_in_line_with_the_commit(h: &impl TransactionalHarness) {
    let store = h.store();
    let parent = job();
    let child = of_group(after(&[&parent], On::Done));
    ok(store.enqueue(&[parent.clone(), child.clone()]).await);
    let batch = Worker::join(&store).await.claim(1).await;
    let mut transaction = h.begin().await;
    let joined = h.transactional_store();
    let completed = joined.complete_in(&mut *transaction, batch.lease, parent.id);
    assert_eq!(ok(completed.await), Settled::Applied);
    h.commit(transaction).await;
    ok(store.promote(9).await);
    assert_eq!(state(&store, child.id).await, Some(State::Ready));
    assert_eq!(line(&store).await, Some((0, 1)));
}
