//! Jobs whose time comes.

use std::time::Duration;

use super::Harness;
use super::bench::{
    HOUR, MICRO, MINUTE, Worker, add, counts, job, job_with, leased, now, ok, retry, state, view,
};
use crate::store::{Promoted, State};
use crate::{JobId, Priority};

fn promoted(jobs: u32, next_in: Option<Duration>) -> Promoted {
    Promoted { jobs, next_in }
}

/// From that microsecond on, and it keeps its time.
pub async fn a_job_is_ready_when_its_time_has_come(h: &impl Harness) {
    let store = h.store();
    let run_at = now(h) + HOUR;
    let id = add(&store, job_with(|o| o.with_delay(HOUR))).await;
    let (worker, batch) = leased(&store, job()).await;
    batch.end(retry(HOUR)).await;
    h.clock().advance(HOUR - MICRO);
    assert_eq!(ok(store.promote(10).await), promoted(0, Some(MICRO)));
    assert_eq!(counts(&store).await, [0, 2, 0, 0, 0]);
    h.clock().advance(MICRO);
    ok(store.join(worker.id, HOUR).await);
    assert_eq!(worker.claim(10).await.ids(), [], "nobody has promoted them");
    assert_eq!(ok(h.second().promote(10).await), promoted(2, None));
    for id in [id, batch.job().id] {
        let ready = view(&store, id).await;
        assert_eq!((ready.state, ready.run_at), (State::Ready, Some(run_at)));
    }
    assert_eq!(worker.claim(10).await.jobs.len(), 2);
    assert_eq!(ok(store.promote(10).await), promoted(0, None));
}

/// In the order of their times.
pub async fn a_promotion_is_bounded(h: &impl Harness) {
    let store = h.store();
    let mut ids = Vec::new();
    for minutes in (1..=5).rev() {
        ids.push(add(&store, job_with(|o| o.with_delay(minutes * MINUTE))).await);
    }
    ids.reverse();
    h.clock().advance(3 * MINUTE);
    assert_eq!(
        ok(store.promote(2).await),
        promoted(2, Some(Duration::ZERO))
    );
    for (id, expected) in ids
        .iter()
        .zip([State::Ready, State::Ready, State::Scheduled])
    {
        assert_eq!(state(&store, *id).await, Some(expected));
    }
    assert_eq!(ok(store.promote(2).await), promoted(1, Some(MINUTE)));
    h.clock().advance(HOUR);
    assert_eq!(ok(store.promote(2).await), promoted(2, None));
    assert_eq!(counts(&store).await, [5, 0, 0, 0, 0]);
}

/// By their time to start, and not by when they were enqueued or promoted.
pub async fn promoted_jobs_stand_among_the_others(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    let late = add(&store, job_with(|o| o.with_delay(3 * MINUTE))).await;
    let early = add(&store, job_with(|o| o.with_delay(MINUTE))).await;
    let urgent = job_with(|o| o.with_delay(2 * MINUTE).with_priority(Priority::URGENT));
    let urgent = add(&store, urgent).await;
    h.clock().advance(2 * MINUTE);
    let between = add(&store, job()).await;
    h.clock().advance(2 * MINUTE);
    let last = add(&store, job()).await;
    assert_eq!(ok(store.promote(10).await).jobs, 3);
    let ids: Vec<JobId> = worker.claim(10).await.ids();
    assert_eq!(ids, [urgent, early, between, late, last]);
}
