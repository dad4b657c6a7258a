//! Through PgBouncer in transaction mode, with two sessions for everybody.

use purlin_jobs::store::{JobAdmin as _, Settled, Wake};
use purlin_jobs::{JobStore as _, PostgresStore, QueueName, Unique};
use purlin_store::postgres::{Pooling, PostgresConfig};
use purlin_testkit::{PgBouncer, PostgresServer};

use crate::harness::{MINUTE, claim, done, job, job_with, use_it, worker};

/// More clients than sessions, so that each call meets another session than the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_works_whatever_session_it_meets() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let Some(bouncer) = PgBouncer::start(&server) else {
        return;
    };
    let pool = PostgresConfig::new(&bouncer.url())
        .unwrap()
        .with_pooling(Pooling::Transaction)
        .with_max_connections(20)
        .with_acquire_timeout(MINUTE)
        .connect()
        .await
        .unwrap();
    let clock = crate::harness::clock();
    let store = PostgresStore::new(pool.clone())
        .with_pooling(Pooling::Transaction)
        .with_clock(clock.clone());
    store.migrate().await.unwrap();
    use_it(&store, &pool, Some(&clock)).await;
    let left = store.counts(None).await.unwrap().ready;

    let tasks: Vec<_> = (0..12)
        .map(|client: u8| {
            let store = store.clone();
            tokio::spawn(async move {
                let own = worker(&store).await;
                for round in 0..10_u8 {
                    let key = Unique::until_done([client, round]);
                    let unique = job_with(|options| options.with_unique(key));
                    store.enqueue(&[job(), unique]).await.unwrap();
                    let (lease, claimed) = claim(&store, own, 2).await;
                    let ids: Vec<_> = claimed.iter().map(|job| job.id).collect();
                    let settled = store.settle(lease, &done(ids.clone())).await.unwrap();
                    assert_eq!(settled, vec![Settled::Applied; ids.len()]);
                }
                store.leave(own).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let own = worker(&store).await;
    let (lease, claimed) = claim(&store, own, 1_000).await;
    let settled = store
        .settle(lease, &done(claimed.iter().map(|job| job.id)))
        .await
        .unwrap();
    assert_eq!(settled.len(), claimed.len());
    let counts = store.counts(None).await.unwrap();
    assert_eq!(
        (counts.ready, counts.leased),
        (0, 0),
        "{left} were there before"
    );

    // Nobody can listen there.
    let mut wakeups = store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    store.enqueue(&[job()]).await.unwrap();
    let wake = wakeups.next(std::time::Duration::from_millis(1)).await;
    assert_eq!(wake, Wake::Elapsed);
}
