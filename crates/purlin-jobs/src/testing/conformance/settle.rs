//! How the work on a job ends.

use std::time::Duration;

use super::Harness;
use super::bench::{
    HOUR, MICRO, MINUTE, Worker, YEAR, add, counts, discard, job, leased, now, ok, outcomes, retry,
    state, view,
};
use crate::store::{Failure, Outcome, Settled, Settlement, State};

/// Nothing of it is left.
pub async fn a_job_that_is_done_is_gone(h: &impl Harness) {
    let store = h.store();
    let (worker, batch) = leased(&store, job()).await;
    batch.end(Outcome::Done).await;
    assert_eq!(state(&h.second(), batch.job().id).await, None);
    assert_eq!(counts(&store).await, [0; 5]);
    assert_eq!(worker.claim(10).await.ids(), []);
    ok(store.leave(worker.id).await);
    assert_eq!(counts(&store).await, [0; 5]);
}

/// With one failure more and what went wrong, and after its time it is ready.
pub async fn a_job_that_is_to_be_tried_again_is_scheduled(h: &impl Harness) {
    let store = h.store();
    let (worker, mut batch) = leased(&store, job()).await;
    let (id, enqueued_at) = (batch.job().id, now(h));
    for failures in 1..=3 {
        h.clock().advance(MINUTE);
        batch.end(retry(MINUTE)).await;
        let failed = view(&h.second(), id).await;
        assert_eq!(failed.state, State::Scheduled);
        assert_eq!(failed.run_at, Some(now(h) + MINUTE));
        assert_eq!(
            failed.failure,
            Some(Failure::new("it did not work", now(h)))
        );
        assert_eq!((failed.failures, failed.crashes), (failures, 0));
        assert_eq!(failed.enqueued_at, enqueued_at);
        assert_eq!(worker.claim(1).await.ids(), []);

        h.clock().advance(MINUTE);
        assert_eq!(ok(store.promote(10).await).jobs, 1);
        batch = worker.claim(1).await;
        let claimed = batch.job();
        assert_eq!((claimed.id, claimed.failures), (id, failures));
        assert_eq!((claimed.crashes, claimed.enqueued_at), (0, enqueued_at));
    }
}

/// It is kept, and nobody gets it.
pub async fn a_job_that_failed_for_good_is_dead(h: &impl Harness) {
    let store = h.store();
    let (worker, batch) = leased(&store, job()).await;
    h.clock().advance(MINUTE);
    batch.end(discard()).await;
    let dead = view(&h.second(), batch.job().id).await;
    assert_eq!(
        (dead.state, dead.failures, dead.crashes),
        (State::Dead, 1, 0)
    );
    assert_eq!(dead.failure, Some(Failure::new("it never will", now(h))));
    assert_eq!((dead.run_at, dead.finished_at), (None, Some(now(h))));
    assert_eq!(dead.payload, job().payload);
    assert_eq!(counts(&store).await, [0, 0, 0, 1, 0]);
    assert_eq!(worker.claim(10).await.ids(), []);
}

/// Without a failure.
pub async fn a_job_may_end_cancelled(h: &impl Harness) {
    let store = h.store();
    let (worker, batch) = leased(&store, job()).await;
    h.clock().advance(MINUTE);
    batch.end(Outcome::Cancelled).await;
    let cancelled = view(&h.second(), batch.job().id).await;
    assert_eq!(cancelled.state, State::Cancelled);
    assert_eq!((cancelled.failures, cancelled.failure), (0, None));
    assert_eq!(cancelled.finished_at, Some(now(h)));
    assert_eq!(counts(&store).await, [0, 0, 0, 0, 1]);
    assert_eq!(worker.claim(10).await.ids(), []);
}

/// Later, without a failure.
pub async fn a_job_may_snooze(h: &impl Harness) {
    let store = h.store();
    let (_, batch) = leased(&store, job()).await;
    batch.end(Outcome::Snooze { after: HOUR }).await;
    let snoozes = view(&h.second(), batch.job().id).await;
    assert_eq!(snoozes.state, State::Scheduled);
    assert_eq!(snoozes.run_at, Some(now(h) + HOUR));
    assert_eq!((snoozes.failures, snoozes.failure), (0, None));
    assert_eq!(ok(store.promote(10).await).next_in, Some(HOUR));
}

