//! Workers that live, leave and die, and what becomes of their jobs.

use std::time::Duration;

use super::Harness;
use super::bench::{
    HOUR, MICRO, MINUTE, Worker, YEAR, add, conflict, counts, discard, job, leased, now, ok,
    rescue, rescued, retry, state, view,
};
use crate::WorkerId;
use crate::store::{Beat, Failure, Outcome, Rescue, Settled, State};

fn alive() -> Beat {
    Beat::Alive { cancel: Vec::new() }
}

/// To the microsecond, as long as it says so.
pub async fn a_worker_lives_until_its_time_is_over(h: &impl Harness) {
    let (store, second) = (h.store(), h.second());
    let (worker, batch) = leased(&store, job()).await;
    for _ in 0..3 {
        h.clock().advance(HOUR - MICRO);
        assert_eq!(rescue(&second, 1).await, rescued(0, 0, 0));
        assert_eq!(ok(second.heartbeat(worker.id, HOUR).await), alive());
    }
    h.clock().advance(HOUR - MICRO);
    assert_eq!(rescue(&second, 1).await, rescued(0, 0, 0));
    h.clock().advance(MICRO);
    for store in [&store, &second] {
        assert_eq!(ok(store.heartbeat(worker.id, HOUR).await), Beat::Lost);
    }
    assert_eq!(rescue(&second, 9).await, rescued(1, 1, 0));
    assert_eq!(ok(store.heartbeat(worker.id, HOUR).await), Beat::Lost);
    assert_eq!(state(&store, batch.job().id).await, Some(State::Ready));
}

/// The time is counted from the heartbeat, not from the old end, and may be shorter.
pub async fn a_heartbeat_says_until_when(h: &impl Harness) {
    let store = h.store();
    let (worker, _) = leased(&store, job()).await;
    assert_eq!(ok(store.heartbeat(worker.id, MINUTE).await), alive());
    h.clock().advance(MINUTE);
    assert_eq!(rescue(&store, 9).await, rescued(1, 1, 0));
}

/// Nothing is made known by a heartbeat.
pub async fn an_unknown_worker_is_lost(h: &impl Harness) {
    let (store, stranger) = (h.store(), WorkerId::new());
    for _ in 0..2 {
        assert_eq!(ok(store.heartbeat(stranger, HOUR).await), Beat::Lost);
    }
    h.clock().advance(HOUR);
    assert_eq!(rescue(&store, 1).await, rescued(0, 0, 0));
}

/// As when the answer to the first call was lost: its leases stay, its time begins anew.
pub async fn a_worker_may_join_again(h: &impl Harness) {
    let store = h.store();
    let (worker, batch) = leased(&store, job()).await;
    h.clock().advance(HOUR / 2);
    ok(h.second().join(worker.id, HOUR).await);
    h.clock().advance(HOUR - MICRO);
    assert_eq!(rescue(&store, 1).await, rescued(0, 0, 0));
    batch.end(Outcome::Done).await;
    h.clock().advance(MICRO);
    assert_eq!(rescue(&store, 1).await, rescued(1, 0, 0));
}

/// [`Duration::MAX`] is a long time, not an overflow.
pub async fn a_worker_may_live_without_end(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    ok(store.join(worker.id, Duration::MAX).await);
    h.clock().advance(50 * YEAR);
    assert_eq!(rescue(&store, 1).await, rescued(0, 0, 0));
    let beat = ok(store.heartbeat(worker.id, Duration::MAX).await);
    assert_eq!(beat, alive());
    h.clock().advance(50 * YEAR);
    let id = add(&store, job()).await;
    assert_eq!(worker.claim(1).await.ids(), [id]);
}

/// Of its own jobs, under each of its leases, as long as they are its own.
pub async fn a_heartbeat_tells_what_to_cancel(h: &impl Harness) {
    let store = h.store();
    let (worker, first) = leased(&store, job()).await;
    ok(store.enqueue(&[job(), job(), job()]).await);
    let more = worker.claim(3).await;
    let (other, others) = leased(&store, job()).await;
    let mut told = vec![first.job().id, more.ids()[0], more.ids()[2]];
    for id in &told {
        assert!(ok(h.second().cancel(*id).await));
    }
    told.sort_unstable();
    for _ in 0..2 {
        let beat = ok(h.second().heartbeat(worker.id, HOUR).await);
        let Beat::Alive { mut cancel } = beat else {
            panic!("{beat:?}");
        };
        cancel.sort_unstable();
        assert_eq!(cancel, told);
        assert_eq!(ok(store.heartbeat(other.id, HOUR).await), alive());
    }
    for (batch, id) in [(&first, first.ids()[0]), (&more, more.ids()[2])] {
        let settled = batch.settle(id, Outcome::Cancelled).await;
        assert_eq!(settled, Settled::Applied);
    }
    let cancel = vec![more.ids()[0]];
    let beat = ok(store.heartbeat(worker.id, HOUR).await);
    assert_eq!(beat, Beat::Alive { cancel });
    assert_eq!(
        more.settle(more.ids()[0], discard()).await,
        Settled::Applied
    );
    assert_eq!(ok(store.heartbeat(worker.id, HOUR).await), alive());
    others.end(Outcome::Done).await;
}

