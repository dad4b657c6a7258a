//! What operators do with one job.

use super::Harness;
use super::bench::{
    HOUR, MINUTE, Worker, add, conflict, counts, discard, enqueue, job, job_with, leased, now, ok,
    rescue, retry, state, unique, view,
};
use crate::store::{Beat, Enqueued, Failure, Outcome, Settled, State};
use crate::{JobId, Unique};

/// At once, and nobody gets it.
pub async fn a_job_that_waits_is_cancelled(h: &impl Harness) {
    let store = h.store();
    let ready = add(&store, job()).await;
    let scheduled = add(&store, job_with(|o| o.with_delay(MINUTE))).await;
    let (worker, batch) = leased(
        &store,
        job_with(|o| o.with_priority(crate::Priority::URGENT)),
    )
    .await;
    batch.end(retry(MINUTE)).await;
    h.clock().advance(MINUTE);
    for id in [ready, scheduled, batch.job().id] {
        assert!(ok(h.second().cancel(id).await));
        let cancelled = view(&store, id).await;
        assert_eq!(cancelled.state, State::Cancelled);
        assert_eq!(
            (cancelled.run_at, cancelled.finished_at),
            (None, Some(now(h)))
        );
        assert!(!ok(store.cancel(id).await));
    }
    assert_eq!(ok(store.promote(10).await).next_in, None);
    assert_eq!(worker.claim(10).await.ids(), []);
    assert_eq!(counts(&store).await, [0, 0, 0, 0, 3]);
}

/// It is cancelled when it would wait again. What has come to its end has come to its end.
pub async fn a_job_that_runs_is_told_to_end(h: &impl Harness) {
    let store = h.store();
    let cases = [
        (Outcome::Done, None),
        (discard(), Some(State::Dead)),
        (Outcome::Cancelled, Some(State::Cancelled)),
        (retry(MINUTE), Some(State::Cancelled)),
        (Outcome::Snooze { after: MINUTE }, Some(State::Cancelled)),
        (Outcome::Release, Some(State::Cancelled)),
    ];
    for (outcome, expected) in cases {
        let (worker, batch) = leased(&store, job()).await;
        let id = batch.job().id;
        for _ in 0..2 {
            assert!(ok(h.second().cancel(id).await));
            assert_eq!(state(&store, id).await, Some(State::Leased));
        }
        let cancel = vec![id];
        let beat = ok(store.heartbeat(worker.id, HOUR).await);
        assert_eq!(beat, Beat::Alive { cancel });
        h.clock().advance(MINUTE);
        batch.end(outcome.clone()).await;
        assert_eq!(state(&store, id).await, expected, "{outcome:?}");
        if let Some(ended) = ok(store.get(id).await) {
            assert_eq!(ended.finished_at, Some(now(h)));
            let failed = matches!(outcome, Outcome::Retry { .. } | Outcome::Discard { .. });
            assert_eq!(ended.failures, u16::from(failed));
            assert_eq!(ended.failure.is_some(), failed);
        }
    }
    assert_eq!(ok(store.promote(10).await).next_in, None);
    assert_eq!(counts(&store).await, [0, 0, 0, 1, 4]);
}

/// It has ended, or never was.
pub async fn nothing_else_is_cancelled(h: &impl Harness) {
    let store = h.store();
    let mut ids = vec![JobId::new()];
    for outcome in [Outcome::Done, discard(), Outcome::Cancelled] {
        let (_, batch) = leased(&store, job()).await;
        batch.end(outcome).await;
        ids.push(batch.job().id);
    }
    for id in ids {
        let before = ok(store.get(id).await);
        assert!(!ok(store.cancel(id).await));
        assert_eq!(ok(store.get(id).await), before);
    }
}

/// With all its attempts, as if it were enqueued now.
pub async fn a_dead_job_is_replayed(h: &impl Harness) {
    let store = h.store();
    let poison = add(&store, job()).await;
    for _ in 0..2 {
        Worker::join(&store).await.claim(1).await;
        h.clock().advance(HOUR);
        rescue(&store, 2).await;
    }
    let (worker, failed) = leased(&store, job()).await;
    failed.end(retry(MINUTE)).await;
    assert!(ok(store.replay(failed.job().id).await));
    worker.claim(1).await.end(discard()).await;
    assert_eq!(counts(&store).await, [0, 0, 0, 2, 0]);
    for id in [poison, failed.job().id] {
        let dead = view(&store, id).await;
        h.clock().advance(MINUTE);
        let before = add(&store, job()).await;
        h.clock().advance(MINUTE);
        assert!(ok(h.second().replay(id).await));
        let ready = view(&store, id).await;
        assert_eq!((ready.failures, ready.crashes), (0, 0));
        assert_eq!((ready.state, ready.run_at), (State::Ready, Some(now(h))));
        assert_eq!(
            (ready.finished_at, ready.enqueued_at),
            (None, dead.enqueued_at)
        );
        assert!(!ok(store.replay(id).await));

        let batch = worker.claim(10).await;
        assert_eq!(batch.ids(), [before, id]);
        assert_eq!((batch.jobs[1].failures, batch.jobs[1].crashes), (0, 0));
        assert_eq!(batch.settle_all(Outcome::Done).await, [Settled::Applied; 2]);
    }
}