/// At once, and nothing is counted.
pub async fn a_job_that_is_released_is_ready(h: &impl Harness) {
    let store = h.store();
    let (worker, batch) = leased(&store, job()).await;
    batch.end(Outcome::Release).await;
    let ready = view(&h.second(), batch.job().id).await;
    assert_eq!(ready.state, State::Ready);
    assert_eq!((ready.failures, ready.crashes), (0, 0));
    assert_eq!(ready.failure, None);
    assert_eq!(worker.claim(10).await.jobs, batch.jobs);
}

/// What a handler says is kept as far as there is room; nothing that it says keeps a job from being
/// settled.
pub async fn an_error_is_shortened(h: &impl Harness) {
    let store = h.store();
    let room = Failure::MAX_ERROR_BYTES;
    let errors = [
        (String::new(), String::new()),
        ("x".repeat(room + 1), "x".repeat(room)),
        ("é".repeat(room), "é".repeat(room / 2)),
        (
            format!("x{}", "é".repeat(room)),
            format!("x{}", "é".repeat(room / 2 - 1)),
        ),
        ("a\0b".to_owned(), "a\u{fffd}b".to_owned()),
    ];
    for (error, kept) in errors {
        for dead in [false, true] {
            let (_, batch) = leased(&store, job()).await;
            let (after, error) = (MINUTE, error.clone());
            batch
                .end(match dead {
                    true => Outcome::Discard { error },
                    false => Outcome::Retry { after, error },
                })
                .await;
            let failure = view(&store, batch.job().id).await.failure;
            assert_eq!(failure.map(|failure| failure.error), Some(kept.clone()));
        }
    }
}

/// Each in its place, whatever the others say, and one that comes twice once.
pub async fn settlements_of_one_call_are_told_apart(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    for _ in 0..7 {
        add(&store, job()).await;
        h.clock().advance(MICRO);
    }
    let batch = worker.claim(6).await;
    let mut settlements: Vec<_> = batch
        .ids()
        .into_iter()
        .zip(outcomes())
        .map(|(id, outcome)| Settlement { id, outcome })
        .collect();
    let strange = add(&store, job()).await;
    settlements.insert(
        2,
        Settlement {
            id: strange,
            outcome: Outcome::Done,
        },
    );
    settlements.push(Settlement {
        id: batch.ids()[1],
        outcome: Outcome::Done,
    });
    let settled = ok(store.settle(batch.lease, &settlements).await);
    let mut expected = [Settled::Applied; 8];
    expected[2] = Settled::Stale;
    expected[7] = Settled::Stale;
    assert_eq!(settled, expected);
    // Done, to be tried again, dead, cancelled, asleep, released; one was never claimed, one is strange.
    assert_eq!(counts(&h.second()).await, [3, 2, 0, 1, 1]);
    assert_eq!(ok(store.settle(batch.lease, &[]).await), []);
}

/// No time is too short, and none too long.
pub async fn a_job_comes_back_after_any_time(h: &impl Harness) {
    let store = h.store();
    for outcome in [retry, |after| Outcome::Snooze { after }] {
        let (worker, batch) = leased(&store, job()).await;
        batch.end(outcome(Duration::ZERO)).await;
        assert_eq!(counts(&store).await, [0, 1, 0, 0, 0]);
        assert_eq!(ok(store.promote(10).await).jobs, 1);
        let batch = worker.claim(1).await;
        batch.end(outcome(Duration::MAX)).await;
        let run_at = view(&store, batch.job().id).await.run_at;
        assert!(run_at > Some(now(h) + 1_000 * YEAR), "{run_at:?}");
        assert_eq!(ok(store.promote(10).await).jobs, 0);
        assert!(ok(store.replay(batch.job().id).await));
        worker.claim(1).await.end(Outcome::Done).await;
    }
}
