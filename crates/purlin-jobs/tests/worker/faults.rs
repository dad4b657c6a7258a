use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use purlin_jobs::{Event, Observer};
use tokio::time::sleep;

use crate::common::{Fault, Log, Running, Store, enqueue, probe, secs, start, worker};

/// A worker that counts its runs.
fn counting(store: &Store, log: &Log) -> (Running, Arc<AtomicU32>) {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let running = start(worker(store, log, move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    }));
    (running, runs)
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_for_a_while_neither_lose_a_job_nor_run_it_twice() {
    for call in [
        "join",
        "claim",
        "settle",
        "heartbeat",
        "rescue",
        "promote",
        "wakeups",
    ] {
        for fault in [Fault::Refused, Fault::ReplyLost, Fault::Panics] {
            if (call, fault) == ("join", Fault::Panics) {
                continue; // Before anything runs it is the caller's panic.
            }
            let (store, log) = (Store::new(), Log::default());
            let delayed = probe(1).with(|options| options.with_delay(secs(2)));
            let ids = [
                enqueue(&store, probe(0)).await,
                enqueue(&store, delayed).await,
            ];
            store.fail(call, fault, 3);
            let (running, runs) = counting(&store, &log);
            log.has("done 1", 2).await;
            store.called(call, 4).await;
            sleep(secs(60)).await;
            let told = format!("{call} {fault:?} {:?}", log.entries());
            assert_eq!(runs.load(Ordering::Relaxed), 2, "{told}");
            assert_eq!(
                (log.count("done 1"), log.count("stale 1")),
                (2, 0),
                "{told}"
            );
            for id in ids {
                assert!(store.view(id).await.is_none(), "{told}");
            }
            running.end().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_panics_is_started_again_and_that_is_told() {
    let loops = BTreeMap::from([
        ("claim", "claim default"),
        ("heartbeat", "heartbeat"),
        ("rescue", "rescue"),
        ("promote", "promote"),
    ]);
    let (store, log) = (Store::new(), Log::default());
    let running = start(worker(&store, &log, |_, _| async { Ok(()) }));
    for (call, part) in loops {
        store.fail(call, Fault::Panics, 1);
        log.has(&format!("loop_restarted {part}"), 1).await;
        store.called(call, store.calls(call) + 1).await;
    }
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_is_stuck_makes_the_worker_unhealthy() {
    let rounds = [
        ("claim", "claim default", 1),
        ("settle", "settle", 1),
        ("join", "heartbeat", 5),
        ("rescue", "rescue", 2),
        ("promote", "promote", 5),
    ];
    for (call, part, interval) in rounds {
        let (store, log) = (Store::new(), Log::default());
        let worker = worker(&store, &log, |_, _| async { Ok(()) });
        let handle = worker.handle();
        assert!(!handle.health().is_healthy());
        let running = start(worker);
        for _ in 0..100 {
            sleep(secs(1)).await;
            assert!(handle.health().is_healthy(), "{:?}", handle.health());
        }
        store.fail(call, Fault::Hangs, u32::MAX);
        // What makes it join again.
        store.fail("heartbeat", Fault::TakenAway, u32::from(call == "join"));
        enqueue(&store, probe(1)).await;
        store.called(call, store.calls(call) + 1).await;
        sleep(secs(2 * interval)).await;
        assert!(handle.health().is_healthy(), "{:?}", handle.health());
        sleep(secs(1)).await;
        let health = handle.health();
        let stuck = health.loops.iter().filter(|it| !it.is_healthy());
        assert_eq!(stuck.map(|it| it.name.as_str()).collect::<Vec<_>>(), [part]);
        running.kill().await;
        assert!(!handle.health().is_healthy());
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_store_is_down_is_healthy() {
    let (store, log) = (Store::new(), Log::default());
    let worker = worker(&store, &log, |_, _| async { Ok(()) });
    let handle = worker.handle();
    let running = start(worker);
    store.called("claim", 1).await;
    for call in [
        "join",
        "claim",
        "settle",
        "heartbeat",
        "rescue",
        "promote",
        "wakeups",
    ] {
        store.fail(call, Fault::Refused, u32::MAX);
    }
    for _ in 0..300 {
        sleep(secs(1)).await;
        assert!(handle.health().is_healthy(), "{:?}", handle.health());
    }
    store.heal();
    enqueue(&store, probe(1)).await;
    log.has("done 1", 1).await;
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_not_woken_polls() {
    let (store, log) = (Store::new(), Log::default());
    store.fail("wakeups", Fault::Refused, u32::MAX);
    let running = start(worker(&store, &log, |_, _| async { Ok(()) }));
    store.called("claim", 1).await;
    let begun = tokio::time::Instant::now();
    enqueue(&store, probe(1)).await;
    log.has("done 1", 1).await;
    assert!(begun.elapsed() <= secs(1));
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_is_woken_and_does_not_ask_more_than_it_polls() {
    let (store, log) = (Store::new(), Log::default());
    let running = start(worker(&store, &log, |_, _| async { Ok(()) }));
    store.called("claim", 1).await;
    sleep(std::time::Duration::from_millis(99_500)).await;
    let asked = ["claim", "heartbeat", "rescue", "promote", "settle"].map(|call| store.calls(call));
    // Less than two calls a second.
    assert_eq!(asked, [100, 20, 50, 20, 0]);
    let enqueued = tokio::time::Instant::now();
    enqueue(&store, probe(1)).await;
    log.has("done 1", 1).await;
    assert!(enqueued.elapsed().is_zero());
    running.end().await.unwrap();
}

#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn on_event(&self, _: &Event<'_>) {
        panic!("the observer panics");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_costs_no_job() {
    let (store, log) = (Store::new(), Log::default());
    let id = enqueue(&store, probe(1)).await;
    let worker = worker(&store, &log, |_, _| async { Ok(()) });
    worker
        .with_observer(Panics)
        .run_until_empty(secs(60))
        .await
        .unwrap();
    assert!(store.view(id).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn settlements_are_told_together_when_there_are_many() {
    let (store, log) = (Store::new(), Log::default());
    for number in 0..500 {
        enqueue(&store, probe(number)).await;
    }
    worker(&store, &log, |_, _| async { Ok(()) })
        .with_queue(purlin_jobs::QueueName::DEFAULT, 500)
        .run_until_empty(secs(60))
        .await
        .unwrap();
    assert_eq!(log.count("done 1"), 500);
    assert!(
        store.calls("settle") < 10,
        "{} calls",
        store.calls("settle")
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_settlements_gets_no_end_of_claims() {
    let (store, log) = (Store::new(), Log::default());
    let jobs = purlin_jobs::Jobs::new(store.inner.clone());
    jobs.enqueue_many((0..25_000).map(probe)).await.unwrap();
    store.fail("settle", Fault::Refused, u32::MAX);
    let worker = worker(&store, &log, |_, _| async { Ok(()) });
    let running = start(worker.with_queue(purlin_jobs::QueueName::DEFAULT, 1_000));
    sleep(secs(60)).await;
    // 10 000 that are under way, as many that wait for it, and the slots.
    let begun = log.count("started 1");
    assert!(
        (10_000..=21_000).contains(&begun),
        "{begun} jobs were begun"
    );
    store.heal();
    log.has("done 1", 25_000).await;
    assert_eq!(log.count("started 1"), 25_000);
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_of_another_process_is_run_when_its_time_has_come() {
    for (is_woken, at_latest) in [(true, 1_500), (false, 5_000)] {
        let (store, log) = (Store::new(), Log::default());
        let refused = if is_woken { 0 } else { u32::MAX };
        store.fail("wakeups", Fault::Refused, refused);
        let running = start(worker(&store, &log, |_, _| async { Ok(()) }));
        store.called("promote", 1).await;
        sleep(std::time::Duration::from_millis(250)).await;
        let enqueued = tokio::time::Instant::now();
        let delay = std::time::Duration::from_millis(500);
        enqueue(&store, probe(1).with(|it| it.with_delay(delay))).await;
        log.has("done 1", 1).await;
        let took = enqueued.elapsed().as_millis();
        assert!((500..=at_latest).contains(&took), "{took} ms");
        // The store says when it is due: it is not looked for before.
        let calls = store.calls("promote");
        let delay = secs(4);
        enqueue(&store, probe(2).with(|it| it.with_delay(delay))).await;
        let enqueued = tokio::time::Instant::now();
        log.has("done 1", 2).await;
        let late = enqueued.elapsed().saturating_sub(delay);
        assert!(late <= if is_woken { secs(0) } else { secs(5) }, "{late:?}");
        assert!(store.calls("promote") - calls <= 3);
        running.end().await.unwrap();
    }
}
