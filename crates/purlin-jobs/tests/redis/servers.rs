//! Which servers the store works on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use purlin_jobs::{
    Job, JobAdmin as _, JobContext, JobError, Jobs, NewJob, QueueName, RedisStore, Worker,
    handler_fn,
};
use purlin_store::StoreErrorKind;
use purlin_testkit::RedisServer;
use serde::{Deserialize, Serialize};

use crate::harness::{MINUTE, Place, handle};

#[tokio::test]
async fn a_server_that_evicts_is_refused() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    store.check().await.unwrap();
    for policy in [
        "allkeys-lru",
        "allkeys-random",
        "volatile-lru",
        "volatile-ttl",
    ] {
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]);
        let error = store.check().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Refused);
        assert_eq!((error.store(), error.operation()), ("redis", Some("check")));
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("noeviction") && why.contains(policy), "{why}");
    }
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    store.check().await.unwrap();
}

#[derive(Debug, Serialize, Deserialize)]
struct Count;

impl Job for Count {
    const KIND: &'static str = "count";
}

/// With the threads and connections that a worker has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_works() {
    let Some(place) = Place::create() else {
        return;
    };
    let store = RedisStore::new(place.redis.clone()).with_key_prefix(place.keys.clone());
    let jobs: Vec<NewJob> = (0..300).map(|_| Count.into()).collect();
    Jobs::new(store.clone()).enqueue_many(jobs).await.unwrap();
    let (ran, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let handler = {
        let (ran, failed) = (Arc::clone(&ran), Arc::clone(&failed));
        handler_fn(move |_: Count, context: JobContext| {
            let (ran, failed) = (Arc::clone(&ran), Arc::clone(&failed));
            async move {
                let fails = ran.fetch_add(1, Ordering::SeqCst) < 3;
                if fails && context.info().attempt == 1 {
                    failed.fetch_add(1, Ordering::SeqCst);
                    return Err(JobError::snooze(Duration::from_millis(1)));
                }
                Ok(())
            }
        })
    };
    let worker = Worker::new(store.clone())
        .register(handler)
        .with_queue(QueueName::DEFAULT, 50);
    worker.run_until_empty(MINUTE).await.unwrap();
    assert_eq!(failed.load(Ordering::SeqCst), 3);
    assert_eq!(ran.load(Ordering::SeqCst), 303);
    assert_eq!(store.counts(None).await.unwrap(), Default::default());
}
