use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use purlin_jobs::store::State;
use purlin_jobs::{Cancellation, JobContext};
use tokio::time::{Instant, sleep};

use crate::common::{Fault, Log, Store, enqueue, probe, secs, start, worker};

#[tokio::test(start_paused = true)]
async fn without_heartbeats_a_worker_drops_its_jobs_before_its_lease_ends() {
    for fault in [Fault::Refused, Fault::Hangs] {
        let (store, log) = (Store::new(), Log::default());
        let told = Arc::new(Mutex::new(None));
        let reason = Arc::clone(&told);
        let running = start(worker(&store, &log, move |_, context: JobContext| {
            let reason = Arc::clone(&reason);
            async move {
                if context.info().crashes == 0 {
                    let context = context.clone();
                    tokio::spawn(async move {
                        *reason.lock().unwrap() = Some(context.cancelled().await);
                    });
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        }));
        let begun = Instant::now();
        store.fail("heartbeat", fault, u32::MAX);
        let id = enqueue(&store, probe(1)).await;
        log.has("lease_lost", 1).await;
        // 4/5 of 15 s after it has joined.
        assert_eq!(begun.elapsed().as_secs(), 12);
        sleep(secs(1)).await;
        assert_eq!(*told.lock().unwrap(), Some(Cancellation::LeaseLost));
        assert_eq!(store.calls("settle"), 0);
        assert_eq!(store.view(id).await.unwrap().state, State::Leased);
        // It goes on as another one, which gives back what the first one had.
        store.heal();
        log.has("done 1", 1).await;
        assert!(begun.elapsed() <= secs(15 + 2));
        assert_eq!((store.calls("join"), log.count("started 1")), (2, 2));
        running.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_few_lost_heartbeats_do_no_harm() {
    let (store, log) = (Store::new(), Log::default());
    let running = start(worker(&store, &log, |_, _| async {
        sleep(secs(60)).await;
        Ok(())
    }));
    enqueue(&store, probe(1)).await;
    log.has("started 1", 1).await;
    store.fail("heartbeat", Fault::Refused, 5);
    log.has("done 1", 1).await;
    assert_eq!(log.count("lease_lost"), 0);
    assert_eq!(log.count("store_failed heartbeat"), 5);
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_taken_for_dead_drops_its_jobs_and_settles_nothing() {
    let (store, log) = (Store::new(), Log::default());
    let running = start(worker(&store, &log, |_, _| async {
        sleep(secs(60)).await;
        Ok(())
    }));
    let id = enqueue(&store, probe(1)).await;
    log.has("started 1", 1).await;
    store.fail("heartbeat", Fault::TakenAway, 1);
    let taken = Instant::now();
    log.has("lease_lost", 1).await;
    assert!(taken.elapsed() <= secs(5), "by the next heartbeat");
    log.has("started 1", 2).await;
    assert_eq!(store.calls("settle"), 0);
    log.has("done 1", 1).await;
    assert!(store.view(id).await.is_none());
    assert_eq!((log.count("stale 1"), store.calls("settle")), (0, 1));
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_but_is_not_settled_when_the_lease_is_lost_is_dropped() {
    let (store, log) = (Store::new(), Log::default());
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let running = start(worker(&store, &log, move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    }));
    store.fail("settle", Fault::Refused, u32::MAX);
    store.fail("heartbeat", Fault::Refused, u32::MAX);
    enqueue(&store, probe(1)).await;
    log.has("lease_lost", 1).await;
    store.heal();
    log.has("done 1", 1).await;
    sleep(secs(60)).await;
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!((log.count("done 1"), log.count("stale 1")), (1, 0));
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stale_settlement_is_told_and_nothing_else() {
    let (store, log) = (Store::new(), Log::default());
    store.fail("settle", Fault::TakenAway, 1);
    let running = start(worker(&store, &log, |_, _| async { Ok(()) }));
    let id = enqueue(&store, probe(1)).await;
    log.has("stale 1", 1).await;
    assert_eq!(log.count("done 1"), 0);
    assert_eq!(store.view(id).await.unwrap().state, State::Leased);
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_worker_that_died_are_run_by_another_soon_after_the_lease() {
    let (store, log) = (Store::new(), Log::default());
    let dies = start(worker(&store, &log, |_, _| std::future::pending()));
    enqueue(&store, probe(1)).await;
    log.has("started 1", 1).await;
    dies.kill().await;
    let died = Instant::now();
    let seen = Arc::new(Mutex::new(None));
    let info = Arc::clone(&seen);
    let lives = start(worker(&store, &log, move |_, context: JobContext| {
        *info.lock().unwrap() = Some((context.info().attempt, context.info().crashes));
        async { Ok(()) }
    }));
    log.has("done 1", 1).await;
    assert!(died.elapsed() <= secs(15 + 2));
    assert_eq!(*seen.lock().unwrap(), Some((1, 1)));
    lives.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_kills_its_workers_is_dead_after_three() {
    let (store, log) = (Store::new(), Log::default());
    let id = enqueue(&store, probe(1)).await;
    for crash in 1..=3 {
        let dies = start(worker(&store, &log, |_, _| std::future::pending()));
        log.has("started 1", crash).await;
        dies.kill().await;
    }
    let lives = start(worker(&store, &log, |_, _| async { Ok(()) }));
    log.has("rescued", 3).await;
    let dead = store.view(id).await.unwrap();
    assert_eq!(
        (dead.state, dead.failures, dead.crashes),
        (State::Dead, 0, 3)
    );
    lives.end().await.unwrap();
}
