use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};

use purlin_jobs::store::{Enqueued, State, Tally};
use purlin_jobs::{
    Batch, Chain, Emptied, EnqueueError, Flow, FlowError, JobContext, JobError, JobId, JobStore,
    Jobs, NewJob, Workflow,
};
use tokio::time::sleep;

use crate::common::{Fault, Log, Probe, Store, probe, secs, start, worker};

/// The numbers of the jobs that were begun, each with what it was told of its parents.
type Begun = Arc<Mutex<Vec<(u32, Tally)>>>;

fn recorder<F>(
    begun: &Begun,
    ends: F,
) -> impl Fn(Probe, JobContext) -> Ready<Result<(), JobError>> + Clone + Send + Sync + use<F>
where
    F: Fn(&Probe) -> Result<(), JobError> + Clone + Send + Sync + 'static,
{
    let begun = Arc::clone(begun);
    move |job: Probe, context: JobContext| {
        begun
            .lock()
            .expect("it does not panic")
            .push((job.number, context.info().parents));
        ready(ends(&job))
    }
}

async fn enqueue_flow(store: &Store, flow: impl Into<Flow>) -> Vec<JobId> {
    let enqueued = Jobs::new(store.inner.clone())
        .enqueue_flow(flow)
        .await
        .expect("it does not panic");
    let is_new = |enqueued: &Enqueued| matches!(enqueued, Enqueued::New(_));
    assert!(enqueued.iter().all(is_new));
    enqueued.iter().map(Enqueued::id).collect()
}

fn numbers(begun: &Begun) -> Vec<u32> {
    begun
        .lock()
        .expect("it does not panic")
        .iter()
        .map(|(number, _)| *number)
        .collect()
}

fn done(count: u32) -> Tally {
    Tally::new(count, 0, 0)
}

#[tokio::test(start_paused = true)]
async fn a_chain_runs_in_its_order_through_failures_and_delays() {
    let (store, log, begun) = (Store::new(), Log::default(), Begun::default());
    let later = probe(2).with(|options| options.with_delay(secs(100)));
    enqueue_flow(&store, Chain::new(probe(1)).then(later).then(probe(3))).await;
    let failed = Arc::new(Mutex::new(false));
    let running = start(worker(
        &store,
        &log,
        recorder(&begun, move |job| {
            let is_first =
                job.number == 1 && !std::mem::replace(&mut *failed.lock().unwrap(), true);
            if is_first {
                Err(JobError::retry("not yet"))
            } else {
                Ok(())
            }
        }),
    ));
    let clock = tokio::time::Instant::now();
    log.has("done 1", 2).await;
    // The back-off of the first, and from then on the delay of the second.
    let waited = clock.elapsed().as_secs();
    assert!((110..115).contains(&waited), "{waited}");
    running.end().await.unwrap();
    assert_eq!(numbers(&begun), [1, 1, 2, 3]);
}

