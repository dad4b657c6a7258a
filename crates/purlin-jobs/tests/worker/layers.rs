use std::sync::Arc;

use purlin_jobs::store::State;
use purlin_jobs::{Job, JobContext, JobError, JobId, handler_fn};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tower::load_shed::error::Overloaded;
use tower::{BoxError, ServiceBuilder};

use crate::common::{Log, Probe, Store, bare_worker, enqueue, probe, secs, start};

/// Enqueues so many and waits until they are leased.
async fn leased<const N: usize>(store: &Store) -> [JobId; N] {
    let mut ids = [JobId::new(); N];
    for id in &mut ids {
        *id = enqueue(store, probe(1)).await;
    }
    sleep(secs(1)).await;
    ids
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_holds_jobs_back_and_a_shutdown_releases_them_at_once() {
    let (store, log) = (Store::new(), Log::default());
    let go_on = Arc::new(Notify::new());
    let waits = Arc::clone(&go_on);
    let service = ServiceBuilder::new()
        .concurrency_limit(2)
        .service(handler_fn(move |_: Probe, _| {
            let waits = Arc::clone(&waits);
            async move {
                waits.notified().await;
                Ok(())
            }
        }));
    let running = start(bare_worker(&store, &log).register_service::<Probe, _>(service));
    let ids = leased::<4>(&store).await;
    assert_eq!(log.count("started 1"), 2);
    go_on.notify_one();
    log.has("started 1", 3).await;
    let begun = Instant::now();
    let ending = running.ask_to_end();
    log.has("released 1", 1).await;
    assert!(begun.elapsed().is_zero());
    go_on.notify_waiters();
    ending.await.unwrap().unwrap();
    assert_eq!((log.count("started 1"), log.count("done 1")), (3, 3));
    let released = store.view(ids[3]).await.unwrap();
    assert_eq!((released.state, released.failures), (State::Ready, 0));
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_job_waits_for_its_service_is_not_part_of_its_timeout() {
    let (store, log) = (Store::new(), Log::default());
    let service = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(handler_fn(|_: Probe, _| async {
            sleep(secs(8)).await;
            Ok(())
        }));
    for _ in 0..3 {
        enqueue(
            &store,
            probe(1).with(|options| options.with_timeout(secs(10))),
        )
        .await;
    }
    let worker = bare_worker(&store, &log).register_service::<Probe, _>(service);
    worker.run_until_empty(secs(600)).await.unwrap();
    assert_eq!(log.count("done 1"), 3);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_layer_is_a_failure() {
    let (store, log) = (Store::new(), Log::default());
    let never = |_: Probe, _: JobContext| std::future::pending();
    let service = ServiceBuilder::new()
        .timeout(secs(3))
        .service(handler_fn(never));
    let id = enqueue(&store, probe(1)).await;
    let running = start(bare_worker(&store, &log).register_service::<Probe, _>(service));
    log.has("retried 1", 1).await;
    let failure = store.view(id).await.unwrap().failure.unwrap();
    assert_eq!(failure.error, "request timed out");
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_says_comes_through_layers_that_box_errors() {
    let (store, log) = (Store::new(), Log::default());
    let hopeless = |_: Probe, _: JobContext| async { Err(JobError::discard("hopeless")) };
    let service = ServiceBuilder::new()
        .load_shed()
        .timeout(secs(3))
        .service(handler_fn(hopeless));
    let id = enqueue(&store, probe(1)).await;
    let running = start(bare_worker(&store, &log).register_service::<Probe, _>(service));
    log.has("dead 1", 1).await;
    assert_eq!(
        store.view(id).await.unwrap().failure.unwrap().error,
        "hopeless"
    );
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_sheds_load_can_snooze_the_job() {
    let (store, log) = (Store::new(), Log::default());
    let service = ServiceBuilder::new()
        .map_err(|error: BoxError| {
            if error.is::<Overloaded>() {
                JobError::snooze(secs(30))
            } else {
                JobError::from_boxed(error)
            }
        })
        .load_shed()
        .concurrency_limit(1)
        .service(handler_fn(|_: Probe, _| async {
            sleep(secs(10)).await;
            Ok(())
        }));
    let running = start(bare_worker(&store, &log).register_service::<Probe, _>(service));
    leased::<2>(&store).await;
    assert_eq!(log.count("snoozed 1"), 1);
    log.has("done 1", 2).await;
    assert_eq!(log.count("snoozed 1"), 1);
    running.end().await.unwrap();
}

#[derive(Clone)]
struct NeverReady;

impl tower::Service<purlin_jobs::JobRequest> for NeverReady {
    type Response = ();
    type Error = BoxError;
    type Future = std::future::Ready<Result<(), BoxError>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Err("broken for good".into()))
    }

    fn call(&mut self, _: purlin_jobs::JobRequest) -> Self::Future {
        unreachable!("it was never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_get_ready_fails_the_job() {
    let (store, log) = (Store::new(), Log::default());
    let id = enqueue(&store, probe(1)).await;
    let running = start(bare_worker(&store, &log).register_service::<Probe, _>(NeverReady));
    log.has("retried 1", 1).await;
    assert_eq!(
        store.view(id).await.unwrap().failure.unwrap().error,
        "broken for good"
    );
    running.end().await.unwrap();
}

#[test]
fn the_name_of_a_handler_in_traces_is_its_kind() {
    let handler = handler_fn(|_: Probe, _| async { Ok(()) });
    assert_eq!(
        format!("{handler:?}"),
        format!("HandlerFn({:?})", Probe::KIND)
    );
}