/// It need not wait any longer; its failures are what they were.
pub async fn a_scheduled_job_is_replayed_now(h: &impl Harness) {
    let store = h.store();
    let scheduled = add(&store, job_with(|o| o.with_delay(HOUR))).await;
    let (worker, failed) = leased(&store, job()).await;
    failed.end(retry(HOUR)).await;
    h.clock().advance(MINUTE);
    for (id, failures) in [(scheduled, 0), (failed.job().id, 1)] {
        assert!(ok(h.second().replay(id).await));
        let ready = view(&store, id).await;
        assert_eq!((ready.state, ready.failures), (State::Ready, failures));
        assert_eq!(ready.run_at, Some(now(h)));
        assert_eq!(worker.claim(1).await.ids(), [id]);
    }
    assert_eq!(ok(store.promote(10).await).next_in, None);
}

/// It waits already, runs, was cancelled, is done or never was.
pub async fn nothing_else_is_replayed(h: &impl Harness) {
    let store = h.store();
    let mut ids = vec![JobId::new()];
    for outcome in [Outcome::Done, Outcome::Cancelled] {
        let (_, batch) = leased(&store, job()).await;
        batch.end(outcome).await;
        ids.push(batch.job().id);
    }
    ids.push(leased(&store, job()).await.1.job().id);
    ids.push(add(&store, job()).await);
    for id in ids {
        let before = ok(store.get(id).await);
        assert!(!ok(store.replay(id).await));
        assert_eq!(ok(store.get(id).await), before);
    }
}

/// Until that one has ended; then it takes the key again.
pub async fn a_dead_job_whose_key_is_taken_stays_dead(h: &impl Harness) {
    let store = h.store();
    let key = || unique(Unique::until_done("key"));
    let (worker, dead) = leased(&store, key()).await;
    dead.end(discard()).await;
    let id = dead.job().id;
    let before = view(&store, id).await;
    add(&store, key()).await;
    conflict(store.replay(id).await);
    assert_eq!(view(&store, id).await, before);
    let holder = worker.claim(1).await;
    conflict(h.second().replay(id).await);
    holder.end(Outcome::Done).await;

    assert!(ok(store.replay(id).await));
    assert_eq!(enqueue(&store, &key()).await, Enqueued::Existing(id));
    worker.claim(1).await.end(Outcome::Done).await;
    add(&store, key()).await;
}

/// A job that has started once holds no key that is held until then.
pub async fn a_dead_job_that_had_started_needs_no_key(h: &impl Harness) {
    let store = h.store();
    let key = || unique(Unique::until_start("key"));
    let (_, dead) = leased(&store, key()).await;
    dead.end(discard()).await;
    let holder = add(&store, key()).await;
    assert!(ok(store.replay(dead.job().id).await));
    assert_eq!(enqueue(&store, &key()).await, Enqueued::Existing(holder));
    assert_eq!(counts(&store).await, [2, 0, 0, 0, 0]);
}

/// Whoever replays it wants it to run.
pub async fn a_replayed_job_is_not_to_be_cancelled_any_more(h: &impl Harness) {
    let store = h.store();
    let (worker, batch) = leased(&store, job()).await;
    let id = batch.job().id;
    assert!(ok(store.cancel(id).await));
    batch.end(discard()).await;
    assert!(ok(store.replay(id).await));
    let again = worker.claim(1).await;
    let beat = ok(store.heartbeat(worker.id, HOUR).await);
    assert_eq!(beat, Beat::Alive { cancel: Vec::new() });
    again.end(retry(MINUTE)).await;
    let waits = view(&store, id).await;
    assert_eq!(waits.state, State::Scheduled);
    assert_eq!(waits.failure, Some(Failure::new("it did not work", now(h))));
}