/// And the worker does not come to its end before, though the queue is empty between two steps.
#[tokio::test(start_paused = true)]
async fn a_worker_runs_until_the_whole_flow_is_done() {
    let (store, log, begun) = (Store::new(), Log::default(), Begun::default());
    let chain = (2..50).fold(Chain::new(probe(1)), |chain, n| chain.then(probe(n)));
    enqueue_flow(&store, chain).await;
    let worker = worker(&store, &log, recorder(&begun, |_| Ok(())));
    let emptied = worker.run_until_empty(secs(3_600)).await.unwrap();
    assert_eq!(emptied, Emptied::Empty);
    assert_eq!(numbers(&begun), (1..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_batch_calls_back_once_with_how_its_jobs_have_ended() {
    let (store, log, begun) = (Store::new(), Log::default(), Begun::default());
    let batch = Batch::new((0..20).map(probe))
        .on_done(probe(100))
        .on_success(probe(200));
    let ids = enqueue_flow(&store, batch).await;
    // The answer to some settlements is lost, and they are made again.
    store.fail("settle", Fault::ReplyLost, 3);
    let running = start(worker(
        &store,
        &log,
        recorder(&begun, |job| match job.number {
            0..5 => Err(JobError::discard("no")),
            5..7 => Err(JobError::cancel()),
            _ => Ok(()),
        }),
    ));
    log.has("done 1", 14).await;
    sleep(secs(60)).await;
    let told: Vec<_> = begun
        .lock()
        .unwrap()
        .iter()
        .copied()
        .filter(|it| it.0 >= 100)
        .collect();
    assert_eq!(told, [(100, Tally::new(13, 5, 2))]);
    assert_eq!(store.view(ids[21]).await.unwrap().state, State::Cancelled);
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_jobs_calls_back_at_once() {
    let (store, log, begun) = (Store::new(), Log::default(), Begun::default());
    let none: [NewJob; 0] = [];
    enqueue_flow(
        &store,
        Batch::new(none).on_done(probe(1)).on_success(probe(2)),
    )
    .await;
    let worker = worker(&store, &log, recorder(&begun, |_| Ok(())));
    worker.run_until_empty(secs(60)).await.unwrap();
    let mut begun = numbers(&begun);
    begun.sort_unstable();
    assert_eq!(begun, [1, 2]);
}

/// Steps may be named in any order. The answers come in the order in which they were given.
#[tokio::test(start_paused = true)]
async fn a_workflow_runs_each_step_after_its_parents() {
    let (store, log, begun) = (Store::new(), Log::default(), Begun::default());
    let steps = [4, 3, 2, 1].map(probe);
    let given = steps.each_ref().map(NewJob::id);
    let [last, right, left, first] = steps;
    let workflow = Workflow::new()
        .finally("last", last, ["left", "right", "left"])
        .step("right", right, ["first"])
        .step("left", left, ["first"])
        .step("first", first, []);
    assert_eq!(enqueue_flow(&store, workflow).await, given);
    let worker = worker(
        &store,
        &log,
        recorder(&begun, |job| match job.number {
            3 => Err(JobError::discard("no")),
            _ => Ok(()),
        }),
    );
    worker.run_until_empty(secs(60)).await.unwrap();
    let mut begun = begun.lock().unwrap().clone();
    begun[1..3].sort_unstable_by_key(|(number, _)| *number);
    let last = (4, Tally::new(1, 1, 0));
    assert_eq!(begun, [(1, done(0)), (2, done(1)), (3, done(1)), last]);
}

#[tokio::test]
async fn steps_that_do_not_fit_together_are_refused() {
    let jobs = Jobs::new(Store::new().inner);
    let step = |step: &str| step.to_owned();
    let cases = [
        (
            Workflow::new()
                .step("a", probe(1), [])
                .step("a", probe(2), []),
            FlowError::RepeatedStep { step: step("a") },
            "two steps of the workflow are named `a`",
        ),
        (
            Workflow::new().step("a", probe(1), ["b"]),
            FlowError::UnknownStep {
                step: step("a"),
                parent: step("b"),
            },
            "the step `a` waits for `b`, which is no step of the workflow",
        ),
        (
            Workflow::new().step("a", probe(1), ["a"]),
            FlowError::Cycle { step: step("a") },
            "the step `a` waits for itself",
        ),
        (
            // The first only waits for those that go round.
            Workflow::new()
                .step("x", probe(0), ["c"])
                .step("a", probe(1), ["c", "z"])
                .step("b", probe(2), ["a"])
                .finally("c", probe(3), ["b"])
                .step("z", probe(4), []),
            FlowError::Cycle { step: step("c") },
            "the step `c` waits for itself",
        ),
    ];
    for (workflow, expected, text) in cases {
        let error = jobs.enqueue_flow(workflow).await.unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(matches!(error, EnqueueError::Flow(error) if error == expected));
    }
}

#[tokio::test]
async fn a_store_without_flows_is_named() {
    let store = Store::new().without_flows();
    let error = Jobs::new(store.clone())
        .enqueue_flow(Chain::new(probe(1)))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the {} store carries no flows", store.name())
    );
    assert_eq!(store.calls("enqueue"), 0);
}
