//! What a claim takes, and in which order.

use super::Harness;
use super::bench::{
    HOUR, KIND, MICRO, MINUTE, Worker, add, conflict, counts, discard, job, job_of, job_with,
    leased, ok, queue, rescue, rescued, state,
};
use crate::store::{Outcome, Settled, State};
use crate::{JobId, LeaseId, Priority, WorkerId};

/// And leaves the rest to others.
pub async fn a_claim_takes_no_more_than_its_limit(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    let entries: Vec<_> = (0..10).map(|_| job()).collect();
    ok(store.enqueue(&entries).await);
    for (limit, expected) in [(1, 1), (4, 4), (1_000, 5), (1_000, 0)] {
        assert_eq!(worker.claim(limit).await.jobs.len(), expected);
    }
    assert_eq!(counts(&store).await, [0, 0, 10, 0, 0]);
}

/// However many of other kinds stand before them.
pub async fn a_claim_takes_the_kinds_that_are_known(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    let unknown: Vec<_> = (0..1_200).map(|_| job_of("unknown")).collect();
    ok(store.enqueue(&unknown).await);
    h.clock().advance(MICRO);
    let a = add(&store, job_of("a")).await;
    h.clock().advance(MICRO);
    let b = add(&store, job_of("b")).await;
    let mut claim = worker.claim_of(2);
    claim.kinds.clear();
    assert_eq!(worker.make(&claim).await.ids(), []);
    claim.kinds = ["none", "a", "b", "a"].map(ToOwned::to_owned).to_vec();
    assert_eq!(worker.make(&claim).await.ids(), [a, b]);
    assert_eq!(counts(&store).await, [1_200, 0, 2, 0, 0]);
}

/// Queues do not see each other.
pub async fn a_claim_takes_from_its_queue(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    let mail = add(&store, job_with(|o| o.with_queue(queue("mail")))).await;
    let plain = add(&store, job()).await;
    let mut claim = worker.claim_of(10);
    claim.queue = queue("nothing");
    assert_eq!(worker.make(&claim).await.ids(), []);
    assert_eq!(worker.claim(10).await.ids(), [plain]);
    claim.queue = queue("mail");
    assert_eq!(worker.make(&claim).await.ids(), [mail]);
}

/// What waits for its time, is leased or has ended is not taken.
pub async fn a_claim_takes_only_what_is_ready(h: &impl Harness) {
    let store = h.store();
    let (worker, leased_one) = leased(&store, job()).await;
    leased(&store, job()).await.1.end(discard()).await;
    let cancelled = add(&store, job()).await;
    assert!(ok(store.cancel(cancelled).await));
    add(&store, job_with(|o| o.with_delay(HOUR))).await;
    for worker in [worker, Worker::join(&h.second()).await] {
        assert_eq!(worker.claim(10).await.ids(), []);
    }
    assert_eq!(counts(&store).await, [0, 1, 1, 1, 1]);
    leased_one.end(Outcome::Done).await;
}

/// What it was given, as far as that is not settled, and nothing more.
pub async fn a_claim_that_is_asked_again_gets_its_jobs_again(h: &impl Harness) {
    let (store, second) = (h.store(), h.second());
    let worker = Worker::join(&store).await;
    let mut ids = Vec::new();
    for priority in (0..6).rev() {
        ids.push(
            add(
                &store,
                job_with(|o| o.with_priority(Priority::new(priority))),
            )
            .await,
        );
    }
    ids.reverse();
    let claim = worker.claim_of(3);
    let batch = worker.make(&claim).await;
    assert_eq!(batch.ids(), ids[..3]);
    assert!(ok(store.pause(&claim.queue).await));
    assert_eq!(ok(second.claim(&claim).await), batch.jobs);
    assert!(ok(store.resume(&claim.queue).await));
    h.clock().advance(HOUR - MICRO);
    assert_eq!(ok(second.claim(&claim).await), batch.jobs);

    assert_eq!(batch.settle(ids[1], Outcome::Done).await, Settled::Applied);
    assert_eq!(
        batch.settle(ids[0], Outcome::Release).await,
        Settled::Applied
    );
    assert_eq!(ok(second.claim(&claim).await), batch.jobs[2..]);
    assert_eq!(counts(&store).await, [4, 0, 1, 0, 0]);
}

