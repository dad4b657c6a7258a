use std::time::Duration;

use purlin_jobs::store::{Outcome, Rescue, Wake};
use purlin_jobs::{
    JobAdmin as _, JobStore as _, QueueName, SqliteStore, TransactionalJobStore as _,
};
use purlin_store::sqlite::begin_immediate;

use crate::harness::{
    HOUR, MINUTE, add, claim, discard, id, job, job_with, place, second, settle, worker,
};

/// Far longer than a test takes: what is heard is heard before that.
const LONG: Duration = HOUR;
const SHORT: Duration = Duration::from_millis(30);

/// One that would not hear of anything by looking.
fn deaf(store: &SqliteStore) -> SqliteStore {
    store.clone().with_poll_interval(LONG)
}

#[tokio::test]
async fn what_becomes_ready_in_this_process_is_heard_at_once() {
    let place = place().await;
    let store = &place.store;
    let mut wakeups = deaf(store).wakeups(&[QueueName::DEFAULT]).await.unwrap();

    add(store, job(1)).await;
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
    claim(store, 1, 1).await;
    assert_eq!(wakeups.next(SHORT).await, Wake::Elapsed);
    let _ = settle(store, 1, 1, Outcome::Release).await;
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
    claim(store, 2, 1).await;
    let _ = settle(store, 2, 1, discard()).await;
    assert_eq!(wakeups.next(SHORT).await, Wake::Elapsed);
    store.replay(id(1)).await.unwrap();
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
    claim(store, 3, 1).await;
    store.leave(worker(1)).await.unwrap();
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);

    claim(store, 4, 1).await;
    add(store, job_with(2, |o| o.with_delay(MINUTE))).await;
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
    store.promote(10).await.unwrap();
    assert_eq!(wakeups.next(SHORT).await, Wake::Elapsed);
    place.clock.advance(MINUTE);
    store.promote(10).await.unwrap();
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
    place.clock.advance(HOUR);
    let rescue = Rescue {
        limit: 1,
        max_crashes: 3,
    };
    store.rescue(&rescue).await.unwrap();
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
    store.pause(&QueueName::DEFAULT).await.unwrap();
    assert_eq!(wakeups.next(SHORT).await, Wake::Elapsed);
    store.resume(&QueueName::DEFAULT).await.unwrap();
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
}

#[tokio::test]
async fn what_others_commit_is_found() {
    let place = place().await;
    let queues = [QueueName::DEFAULT];
    let mut wakeups = place.store.wakeups(&queues).await.unwrap();
    assert_eq!(wakeups.next(SHORT).await, Wake::Elapsed);

    let other = second(&place, MINUTE).await;
    add(&other, job(1)).await;
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
    claim(&other, 1, 1).await;
    assert_eq!(wakeups.next(SHORT).await, Wake::Elapsed, "nothing is ready");

    let mut work = begin_immediate(&place.pool).await.unwrap();
    place.store.enqueue_in(&mut work, &[job(2)]).await.unwrap();
    assert_eq!(wakeups.next(SHORT).await, Wake::Elapsed, "not yet");
    work.commit().await.unwrap();
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
}

#[tokio::test]
async fn other_queues_are_not_heard_from_other_processes() {
    let place = place().await;
    let mail = QueueName::new("mail").unwrap();
    let mut wakeups = place
        .store
        .wakeups(std::slice::from_ref(&mail))
        .await
        .unwrap();
    let other = second(&place, MINUTE).await;
    add(&other, job(1)).await;
    assert_eq!(wakeups.next(SHORT).await, Wake::Elapsed);
    add(&other, job_with(2, |o| o.with_queue(mail))).await;
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
}

/// Between `wakeups` and `next`, and while nobody waits.
#[tokio::test]
async fn what_came_before_the_wait_is_heard() {
    let place = place().await;
    let other = second(&place, MINUTE).await;
    let mut wakeups = place.store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    add(&other, job(1)).await;
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
    let mut deaf = deaf(&place.store)
        .wakeups(&[QueueName::DEFAULT])
        .await
        .unwrap();
    add(&place.store, job(2)).await;
    assert_eq!(deaf.next(LONG).await, Wake::Jobs);
}
