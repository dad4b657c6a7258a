use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use purlin_jobs::store::State;
use purlin_jobs::{
    Cancellation, Emptied, JobAdmin as _, JobContext, JobError, Jobs, QueueName, WorkerError,
};
use tokio::time::{Instant, sleep};

use crate::common::{Fault, Log, Probe, Store, enqueue, probe, secs, start, worker};

#[tokio::test(start_paused = true)]
async fn a_shutdown_lets_jobs_end_then_cancels_then_drops_them_and_spends_no_attempt() {
    let (store, log) = (Store::new(), Log::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let reasons = Arc::clone(&told);
    let running = start(worker(&store, &log, move |job, context: JobContext| {
        let reasons = Arc::clone(&reasons);
        async move {
            if job.number == 0 {
                sleep(secs(19)).await;
                return Ok(());
            }
            let reason = context.cancelled().await;
            reasons
                .lock()
                .unwrap()
                .push((reason, begun.elapsed().as_secs()));
            match job.number {
                1 => Ok(()),
                2 => Err(JobError::retry("stopped halfway")),
                3 => Err(JobError::cancel()),
                4 => Err(JobError::discard("hopeless")),
                _ => std::future::pending().await,
            }
        }
    }));
    let mut ids = Vec::new();
    for number in 0..=5 {
        ids.push(enqueue(&store, probe(number)).await);
    }
    log.has("started 1", 6).await;
    let ending = running.ask_to_end();
    // What comes now is for others.
    ids.push(enqueue(&store, probe(6)).await);
    ending.await.unwrap().unwrap();

    assert_eq!(begun.elapsed().as_secs(), 25);
    assert_eq!(*told.lock().unwrap(), [(Cancellation::Shutdown, 20); 5]);
    for done in &ids[..2] {
        assert!(store.view(*done).await.is_none());
    }
    let mut states = Vec::new();
    for id in &ids[2..] {
        let job = store.view(*id).await.unwrap();
        states.push((job.state, job.failures, job.crashes));
    }
    let ready = (State::Ready, 0, 0);
    assert_eq!(states, [ready, ready, (State::Dead, 1, 0), ready, ready]);
    assert_eq!((log.count("released 1"), log.count("started 1")), (3, 6));
}

#[tokio::test(start_paused = true)]
async fn what_a_claim_brings_after_the_shutdown_is_released_at_once() {
    let (store, log) = (Store::new(), Log::default());
    let running = start(worker(&store, &log, |_, _| std::future::pending()));
    enqueue(&store, probe(1)).await;
    log.has("started 1", 1).await;
    store.fail("claim", Fault::ReplySlow, 1);
    let id = enqueue(&store, probe(2)).await;
    store.called("claim", store.calls("claim") + 1).await;
    let begun = Instant::now();
    let ending = running.ask_to_end();
    log.has("released 1", 1).await;
    assert_eq!(begun.elapsed().as_secs(), 1);
    assert_eq!(store.view(id).await.unwrap().state, State::Ready);
    ending.await.unwrap().unwrap();
    assert_eq!(log.count("started 1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_has_ended_is_not_known_to_the_store() {
    let (store, log) = (Store::new(), Log::default());
    let running = start(worker(&store, &log, |_, _| std::future::pending()));
    enqueue(&store, probe(1)).await;
    log.has("started 1", 1).await;
    running.end().await.unwrap();
    assert_eq!(store.calls("leave"), 1);
    // Nobody is left who could be taken for dead.
    sleep(secs(60)).await;
    let other = worker(&store, &log, |_, _| async { Ok(()) });
    other.run_until_empty(secs(5)).await.unwrap();
    assert_eq!((log.count("rescued"), log.count("lease_lost")), (0, 0));
    assert_eq!(log.count("done 1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_dropped_drops_its_jobs_and_settles_nothing() {
    let (store, log) = (Store::new(), Log::default());
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let running = start(worker(&store, &log, move |_, _| {
        let held = Arc::clone(&held);
        async move {
            let _held = held;
            std::future::pending().await
        }
    }));
    let id = enqueue(&store, probe(1)).await;
    log.has("started 1", 1).await;
    assert!(Arc::strong_count(&alive) > 1);
    running.kill().await;
    sleep(secs(1)).await;
    // Neither the handler nor the worker is there any more, the heartbeat included.
    assert_eq!(Arc::strong_count(&alive), 1);
    let beats = store.calls("heartbeat");
    sleep(secs(60)).await;
    assert_eq!(
        (store.calls("heartbeat"), store.calls("settle")),
        (beats, 0)
    );
    assert_eq!(store.view(id).await.unwrap().state, State::Leased);
}

#[tokio::test(start_paused = true)]
async fn a_worker_runs_until_nothing_is_left() {
    let (store, log) = (Store::new(), Log::default());
    let jobs = Jobs::new(store.clone());
    let later = enqueue(&store, probe(0).with(|it| it.with_delay(secs(3600)))).await;
    enqueue(&store, probe(0).with(|it| it.with_delay(secs(2)))).await;
    sleep(secs(2)).await;
    enqueue(&store, probe(30)).await;
    let begun = Instant::now();
    let worker = worker(&store, &log, move |job, _| {
        let jobs = jobs.clone();
        async move {
            sleep(secs(1)).await;
            if job.number > 0 {
                let number = job.number - 1;
                jobs.enqueue(Probe { number }).await?;
            }
            Ok(())
        }
    });
    let emptied = worker.run_until_empty(secs(3600)).await.unwrap();
    assert_eq!((emptied, log.count("done 1")), (Emptied::Empty, 32));
    assert_eq!(begun.elapsed().as_secs(), 31);
    assert_eq!(store.view(later).await.unwrap().state, State::Scheduled);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_to_run_until_empty_ends_at_the_deadline() {
    let (store, log) = (Store::new(), Log::default());
    let id = enqueue(&store, probe(1)).await;
    let begun = Instant::now();
    let worker = worker(&store, &log, |_, _| std::future::pending());
    let emptied = worker.run_until_empty(secs(60)).await.unwrap();
    assert_eq!(
        (emptied, begun.elapsed().as_secs()),
        (Emptied::Deadline, 85)
    );
    assert_eq!(store.view(id).await.unwrap().state, State::Ready);
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_dead_worker_are_run_before_nothing_is_left() {
    let (store, log) = (Store::new(), Log::default());
    let dead = start(worker(&store, &log, |_, _| std::future::pending()));
    enqueue(&store, probe(1)).await;
    log.has("started 1", 1).await;
    dead.kill().await;
    sleep(secs(15)).await;
    let other = worker(&store, &log, |_, _| async { Ok(()) });
    let other = other.with_rescue_interval(secs(3600));
    assert_eq!(
        other.run_until_empty(secs(60)).await.unwrap(),
        Emptied::Empty
    );
    assert_eq!(log.count("done 1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_join_waits_but_not_for_tables() {
    let (store, log) = (Store::new(), Log::default());
    store.fail("join", Fault::Refused, u32::MAX);
    let waits = start(worker(&store, &log, |_, _| async { Ok(()) }));
    store.called("join", 5).await;
    waits.end().await.unwrap();

    store.fail("join", Fault::NoTables, 1);
    let ended = start(worker(&store, &log, |_, _| async { Ok(()) }))
        .run
        .await;
    assert!(matches!(ended.unwrap(), Err(WorkerError::Join(_))));
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_settled_before_the_worker_leaves() {
    let (store, log) = (Store::new(), Log::default());
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let running = start(worker(&store, &log, move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    }));
    store.fail("settle", Fault::Refused, 3);
    let id = enqueue(&store, probe(1)).await;
    store.called("settle", 1).await;
    running.end().await.unwrap();
    assert!(store.view(id).await.is_none());
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_leave_says_so_and_does_not_hang() {
    let (store, log) = (Store::new(), Log::default());
    store.fail("leave", Fault::Refused, 2);
    start(worker(&store, &log, |_, _| async { Ok(()) }))
        .end()
        .await
        .unwrap();

    for fault in [Fault::Refused, Fault::Hangs] {
        store.fail("leave", fault, u32::MAX);
        let running = start(worker(&store, &log, |_, _| async { Ok(()) }));
        store.called("claim", store.calls("claim") + 1).await;
        let begun = Instant::now();
        assert!(matches!(running.end().await, Err(WorkerError::Leave(_))));
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_claimed_ahead_waits_for_a_slot_and_is_ready_again_when_the_worker_ends() {
    let (store, log) = (Store::new(), Log::default());
    let jobs = Jobs::new(store.inner.clone());
    jobs.enqueue_many((0..8).map(probe)).await.unwrap();
    let worker = worker(&store, &log, |_, context: JobContext| async move {
        context.cancelled().await;
        Ok(())
    });
    let worker = worker.with_queue(QueueName::DEFAULT, 2).with_prefetch(4);
    let running = start(worker.with_poll_interval(secs(1)));
    log.has("started 1", 2).await;
    sleep(secs(10)).await;
    let counts = store.inner.counts(None).await.unwrap();
    assert_eq!((counts.ready, counts.leased), (2, 6));
    assert_eq!(log.count("started 1"), 2);

    let ending = running.ask_to_end();
    // Those that have not begun are not asked to wait for those that have.
    log.has("released 1", 4).await;
    let counts = store.inner.counts(None).await.unwrap();
    assert_eq!((counts.ready, counts.leased), (6, 2));
    ending.await.unwrap().unwrap();
    assert_eq!(log.count("started 1"), 2);
    assert_eq!(store.inner.counts(None).await.unwrap().ready, 6);
}

#[tokio::test(start_paused = true)]
async fn claims_ahead_are_made_for_half_of_what_may_wait_or_more() {
    let (store, log) = (Store::new(), Log::default());
    let jobs = Jobs::new(store.inner.clone());
    jobs.enqueue_many((0..100).map(probe)).await.unwrap();
    let before = store.calls("claim");
    let worker = worker(&store, &log, |_, _| async {
        sleep(secs(1)).await;
        Ok(())
    });
    let worker = worker.with_queue(QueueName::DEFAULT, 1).with_prefetch(20);
    let emptied = worker.run_until_empty(secs(1_000)).await.unwrap();
    assert_eq!((emptied, log.count("started 1")), (Emptied::Empty, 100));
    // One for 21, eight for ten each, and looks at the empty queue: not one for each job.
    let claims = store.calls("claim") - before;
    assert!(claims < 40, "{claims}");
}
