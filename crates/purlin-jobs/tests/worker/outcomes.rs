use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use purlin_jobs::store::{Entry, State};
use purlin_jobs::{
    Cancellation, ConfigError, Job, JobAdmin as _, JobContext, JobError, JobId, JobStore as _,
    Jobs, NewJob, Options, PayloadCodec, Worker, WorkerError, handler_fn,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::common::{Log, Probe, Store, bare_worker, enqueue, probe, secs, start, worker};

#[tokio::test(start_paused = true)]
async fn a_job_that_is_done_is_gone() {
    let (store, log) = (Store::new(), Log::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let numbers = Arc::clone(&seen);
    let id = enqueue(&store, probe(7)).await;
    let running = start(worker(&store, &log, move |job, context| {
        numbers
            .lock()
            .unwrap()
            .push((job.number, context.info().id));
        async { Ok(()) }
    }));
    log.has("done 1", 1).await;
    assert_eq!(*seen.lock().unwrap(), [(7, id)]);
    assert!(store.view(id).await.is_none());
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_error_is_tried_again_after_the_back_off_and_the_last_one_is_dead() {
    let (store, log) = (Store::new(), Log::default());
    let id = enqueue(
        &store,
        probe(1).with(|options| options.with_max_attempts(3)),
    )
    .await;
    let starts = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let times = Arc::clone(&starts);
    let running = start(worker(&store, &log, move |_, _| {
        times.lock().unwrap().push(begun.elapsed().as_secs());
        async { Err(std::io::Error::other("no mail server"))? }
    }));
    log.has("retried 1", 1).await;
    let failed = store.view(id).await.unwrap();
    assert_eq!((failed.state, failed.failures), (State::Scheduled, 1));
    assert_eq!(failed.failure.unwrap().error, "no mail server");
    log.has("dead 3", 1).await;
    assert_eq!(*starts.lock().unwrap(), [0, 10, 30]);
    let dead = store.view(id).await.unwrap();
    assert_eq!(
        (dead.state, dead.failures, dead.crashes),
        (State::Dead, 3, 0)
    );
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn handlers_say_when_and_whether_a_job_is_tried_again() {
    let (store, log) = (Store::new(), Log::default());
    let starts = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let times = Arc::clone(&starts);
    let id = enqueue(&store, probe(1)).await;
    let running = start(worker(&store, &log, move |_, _| {
        let mut times = times.lock().unwrap();
        times.push(begun.elapsed().as_secs());
        let error = match times.len() {
            1 => JobError::snooze(secs(100)),
            2 => JobError::retry_after(secs(1000), "busy"),
            _ => JobError::discard("gone"),
        };
        async { Err(error) }
    }));
    log.has("dead 2", 1).await;
    assert_eq!(*starts.lock().unwrap(), [0, 100, 1100]);
    // The snooze was no failure.
    assert_eq!(log.count("snoozed 1"), 1);
    assert_eq!(store.view(id).await.unwrap().failures, 2);
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_has_put_off_itself_is_not_late() {
    let (store, log) = (Store::new(), Log::default());
    let running = start(
        worker(&store, &log, |_, context: JobContext| async move {
            let attempt = context.info().attempt;
            if attempt == 1 {
                Err(JobError::retry_after(secs(7), "later"))
            } else {
                Ok(())
            }
        })
        .with_poll_interval(secs(600)),
    );
    store.called("promote", 1).await;
    enqueue(&store, probe(1)).await;
    let begun = Instant::now();
    log.has("done 2", 1).await;
    assert_eq!(begun.elapsed().as_secs(), 7);
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_cancel_its_job() {
    let (store, log) = (Store::new(), Log::default());
    let id = enqueue(&store, probe(1)).await;
    let running = start(worker(&store, &log, |_, _| async {
        Err(JobError::cancel())
    }));
    log.has("cancelled 1", 1).await;
    assert_eq!(store.view(id).await.unwrap().state, State::Cancelled);
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_the_worker_lives_on() {
    let (store, log) = (Store::new(), Log::default());
    let id = enqueue(&store, probe(1)).await;
    let running = start(worker(&store, &log, |job, _| async move {
        assert!(job.number != 1, "number {}", job.number);
        Ok(())
    }));
    log.has("retried 1", 1).await;
    let failure = store.view(id).await.unwrap().failure.unwrap();
    assert_eq!(failure.error, "panicked: number 1");
    enqueue(&store, probe(2)).await;
    log.has("done 1", 1).await;
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_handler_is_dropped_takes_no_job_with_it() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let (store, log) = (Store::new(), Log::default());
    let id = enqueue(
        &store,
        probe(1).with(|options| options.with_timeout(secs(3))),
    )
    .await;
    let running = start(worker(&store, &log, |_, _| async {
        let _panics = PanicsWhenDropped;
        std::future::pending().await
    }));
    log.has("retried 1", 1).await;
    let failure = store.view(id).await.unwrap().failure.unwrap();
    assert_eq!(failure.error, "not done within 3s");
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_fails() {
    let (store, log) = (Store::new(), Log::default());
    let begun = Instant::now();
    enqueue(
        &store,
        probe(1).with(|options| options.with_timeout(secs(90))),
    )
    .await;
    let reason = Arc::new(Mutex::new(None));
    let told = Arc::clone(&reason);
    let running = start(worker(&store, &log, move |_, context: JobContext| {
        let told = Arc::clone(&told);
        // What the handler has started elsewhere hears of it.
        tokio::spawn(async move { *told.lock().unwrap() = Some(context.cancelled().await) });
        std::future::pending()
    }));
    log.has("retried 1", 1).await;
    assert_eq!(begun.elapsed().as_secs(), 90);
    assert_eq!(*reason.lock().unwrap(), Some(Cancellation::TimedOut));
    running.end().await.unwrap();
}

fn entry(kind: &str, version: u16, payload: &str) -> Entry {
    Entry {
        id: JobId::new(),
        kind: kind.to_owned(),
        version,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        traceparent: None,
        options: Options::new(),
        parents: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_does_not_parse_is_a_failure_that_does_not_quote_it() {
    let (store, log) = (Store::new(), Log::default());
    let bad = entry("probe", 1, r#"{"number": "4111-1111"}"#);
    store
        .inner
        .enqueue(std::slice::from_ref(&bad))
        .await
        .unwrap();
    let running = start(worker(&store, &log, |_, _| async { Ok(()) }));
    log.has("retried 1", 1).await;
    let failed = store.view(bad.id).await.unwrap();
    assert_eq!((failed.state, failed.failures), (State::Scheduled, 1));
    let error = failed.failure.unwrap().error;
    assert!(error.starts_with("the payload, of version 1, is no probe: Data error at line 1"));
    assert!(!error.contains("4111"), "{error}");
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_alias_is_known_and_an_unknown_kind_is_left_alone() {
    let (store, log) = (Store::new(), Log::default());
    let [old, unknown] = ["old_probe", "other"].map(|kind| entry(kind, 1, r#"{"number": 1}"#));
    store
        .inner
        .enqueue(&[unknown.clone(), old.clone()])
        .await
        .unwrap();
    worker(&store, &log, |_, _| async { Ok(()) })
        .run_until_empty(secs(60))
        .await
        .unwrap();
    assert!(store.view(old.id).await.is_none());
    let unknown = store.view(unknown.id).await.unwrap();
    assert_eq!((unknown.state, unknown.failures), (State::Ready, 0));
}

#[derive(Serialize, Deserialize)]
struct Price {
    cents: u64,
}

impl Job for Price {
    const KIND: &'static str = "price";
    const VERSION: u16 = 2;

    fn upcast(from: u16, payload: Value) -> Result<Self, serde_json::Error> {
        assert_eq!(from, 1);
        let euros: u64 = serde_json::from_value(payload["euros"].clone())?;
        Ok(Self { cents: 100 * euros })
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_of_another_version_is_upcast() {
    let (store, log) = (Store::new(), Log::default());
    let old = entry("price", 1, r#"{"euros": 3}"#);
    store.inner.enqueue(&[old]).await.unwrap();
    enqueue(&store, Price { cents: 5 }).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let cents = Arc::clone(&seen);
    bare_worker(&store, &log)
        .register(handler_fn(move |job: Price, _| {
            cents.lock().unwrap().push(job.cents);
            async { Ok(()) }
        }))
        .run_until_empty(secs(60))
        .await
        .unwrap();
    seen.lock().unwrap().sort_unstable();
    assert_eq!(*seen.lock().unwrap(), [5, 300]);
}

/// Turns each bit over, and does not know what does not begin with a mark.
struct Upside;

impl PayloadCodec for Upside {
    fn encode(&self, _: &str, _: JobId, payload: Bytes) -> Bytes {
        let turned = payload.iter().map(|byte| !byte);
        std::iter::once(b'!').chain(turned).collect()
    }

    fn decode(
        &self,
        _: &str,
        _: JobId,
        stored: Bytes,
    ) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
        let turned = stored.strip_prefix(b"!").ok_or("no mark")?;
        assert!(!turned.is_empty(), "nothing to turn");
        Ok(turned.iter().map(|byte| !byte).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn payloads_pass_the_codec_and_what_it_does_not_know_is_a_failure() {
    let (store, log) = (Store::new(), Log::default());
    let jobs = Jobs::new(store.clone()).with_codec(Upside);
    jobs.enqueue(Probe { number: 5 }).await.unwrap();
    let unmarked = enqueue(&store, probe(6)).await;
    let empty = entry("probe", 1, "!");
    store
        .inner
        .enqueue(std::slice::from_ref(&empty))
        .await
        .unwrap();
    let worker = worker(&store, &log, |job, _| async move {
        assert_eq!(job.number, 5);
        Ok(())
    });
    worker
        .with_codec(Upside)
        .run_until_empty(secs(5))
        .await
        .unwrap();
    assert_eq!((log.count("done 1"), log.count("retried 1")), (1, 2));
    let error = async |id| store.view(id).await.unwrap().failure.unwrap().error;
    assert_eq!(error(unmarked).await, "no mark");
    assert_eq!(error(empty.id).await, "panicked: nothing to turn");
}

#[tokio::test(start_paused = true)]
async fn an_error_is_kept_with_its_causes_and_not_longer_than_4_kib() {
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(String, #[source] std::io::Error);

    let (store, log) = (Store::new(), Log::default());
    let ids = [
        enqueue(&store, probe(1)).await,
        enqueue(&store, probe(2)).await,
    ];
    worker(&store, &log, |job, _| async move {
        let text = if job.number == 1 {
            "not sent\0".to_owned()
        } else {
            "é".repeat(4000)
        };
        Err(Outer(text, std::io::Error::other("refused")))?
    })
    .run_until_empty(secs(5))
    .await
    .unwrap();
    let error = async |id| store.view(id).await.unwrap().failure.unwrap().error;
    assert_eq!(error(ids[0]).await, "not sent\u{fffd}: refused");
    assert_eq!(error(ids[1]).await, "é".repeat(2048));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_hears_of_it_and_is_dropped_after_the_grace() {
    let (store, log) = (Store::new(), Log::default());
    let heard = Arc::new(AtomicU32::new(0));
    let hears = Arc::clone(&heard);
    let running = start(worker(&store, &log, move |job, context: JobContext| {
        let hears = Arc::clone(&hears);
        async move {
            let reason = context.cancelled().await;
            assert_eq!(reason, Cancellation::Requested);
            assert_eq!(context.cancellation(), Some(reason));
            hears.fetch_add(1, Ordering::Relaxed);
            match job.number {
                1 => Ok(()),
                2 => Err(JobError::retry("stopped halfway")),
                _ => std::future::pending().await,
            }
        }
    }));
    let mut ids = Vec::new();
    for number in 1..=3 {
        ids.push(enqueue(&store, probe(number)).await);
    }
    log.has("started 1", 3).await;
    for id in &ids {
        assert!(store.inner.cancel(*id).await.unwrap());
    }
    log.has("cancelled 1", 2).await;
    assert_eq!(heard.load(Ordering::Relaxed), 3);
    // The first one was done before it was dropped.
    assert!(store.view(ids[0]).await.is_none());
    for id in &ids[1..] {
        let cancelled = store.view(*id).await.unwrap();
        assert_eq!((cancelled.state, cancelled.failures), (State::Cancelled, 0));
    }
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_knows_what_it_is() {
    let (store, log) = (Store::new(), Log::default());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let job: NewJob = probe(1).with_traceparent(parent);
    let id = enqueue(&store, job).await;
    let infos = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&infos);
    let running = start(worker(&store, &log, move |_, context: JobContext| {
        let info = context.info().clone();
        let is_first = info.attempt == 1;
        sink.lock().unwrap().push(info);
        async move {
            if is_first {
                Err(JobError::retry("once more"))
            } else {
                Ok(())
            }
        }
    }));
    log.has("done 2", 1).await;
    let infos = infos.lock().unwrap().clone();
    assert_eq!([infos[0].attempt, infos[1].attempt], [1, 2]);
    let info = &infos[0];
    assert_eq!(
        (info.id, info.kind.as_str(), info.version),
        (id, "probe", 1)
    );
    assert_eq!(
        (info.queue.as_str(), info.max_attempts, info.crashes),
        ("default", 20, 0)
    );
    assert_eq!(info.traceparent.as_deref(), Some(parent));
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn slots_bound_how_many_jobs_of_a_queue_run() {
    let (store, log) = (Store::new(), Log::default());
    let now = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    for number in 0..20 {
        enqueue(&store, probe(number)).await;
    }
    let (running, highest) = (Arc::clone(&now), Arc::clone(&most));
    worker(&store, &log, move |_, _| {
        let (running, highest) = (Arc::clone(&running), Arc::clone(&highest));
        async move {
            highest.fetch_max(
                running.fetch_add(1, Ordering::Relaxed) + 1,
                Ordering::Relaxed,
            );
            tokio::time::sleep(secs(1)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        }
    })
    .with_queue(purlin_jobs::QueueName::DEFAULT, 3)
    .run_until_empty(secs(60))
    .await
    .unwrap();
    assert_eq!((log.count("done 1"), most.load(Ordering::Relaxed)), (20, 3));
}

#[tokio::test(start_paused = true)]
async fn two_handlers_of_one_kind_are_refused() {
    struct Impostor;
    impl Serialize for Impostor {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }
    impl<'de> Deserialize<'de> for Impostor {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    impl Job for Impostor {
        const KIND: &'static str = "old_probe";
    }
    let worker = Worker::new(Store::new())
        .register(handler_fn(|_: Probe, _| async { Ok(()) }))
        .register(handler_fn(|_: Impostor, _| async { Ok(()) }));
    let error = worker.run_until(std::future::pending::<()>()).await;
    assert!(matches!(
        error,
        Err(WorkerError::Config(ConfigError::TwoHandlers("old_probe")))
    ));
}

#[tokio::test(start_paused = true)]
async fn jobs_that_are_done_while_others_run_are_settled_together() {
    let (store, log) = (Store::new(), Log::default());
    for number in 1..=20 {
        enqueue(&store, probe(number)).await;
    }
    let worker = worker(&store, &log, |job, _| async move {
        tokio::time::sleep(Duration::from_millis(job.number.into())).await;
        Ok(())
    });
    let running = start(worker.with_queue(purlin_jobs::QueueName::DEFAULT, 20));
    log.has("done 1", 20).await;
    let calls = store.calls("settle");
    assert!(calls <= 10, "{calls} calls");
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_done_while_nothing_else_runs_is_settled_at_once() {
    let (store, log) = (Store::new(), Log::default());
    enqueue(&store, probe(1)).await;
    let begun = Instant::now();
    let running = start(worker(&store, &log, |_, _| async { Ok(()) }));
    log.has("done 1", 1).await;
    assert!(begun.elapsed().is_zero());
    running.end().await.unwrap();
}
