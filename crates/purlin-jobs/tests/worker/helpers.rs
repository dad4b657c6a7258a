//! The helpers for tests of users.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use purlin_jobs::store::{Outcome, Settled, State};
use purlin_jobs::testing::{Call, Fault, FaultyStore, InlineRunner, VirtualClock};
use purlin_jobs::{
    Backoff, JobAdmin as _, JobError, Jobs, MemoryStore, NewJob, PayloadCodec, Worker,
    assert_enqueued, assert_not_enqueued, handler_fn,
};
use purlin_store::StoreErrorKind;
use purlin_store::testing::ManualClock;
use tokio::time::Instant;

use crate::common::{Probe, secs};

fn manual() -> (MemoryStore, ManualClock) {
    let clock = ManualClock::new(purlin_jobs::testing::conformance::start());
    (MemoryStore::new().with_clock(clock.clone()), clock)
}

fn failing_until(store: &MemoryStore, attempt: u16) -> Worker {
    Worker::new(store.clone())
        .with_backoff(Backoff::from_fn(|_| secs(3600)))
        .register(handler_fn(move |job: Probe, context| async move {
            if job.number == 0 && context.info().attempt < attempt {
                return Err(JobError::retry("not yet"));
            }
            Ok(())
        }))
}

#[tokio::test]
async fn what_is_ready_is_run_inline_and_what_is_not_waits() {
    let (store, clock) = manual();
    let jobs = Jobs::new(store.clone());
    let later = NewJob::new(&Probe { number: 1 }).with(|it| it.with_delay(secs(60)));
    let failing = jobs.enqueue(Probe { number: 0 }).await.unwrap().id();
    let later = jobs.enqueue(later).await.unwrap().id();
    let mut runner = InlineRunner::new(failing_until(&store, 3)).with_clock(clock.clone());

    let ran = runner.run().await.unwrap();
    assert_eq!(ran.len(), 1, "{ran:?}");
    assert_eq!((ran[0].job.id, ran[0].settled), (failing, Settled::Applied));
    let (after, error) = (secs(3600), "not yet".to_owned());
    assert_eq!(ran[0].outcome, Outcome::Retry { after, error });
    assert_eq!(runner.run().await.unwrap(), []);

    clock.advance(secs(60));
    let ran = runner.run().await.unwrap();
    assert_eq!(
        ran.iter().map(|ran| ran.job.id).collect::<Vec<_>>(),
        [later]
    );
    let view = store.get(failing).await.unwrap().unwrap();
    assert_eq!(
        (view.state, view.failures, view.crashes),
        (State::Scheduled, 1, 0)
    );
}

#[tokio::test]
async fn jobs_are_run_to_their_end_inline() {
    let (store, clock) = manual();
    let jobs = Jobs::new(store.clone());
    let failing = jobs.enqueue(Probe { number: 0 }).await.unwrap().id();
    let begun = purlin_store::Clock::now(&clock);
    let mut runner = InlineRunner::new(failing_until(&store, 4)).with_clock(clock.clone());
    let ran = runner.run_to_end().await.unwrap();
    let attempts: Vec<_> = ran
        .iter()
        .map(|ran| (ran.job.id, ran.job.attempt))
        .collect();
    assert_eq!(attempts, [1, 2, 3, 4].map(|attempt| (failing, attempt)));
    assert_eq!(ran[3].outcome, Outcome::Done);
    let took = purlin_store::Clock::now(&clock).duration_since(begun);
    assert_eq!(took.unwrap(), secs(3 * 3600));
    assert_eq!(store.get(failing).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn jobs_are_run_to_their_end_in_paused_time() {
    let store = MemoryStore::new().with_clock(VirtualClock::new());
    let jobs = Jobs::new(store.clone());
    jobs.enqueue(Probe { number: 0 }).await.unwrap();
    let begun = Instant::now();
    let ran = InlineRunner::new(failing_until(&store, 3))
        .run_to_end()
        .await;
    assert_eq!(ran.unwrap().len(), 3);
    assert_eq!(begun.elapsed().as_secs(), 2 * 3600);
}

#[tokio::test]
#[should_panic = "5 attempts, and no end of them"]
async fn a_job_without_end_is_told_of() {
    let (store, clock) = manual();
    Jobs::new(store.clone())
        .enqueue(Probe { number: 0 })
        .await
        .unwrap();
    let worker = Worker::new(store).register(handler_fn(|_: Probe, _| async {
        Err(JobError::snooze(secs(60)))
    }));
    let runner = InlineRunner::new(worker).with_clock(clock);
    let _ = { runner }.with_max_attempts(5).run_to_end().await;
}

#[derive(Debug)]
struct Reversed;

impl PayloadCodec for Reversed {
    fn encode(&self, _: &str, _: purlin_jobs::JobId, payload: bytes::Bytes) -> bytes::Bytes {
        payload.iter().rev().copied().collect::<Vec<_>>().into()
    }

    fn decode(
        &self,
        kind: &str,
        id: purlin_jobs::JobId,
        stored: bytes::Bytes,
    ) -> Result<bytes::Bytes, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.encode(kind, id, stored))
    }
}

