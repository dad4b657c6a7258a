//! A cluster of three masters.

use std::time::Duration;

use purlin_jobs::store::{Enqueued, Filter, Outcome, Page, Rescue, State, Wake};
use purlin_jobs::{JobAdmin as _, JobStore as _, QueueName, RedisStore, Unique};
use purlin_store::redis::RedisConfig;
use purlin_testkit::RedisCluster;

use crate::harness::{
    HOUR, MINUTE, claim_of, discard, drain, ends, job, job_with, jobs, retry, unique, worker,
};

/// So that each call is one script there too.
#[tokio::test]
async fn a_store_has_all_keys_on_one_node() {
    let Some(mut cluster) = RedisCluster::start() else {
        return;
    };
    let redis = RedisConfig::cluster(cluster.urls()).with_timeout(MINUTE);
    let redis = redis.open().unwrap();
    let mut used = [0; 3];
    // These are in slots of three nodes.
    for tag in ["jobs", "a", "b", "c", "d", "e"] {
        let store = RedisStore::new(redis.clone()).with_tag(tag);
        all_calls(&store).await;
        for (n, node) in cluster.nodes().iter().enumerate() {
            let keys = node.command(&["KEYS", &format!("purlin:jobs:{{{tag}}}:*")]);
            if !keys.is_empty() {
                used[n] += 1;
            }
        }
    }
    assert_eq!(used.iter().sum::<u32>(), 6, "{used:?}");
    assert!(used.iter().all(|stores| *stores > 0), "{used:?}");
}

async fn all_calls(store: &RedisStore) {
    let queue = QueueName::DEFAULT;
    store.check().await.unwrap();
    let mut wakeups = store.wakeups(std::slice::from_ref(&queue)).await.unwrap();
    let mut entries = jobs(5);
    entries.push(unique(Unique::until_done("key").or_replace()));
    store.enqueue(&entries).await.unwrap();
    assert_eq!(wakeups.next(MINUTE).await, Wake::Jobs);
    let second = unique(Unique::until_done("key").or_replace());
    let enqueued = store.enqueue(std::slice::from_ref(&second)).await.unwrap();
    let (new, old) = (second.id, entries[5].id);
    assert_eq!(enqueued, [Enqueued::Replaced { new, old }]);
    let id = worker(store).await;
    let claim = claim_of(id, 10);
    let claimed = store.claim(&claim).await.unwrap();
    assert_eq!(claimed.len(), 6);
    store.cancel(claimed[4].id).await.unwrap();
    store.heartbeat(id, HOUR).await.unwrap();
    let mut settlements = ends(&claimed[..4], &Outcome::Done);
    settlements[1].outcome = retry();
    settlements[2].outcome = discard();
    settlements[3].outcome = Outcome::Release;
    let _ = store.settle(claim.lease, &settlements).await.unwrap();
    assert!(store.replay(claimed[2].id).await.unwrap());
    store.join(id, Duration::ZERO).await.unwrap();
    let rescue = Rescue {
        limit: 9,
        max_crashes: 3,
    };
    let rescued = store.rescue(&rescue).await.unwrap();
    assert_eq!((rescued.workers, rescued.ready), (1, 1));
    store
        .enqueue(&[job_with(|o| o.with_delay(HOUR)), job()])
        .await
        .unwrap();
    store.promote(10).await.unwrap();
    store.pause(&queue).await.unwrap();
    store.resume(&queue).await.unwrap();
    let page = Page {
        after: None,
        limit: 10,
    };
    let views = store.list(&Filter::default(), &page).await.unwrap();
    let scheduled = views.iter().filter(|view| view.state == State::Scheduled);
    assert_eq!((views.len(), scheduled.count()), (7, 2));
    let counts = store.counts(None).await.unwrap();
    assert_eq!((counts.ready, counts.cancelled), (4, 1));
    assert_eq!(drain(store).await.len(), 4);
    assert_eq!(store.purge_finished(Duration::ZERO, 10).await.unwrap(), 1);
    store.leave(id).await.unwrap();
}
