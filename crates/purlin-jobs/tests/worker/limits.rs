//! Groups and queues with rates.

use std::time::Duration;

use purlin_jobs::{EnqueueError, Group, Jobs, LimitStore as _, NewJob, QueueName, Rate};
use purlin_store::StoreErrorKind;
use tokio::time::Instant;

use crate::common::{Log, Store, enqueue, probe, secs, start, worker};

const JOBS: u32 = 11;

/// Five in a second, never two at once: shorter than the time between two polls.
fn rate() -> Rate {
    Rate::new(5, secs(1)).with_burst(1)
}

fn of_group(number: u32, group: Group) -> NewJob {
    probe(number).with(|options| options.with_group(group))
}

/// And asks the store no more often than there is something to hear.
async fn takes_two_seconds(store: &Store, log: &Log) {
    let begun = Instant::now();
    let running = start(worker(store, log, |_, _| async { Ok(()) }));
    log.has("done 1", JOBS as usize).await;
    let took = begun.elapsed();
    assert!(
        took >= secs(2) && took < Duration::from_millis(2_100),
        "{took:?}"
    );
    let calls = ["promote", "claim"].map(|call| store.calls(call));
    assert!(calls.iter().all(|calls| *calls <= 6 * JOBS), "{calls:?}");
    running.end().await.expect("it ends well");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_worked_at_its_rate() {
    let (store, log) = (Store::new(), Log::default());
    for number in 0..JOBS {
        let group = Group::new("tenant").with_rate(rate());
        enqueue(&store, of_group(number, group)).await;
    }
    takes_two_seconds(&store, &log).await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_worked_at_its_rate() {
    let (store, log) = (Store::new(), Log::default());
    let limit = store.inner.limit_queue(&QueueName::DEFAULT, Some(rate()));
    limit.await.unwrap();
    for number in 0..JOBS {
        enqueue(&store, probe(number)).await;
    }
    takes_two_seconds(&store, &log).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_with_a_group_is_refused_where_it_would_have_none() {
    let mut store = Store::new();
    store.keeps_groups = false;
    let jobs = Jobs::new(store.clone());
    let refused = jobs.enqueue(of_group(1, Group::new("tenant"))).await;
    let Err(EnqueueError::Store(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (error.kind(), error.store()),
        (StoreErrorKind::Refused, "faulty")
    );
    assert_eq!(store.calls("enqueue"), 0);
    let jobs = Jobs::new(Store::new());
    for name in [String::new(), "x".repeat(129), "a\0b".to_owned()] {
        let refused = jobs.enqueue(of_group(1, Group::new(name))).await;
        assert!(matches!(refused, Err(EnqueueError::Group)), "{refused:?}");
    }
}
