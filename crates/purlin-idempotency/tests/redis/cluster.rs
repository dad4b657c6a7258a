//! A cluster of three masters.

use std::time::Duration;

use bytes::Bytes;
use purlin_idempotency::store::Fenced;
use purlin_idempotency::{IdempotencyStore as _, RedisStore};
use purlin_store::StoreErrorKind;
use purlin_store::redis::RedisConfig;
use purlin_testkit::RedisCluster;

use crate::harness::{answer, completion, id, id_of, lease, until_ok};

const RECORDS: u64 = 60;

fn store(cluster: &RedisCluster) -> RedisStore {
    let redis = RedisConfig::cluster(cluster.urls()).with_timeout(Duration::from_secs(5));
    RedisStore::new(redis.open().unwrap())
}

#[tokio::test]
async fn a_scope_is_spread_over_all_nodes_and_erased_on_all() {
    let Some(mut cluster) = RedisCluster::start() else {
        return;
    };
    let store = store(&cluster);
    for (principal, records) in [("alice", RECORDS), ("bob", 3)] {
        for key in 0..records {
            let owner = lease(&store, id_of(principal, key)).await;
            let done = store.complete(&owner, &completion("x")).await.unwrap();
            assert_eq!(done, Fenced::Applied);
            let done = store.complete(&owner, &completion("y")).await.unwrap();
            assert_eq!(done, Fenced::Applied);
        }
    }
    for node in cluster.nodes() {
        assert_ne!(node.command(&["DBSIZE"]), "0");
    }
    assert_eq!(store.erase_scope(&id(0).scope()).await.unwrap(), RECORDS);
    assert_eq!(store.erase_scope(&id(0).scope()).await.unwrap(), 0);
    for key in 0..RECORDS {
        assert_eq!(answer(&store, &id(key)).await, Some(Bytes::new()));
    }
    for key in 0..3 {
        let found = answer(&store, &id_of("bob", key)).await;
        assert_eq!(found.as_deref(), Some(&b"x"[..]));
    }
}

/// What was not looked at is not said to be erased.
#[tokio::test]
async fn a_scope_is_not_said_to_be_erased_while_a_node_is_down() {
    let Some(mut cluster) = RedisCluster::start() else {
        return;
    };
    let connected = store(&cluster);
    for key in 0..RECORDS {
        let owner = lease(&connected, id(key)).await;
        let done = connected.complete(&owner, &completion("x")).await.unwrap();
        assert_eq!(done, Fenced::Applied);
    }
    cluster.nodes()[1].kill();
    // One that was connected to it, and one that never was.
    for store in [&connected, &store(&cluster)] {
        for _ in 0..3 {
            let error = store.erase_scope(&id(0).scope()).await.unwrap_err();
            assert!(
                matches!(
                    error.kind(),
                    StoreErrorKind::Unavailable | StoreErrorKind::Timeout
                ),
                "{error:?}"
            );
        }
    }
    cluster.nodes()[1].restart();
    cluster.until_ok();
    until_ok(async || connected.erase_scope(&id(0).scope()).await).await;
    for key in 0..RECORDS {
        let found = until_ok(async || connected.get(&id(key)).await).await;
        let state = found.unwrap().state;
        assert!(
            matches!(&state, purlin_idempotency::store::State::Completed { answer, .. } if answer.is_empty()),
            "{state:?}"
        );
    }
}
