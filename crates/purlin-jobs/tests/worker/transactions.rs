use purlin_jobs::store::{Settled, State};
use purlin_jobs::{JobContext, JobError};
use tokio::time::sleep;

use crate::common::{Fault, Log, Store, Transaction, enqueue, probe, secs, start, worker};

#[tokio::test(start_paused = true)]
async fn a_job_that_was_completed_in_a_transaction_is_done() {
    for says in [Ok(()), Err(())] {
        let (store, log) = (Store::new(), Log::default());
        let inside = store.clone();
        let running = start(worker(&store, &log, move |_, context: JobContext| {
            let store = inside.clone();
            async move {
                let mut transaction = Transaction::Committed;
                let settled = context.complete_in(&store, &mut transaction).await?;
                assert_eq!(settled, Settled::Applied);
                says.map_err(|()| JobError::retry("after the commit"))
            }
        }));
        let id = enqueue(&store, probe(1)).await;
        log.has("done 1", 1).await;
        sleep(secs(60)).await;
        assert!(store.view(id).await.is_none());
        assert_eq!(log.entries(), ["started 1", "done 1"]);
        running.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_transaction_was_rolled_back_is_tried_again() {
    let (store, log) = (Store::new(), Log::default());
    let inside = store.clone();
    let id = enqueue(&store, probe(1)).await;
    let running = start(worker(&store, &log, move |_, context: JobContext| {
        let store = inside.clone();
        async move {
            let mut transaction = match context.info().attempt {
                1 => Transaction::RolledBack,
                _ => Transaction::Committed,
            };
            context.complete_in(&store, &mut transaction).await?;
            Ok(())
        }
    }));
    log.has("retried 1", 1).await;
    let failed = store.view(id).await.unwrap();
    assert_eq!((failed.state, failed.failures), (State::Scheduled, 1));
    let error = "the transaction that completes the job was not committed";
    assert_eq!(failed.failure.unwrap().error, error);
    log.has("done 2", 1).await;
    assert!(store.view(id).await.is_none());
    running.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_lease_is_gone_cannot_complete() {
    let (store, log) = (Store::new(), Log::default());
    let inside = store.clone();
    let running = start(worker(&store, &log, move |_, context: JobContext| {
        let store = inside.clone();
        async move {
            let mut transaction = Transaction::Committed;
            let first = context.complete_in(&store, &mut transaction).await?;
            let again = context.complete_in(&store, &mut transaction).await?;
            assert_eq!((first, again), (Settled::Applied, Settled::Stale));
            Ok(())
        }
    }));
    store.fail("settle", Fault::ReplyLost, 1);
    enqueue(&store, probe(1)).await;
    log.has("done 1", 1).await;
    assert_eq!(log.count("retried 1"), 0);
    running.end().await.unwrap();
}