/// It is unknown, it has left, its time is over, or it was rescued from: it gets nothing, not even what
/// it was given before.
pub async fn a_worker_that_is_not_alive_claims_nothing(h: &impl Harness) {
    let store = h.store();
    let (worker, _batch) = leased(&store, job()).await;
    let id = add(&store, job()).await;
    let stranger = Worker {
        store: h.store(),
        id: WorkerId::new(),
    };
    let left = Worker::join(&store).await;
    ok(store.leave(left.id).await);
    for dead in [&stranger, &left] {
        conflict(store.claim(&dead.claim_of(1)).await);
    }
    let (late, given) = (worker.claim_of(1), _batch.lease);
    h.clock().advance(HOUR);
    conflict(store.claim(&late).await);
    let mut again = late.clone();
    again.lease = given;
    conflict(h.second().claim(&again).await);
    assert_eq!(rescue(&store, 3).await.workers, 1);
    conflict(store.claim(&late).await);
    assert_eq!(state(&store, id).await, Some(State::Ready));
    assert_eq!(counts(&store).await, [2, 0, 0, 0, 0]);
}

/// Urgent work is taken before normal, and that before bulk.
pub async fn what_is_more_urgent_goes_first(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    let levels = [9, 4, 0, 5, 3, 8];
    let mut ids = Vec::new();
    for level in levels {
        let entry = job_with(|o| o.with_priority(Priority::new(level)));
        ids.push((level, add(&store, entry).await));
        h.clock().advance(MICRO);
    }
    ids.sort_unstable();
    let ids: Vec<_> = ids.into_iter().map(|(_, id)| id).collect();
    assert_eq!(worker.claim(1).await.ids(), ids[..1]);
    assert_eq!(worker.claim(3).await.ids(), ids[1..4]);
    assert_eq!(worker.claim(9).await.ids(), ids[4..]);
}

/// A step of priority is worth ten minutes of waiting, and not a microsecond more.
pub async fn what_has_waited_longer_than_its_steps_goes_first(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    let nine_steps = 9 * Priority::STEP;
    for (waited, bulk_is_first) in [(nine_steps - MICRO, false), (nine_steps + MICRO, true)] {
        let bulk = add(&store, job_with(|o| o.with_priority(Priority::BULK))).await;
        h.clock().advance(waited);
        ok(store.heartbeat(worker.id, HOUR).await);
        ok(store.join(worker.id, HOUR).await);
        let urgent = add(&store, job_with(|o| o.with_priority(Priority::URGENT))).await;
        let first = if bulk_is_first { bulk } else { urgent };
        let second = if bulk_is_first { urgent } else { bulk };
        assert_eq!(worker.claim(1).await.ids(), [first]);
        assert_eq!(worker.claim(1).await.ids(), [second]);
    }
}

/// Of one priority, whoever enqueued them and however many at a time.
pub async fn what_was_enqueued_first_goes_first(h: &impl Harness) {
    let stores = [h.store(), h.second()];
    let worker = Worker::join(&stores[0]).await;
    let mut ids = Vec::new();
    for n in 0..30 {
        // Ids say nothing of it.
        let mut entry = job();
        entry.id = JobId::from_uuid(uuid::Uuid::new_v4());
        ids.push(add(&stores[n % 2], entry).await);
        h.clock().advance(MICRO);
    }
    for taken in ids.chunks(7) {
        assert_eq!(worker.claim(7).await.ids(), taken);
    }
}

/// As if it had been due when it was enqueued.
pub async fn what_is_released_or_rescued_stands_where_it_stood(h: &impl Harness) {
    let store = h.store();
    let (worker, first) = leased(&store, job()).await;
    let late = add(&store, job_with(|o| o.with_delay(HOUR / 2))).await;
    h.clock().advance(MINUTE);
    let (other, second) = leased(&store, job()).await;
    h.clock().advance(MINUTE);
    let third = add(&store, job()).await;

    h.clock().advance(HOUR / 2);
    assert_eq!(ok(store.promote(10).await).jobs, 1);
    assert_eq!(worker.claim(2).await.ids(), [third, late]);
    second.end(Outcome::Release).await;
    h.clock().advance(MICRO);
    ok(store.leave(worker.id).await);
    let expected = [first.job().id, late, second.job().id, third];

    // Those that stand behind are rescued first.
    let survivor = Worker::join(&store).await;
    assert_eq!(survivor.claim(2).await.ids(), expected[..2]);
    assert_eq!(other.claim(2).await.ids(), expected[2..]);
    for _ in 0..2 {
        h.clock().advance(HOUR / 2);
        assert_eq!(rescue(&store, 3).await, rescued(1, 2, 0));
    }
    let claimed = Worker::join(&store).await.claim(10).await;
    assert_eq!(claimed.ids(), expected);
}

/// A lease that has nothing left is forgotten: its worker has more to do.
pub async fn a_lease_without_jobs_is_not_kept(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    let mut claim = worker.claim_of(1);
    claim.lease = LeaseId::new();
    assert_eq!(worker.make(&claim).await.ids(), []);
    let first = add(&store, job_of(KIND)).await;
    let batch = worker.make(&claim).await;
    assert_eq!(batch.job().id, first);
    batch.end(Outcome::Done).await;
    let second = add(&store, job()).await;
    assert_eq!(worker.make(&claim).await.ids(), [second]);
}
