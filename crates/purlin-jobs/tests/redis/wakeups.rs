//! How workers hear of jobs.

use std::time::Duration;

use purlin_jobs::store::{Outcome, Rescue, Wake, Wakeups};
use purlin_jobs::{JobAdmin as _, JobStore as _, QueueName, RedisStore};
use purlin_store::redis::driver::cmd;
use purlin_testkit::RedisServer;

use crate::harness::{
    HOUR, MINUTE, Place, claim_of, discard, drain, ends, handle, job, job_with, jobs, until_ok,
    worker,
};

/// Far longer than a test takes: what is heard is heard before that.
const LONG: Duration = MINUTE;
const SHORT: Duration = Duration::from_millis(30);

async fn hears(wakeups: &mut dyn Wakeups) {
    assert_eq!(wakeups.next(LONG).await, Wake::Jobs);
}

async fn hears_nothing(wakeups: &mut dyn Wakeups) {
    assert_eq!(wakeups.next(SHORT).await, Wake::Elapsed);
}

/// In whatever way that comes, and in another process.
#[tokio::test]
async fn what_becomes_ready_is_heard() {
    let Some(place) = Place::create() else {
        return;
    };
    let (store, queue) = (&place.store, QueueName::DEFAULT);
    let other = RedisStore::new(place.redis.apart()).with_key_prefix(place.keys.clone());
    let mut wakeups = other.wakeups(std::slice::from_ref(&queue)).await.unwrap();
    let id = worker(store).await;
    hears_nothing(&mut *wakeups).await;
    let entry = job();
    store.enqueue(std::slice::from_ref(&entry)).await.unwrap();
    hears(&mut *wakeups).await;
    let mut claim = claim_of(id, 1);
    let claimed = store.claim(&claim).await.unwrap();
    hears_nothing(&mut *wakeups).await;
    let _ = store
        .settle(claim.lease, &ends(&claimed, &Outcome::Release))
        .await
        .unwrap();
    hears(&mut *wakeups).await;
    claim = claim_of(id, 1);
    let claimed = store.claim(&claim).await.unwrap();
    let _ = store
        .settle(claim.lease, &ends(&claimed, &discard()))
        .await
        .unwrap();
    hears_nothing(&mut *wakeups).await;
    store.replay(entry.id).await.unwrap();
    hears(&mut *wakeups).await;
    store.claim(&claim_of(id, 1)).await.unwrap();
    store.leave(id).await.unwrap();
    hears(&mut *wakeups).await;

    let id = worker(store).await;
    store.claim(&claim_of(id, 1)).await.unwrap();
    store
        .enqueue(&[job_with(|o| o.with_delay(MINUTE))])
        .await
        .unwrap();
    hears_nothing(&mut *wakeups).await;
    place.clock.advance(MINUTE);
    store.promote(10).await.unwrap();
    hears(&mut *wakeups).await;
    drain(store).await;
    place.clock.advance(48 * HOUR);
    let rescue = Rescue {
        limit: 9,
        max_crashes: 3,
    };
    assert_eq!(store.rescue(&rescue).await.unwrap().ready, 1);
    hears(&mut *wakeups).await;
    store.pause(&queue).await.unwrap();
    hears_nothing(&mut *wakeups).await;
    store.resume(&queue).await.unwrap();
    hears(&mut *wakeups).await;
}

/// Not of other queues, and of what is ready already when he begins to listen.
#[tokio::test]
async fn everybody_hears_of_his_queues() {
    let Some(place) = Place::create() else {
        return;
    };
    let mail = QueueName::new("mail").unwrap();
    let store = &place.store;
    let mut of_mail = store.wakeups(std::slice::from_ref(&mail)).await.unwrap();
    let mut of_default = store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    let mut of_both = store
        .wakeups(&[QueueName::DEFAULT, mail.clone()])
        .await
        .unwrap();
    store.enqueue(&[job()]).await.unwrap();
    hears(&mut *of_default).await;
    hears(&mut *of_both).await;
    hears_nothing(&mut *of_mail).await;
    let mut late = store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    hears(&mut *late).await;
    store
        .enqueue(&[job_with(|o| o.with_queue(mail))])
        .await
        .unwrap();
    hears(&mut *of_mail).await;
    hears(&mut *of_both).await;
    hears_nothing(&mut *of_default).await;
}

/// Whoever waits has seen that nothing is there, so nobody needs to hear of more.
#[tokio::test]
async fn one_entry_tells_of_all_that_is_ready() {
    let Some(place) = Place::create() else {
        return;
    };
    let key = place.keys.part("jobs", "wake");
    let entries = async || -> u64 {
        let command = cmd("XLEN").arg(&key).clone();
        place.redis.query("xlen", &command).await.unwrap()
    };
    for round in 1..=3 {
        for _ in 0..5 {
            place.store.enqueue(&jobs(3)).await.unwrap();
        }
        assert_eq!(entries().await, round);
        drain(&place.store).await;
    }
}

/// And it hears then of what came meanwhile.
#[tokio::test]
async fn a_restarted_redis_is_heard_again() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let mut wakeups = store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    store.enqueue(&jobs(1)).await.unwrap();
    hears(&mut *wakeups).await;
    drain(&store).await;
    for _ in 0..2 {
        server.kill();
        server.restart();
        // To look once is never wrong: what was told meanwhile may be lost.
        hears(&mut *wakeups).await;
        until_ok(async || store.enqueue(&jobs(1)).await).await;
        hears(&mut *wakeups).await;
        drain(&store).await;
    }
    // All is gone, and the stream begins anew.
    server.command(&["FLUSHALL"]);
    store.enqueue(&jobs(1)).await.unwrap();
    hears(&mut *wakeups).await;
}

/// It ends with who waits; calls are not made on it.
#[tokio::test]
async fn who_waits_has_a_connection_of_his_own() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let clients = || {
        let list = server.command(&["CLIENT", "LIST"]);
        list.lines()
            .filter(|client| client.contains("cmd=xread"))
            .count()
    };
    let until = async |expected: usize| {
        let begun = std::time::Instant::now();
        while clients() != expected {
            assert!(begun.elapsed() < MINUTE, "{} wait", clients());
            tokio::task::yield_now().await;
        }
    };
    let store = RedisStore::new(handle(server.url()));
    let mut wakeups = store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    until(1).await;
    let _second = store.wakeups(&[QueueName::DEFAULT]).await.unwrap();
    until(2).await;
    // While both wait for jobs, calls are answered.
    assert_eq!(store.promote(1).await.unwrap().jobs, 0);
    hears_nothing(&mut *wakeups).await;
    drop(wakeups);
    until(1).await;
}