#[tokio::test]
async fn what_is_enqueued_is_found_by_its_payload() {
    let (store, _) = manual();
    let jobs = Jobs::new(store.clone()).with_codec(Reversed);
    assert_not_enqueued!(jobs, Probe);
    let later = NewJob::new(&Probe { number: 8 }).with(|it| it.with_delay(secs(60)));
    jobs.enqueue(Probe { number: 7 }).await.unwrap();
    let later = jobs.enqueue(later).await.unwrap().id();
    assert_enqueued!(jobs, Probe);
    let found = assert_enqueued!(jobs, Probe, |job| job.number == 8);
    assert_eq!((found.view.id, found.job.number), (later, 8));
    assert_not_enqueued!(jobs, Probe, |job| job.number == 9);
    store.cancel(later).await.unwrap();
    assert_not_enqueued!(jobs, Probe, |job| job.number == 8);
}

#[tokio::test]
#[should_panic = "no Probe that is wanted is enqueued; there are 1 job:\n  probe {\"number\":7}, Ready in default"]
async fn what_is_not_enqueued_is_told_with_what_is() {
    let (store, _) = manual();
    let jobs = Jobs::new(store);
    jobs.enqueue(Probe { number: 7 }).await.unwrap();
    assert_enqueued!(jobs, Probe, |job| job.number == 8);
}

#[tokio::test(start_paused = true)]
async fn each_fault_does_what_it_says() {
    let sec = secs(1);
    let refused = Fault::refused(StoreErrorKind::Timeout);
    // Whether it is answered well, badly or not at all, after how long, and whether it was done then.
    let faults = [
        (Fault::none(), Some(true), 0, true),
        (refused.clone(), Some(false), 0, false),
        (refused.with_delay(sec), Some(false), 1, false),
        (Fault::reply_lost(), Some(false), 0, true),
        (
            Fault::reply_lost().with_reply_delay(sec),
            Some(false),
            1,
            true,
        ),
        (
            Fault::none().with_delay(sec).with_reply_delay(sec),
            Some(true),
            2,
            true,
        ),
        (Fault::late(secs(5)), Some(false), 0, false),
        (Fault::hangs(), None, 60, false),
        (Fault::reply_hangs(), None, 60, true),
    ];
    for (fault, answer, after, is_done) in faults {
        let store = FaultyStore::new(MemoryStore::new().with_clock(VirtualClock::new()));
        let jobs = Jobs::new(store.clone());
        store.fail(Call::Enqueue, fault.clone(), 1);
        let begun = Instant::now();
        let enqueued = tokio::time::timeout(secs(60), jobs.enqueue(Probe { number: 7 })).await;
        assert_eq!(enqueued.ok().map(|it| it.is_ok()), answer, "{fault:?}");
        assert_eq!(begun.elapsed(), secs(after), "{fault:?}");
        let counts = store.inner().counts(None).await.unwrap();
        assert_eq!(counts.ready == 1, is_done, "{fault:?}");
        tokio::time::sleep(secs(6)).await;
        let counts = store.inner().counts(None).await.unwrap();
        assert_eq!(
            counts.ready == 1,
            is_done || fault == Fault::late(secs(5)),
            "{fault:?}"
        );
        // One call was to fail.
        jobs.enqueue(Probe { number: 8 }).await.unwrap();
        assert_eq!(store.calls(Call::Enqueue), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_outlives_the_faults_of_its_store() {
    let memory = MemoryStore::new().with_clock(VirtualClock::new());
    let runs = Arc::new(AtomicU32::new(0));
    let (counted, seen) = (Arc::clone(&runs), Arc::clone(&runs));
    // Every other call.
    let calls = AtomicU32::new(0);
    let store = FaultyStore::new(memory.clone()).with_faults(move |_| {
        match calls.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Fault::reply_lost(),
            _ => Fault::none(),
        }
    });
    Jobs::new(memory.clone())
        .enqueue(Probe { number: 7 })
        .await
        .unwrap();
    let worker = Worker::new(store.clone())
        .with_heartbeat_spawner(|heartbeat| drop(tokio::spawn(heartbeat)))
        .register(handler_fn(move |_: Probe, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        }));
    worker
        .run_until(store.called(Call::Heartbeat, 5))
        .await
        .unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    assert_eq!(memory.counts(None).await.unwrap().ready, 0);
    store.heal();
    assert!(store.calls(Call::Settle) >= 1);
}