/// All that is not settled, and nothing is counted.
pub async fn who_leaves_gives_its_jobs_back(h: &impl Harness) {
    let store = h.store();
    let (worker, first) = leased(&store, job()).await;
    ok(store.enqueue(&[job(), job()]).await);
    let more = worker.claim(2).await;
    let (_, others) = leased(&store, job()).await;
    assert_eq!(
        more.settle(more.ids()[0], retry(MINUTE)).await,
        Settled::Applied
    );
    ok(h.second().leave(worker.id).await);
    for id in [first.job().id, more.ids()[1]] {
        let given_back = view(&store, id).await;
        assert_eq!(given_back.state, State::Ready);
        assert_eq!((given_back.failures, given_back.crashes), (0, 0));
    }
    assert_eq!(counts(&store).await, [2, 1, 1, 0, 0]);
    assert_eq!(ok(store.heartbeat(worker.id, HOUR).await), Beat::Lost);
    conflict(store.claim(&worker.claim_of(1)).await);

    // Again, or without ever having come.
    for gone in [worker.id, WorkerId::new()] {
        ok(store.leave(gone).await);
    }
    others.end(Outcome::Done).await;
    h.clock().advance(2 * HOUR);
    // Who has left is not dead.
    assert_eq!(rescue(&store, 1).await, rescued(1, 0, 0));
}

/// Nothing waits again that is to be cancelled.
pub async fn who_leaves_gives_no_cancelled_job_back(h: &impl Harness) {
    let store = h.store();
    let (worker, batch) = leased(&store, job()).await;
    assert!(ok(store.cancel(batch.job().id).await));
    ok(store.leave(worker.id).await);
    let cancelled = view(&store, batch.job().id).await;
    assert_eq!(cancelled.state, State::Cancelled);
    assert_eq!(cancelled.finished_at, Some(now(h)));
    assert_eq!(counts(&store).await, [0, 0, 0, 0, 1]);
}

/// Of what is not settled, and of the dead only.
pub async fn a_rescue_counts_a_crash(h: &impl Harness) {
    let store = h.store();
    let (worker, first) = leased(&store, job()).await;
    ok(store.enqueue(&[job(), job(), job()]).await);
    let more = worker.claim(3).await;
    assert_eq!(
        more.settle(more.ids()[0], retry(2 * HOUR)).await,
        Settled::Applied
    );
    assert_eq!(
        more.settle(more.ids()[1], Outcome::Done).await,
        Settled::Applied
    );
    h.clock().advance(MINUTE);
    let (living, theirs) = leased(&store, job()).await;
    h.clock().advance(HOUR - MINUTE);

    assert_eq!(rescue(&h.second(), 9).await, rescued(1, 2, 0));
    for id in [first.job().id, more.ids()[2]] {
        let ready = view(&store, id).await;
        assert_eq!(ready.state, State::Ready);
        assert_eq!((ready.failures, ready.crashes), (0, 1));
    }
    assert_eq!(view(&store, more.ids()[0]).await.crashes, 0);
    assert_eq!(state(&store, theirs.job().id).await, Some(State::Leased));
    assert_eq!(rescue(&store, 9).await, rescued(0, 0, 0));
    assert_eq!(ok(store.heartbeat(living.id, HOUR).await), alive());
    theirs.end(Outcome::Done).await;
    let crashes: Vec<_> = living
        .claim(9)
        .await
        .jobs
        .into_iter()
        .map(|job| job.crashes)
        .collect();
    assert_eq!(crashes, [1, 1]);
}

/// Nobody gets it, and operators see why.
pub async fn a_job_that_crashes_too_often_is_dead(h: &impl Harness) {
    let store = h.store();
    let poison = add(&store, job()).await;
    for crashes in 1..=3 {
        assert_eq!(Worker::join(&store).await.claim(1).await.ids(), [poison]);
        h.clock().advance(HOUR);
        let is_dead = crashes == 3;
        let expected = if is_dead {
            rescued(1, 0, 1)
        } else {
            rescued(1, 1, 0)
        };
        assert_eq!(rescue(&store, 3).await, expected);
        assert_eq!(view(&store, poison).await.crashes, crashes);
    }
    let dead = view(&h.second(), poison).await;
    assert_eq!((dead.state, dead.failures), (State::Dead, 0));
    assert_eq!(dead.failure, Some(Failure::new(Failure::CRASHED, now(h))));
    assert_eq!(dead.finished_at, Some(now(h)));
    assert_eq!(Worker::join(&store).await.claim(1).await.ids(), []);

    let (_, at_once) = leased(&store, job()).await;
    h.clock().advance(HOUR);
    assert_eq!(rescue(&store, 1).await, rescued(2, 0, 1));
    assert_eq!(state(&store, at_once.job().id).await, Some(State::Dead));
}

/// It is neither ready nor dead, though it crashed for the last time.
pub async fn a_cancelled_job_that_crashes_is_cancelled(h: &impl Harness) {
    let store = h.store();
    for max_crashes in [1, 9] {
        let (_, batch) = leased(&store, job()).await;
        let id = batch.job().id;
        assert!(ok(store.cancel(id).await));
        h.clock().advance(HOUR);
        assert_eq!(rescue(&store, max_crashes).await, rescued(1, 0, 0));
        let cancelled = view(&store, id).await;
        assert_eq!((cancelled.state, cancelled.crashes), (State::Cancelled, 1));
        assert_eq!((cancelled.failures, cancelled.failure), (0, None));
        assert_eq!(cancelled.finished_at, Some(now(h)));
    }
}

/// And leaves the other dead workers to the next one.
pub async fn a_rescue_is_bounded(h: &impl Harness) {
    let store = h.store();
    for _ in 0..5 {
        leased(&store, job()).await;
    }
    h.clock().advance(HOUR);
    let rescue = Rescue {
        limit: 2,
        max_crashes: 3,
    };
    for workers in [2, 2, 1, 0] {
        let expected = rescued(workers, workers, 0);
        assert_eq!(ok(store.rescue(&rescue).await), expected);
    }
}
