//! The Redis handle when servers stop, freeze, die, come back, and lie.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::time::{Duration, Instant};

use purlin_store::redis::driver::cmd;
use purlin_store::redis::{RedisConfig, RedisHandle, Script};
use purlin_store::{StoreError, StoreErrorKind};
use purlin_testkit::{FaultProxy, RedisCluster, RedisSentinel, RedisServer};

/// The deadline of a call here; what takes longer than `PATIENCE` hangs.
const TIMEOUT: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(20);

fn node(url: impl Into<String>) -> RedisHandle {
    RedisConfig::node(url).with_timeout(TIMEOUT).open().unwrap()
}

async fn ping(redis: &RedisHandle) -> Result<String, StoreError> {
    let begun = Instant::now();
    let result = redis.query("ping", &cmd("PING")).await;
    // A busy machine may run late, but not for as long as a call without deadline would take.
    assert!(
        begun.elapsed() < TIMEOUT + Duration::from_secs(5),
        "a call took {:?}",
        begun.elapsed()
    );
    result
}

async fn set(redis: &RedisHandle, key: &str) -> Result<(), StoreError> {
    redis.query("put", cmd("SET").arg(key).arg("v")).await
}

/// Repeats a call, as requests that keep coming do, until one succeeds; the errors before it.
async fn until_ok(call: impl AsyncFn() -> Result<(), StoreError>) -> Vec<StoreError> {
    let begun = Instant::now();
    let mut errors = Vec::new();
    loop {
        match call().await {
            Ok(()) => return errors,
            Err(error) => errors.push(error),
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "it does not recover: {:?}",
            errors.last()
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_call_fails_when_the_server_was_restarted_and_the_next_connects() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let redis = node(server.url());
    for break_it in [RedisServer::kill, RedisServer::stop] {
        ping(&redis).await.unwrap();
        break_it(&mut server);
        let error = ping(&redis).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
        let error = ping(&redis).await.unwrap_err();
        assert_eq!(
            error.kind(),
            StoreErrorKind::Unavailable,
            "refused: {error:?}"
        );
        server.restart();
        ping(&redis).await.unwrap();
        // And when nobody called while it was down.
        server.kill();
        server.restart();
        let failed = ping(&redis).await.map_err(|error| error.kind());
        assert!(
            matches!(failed, Ok(_) | Err(StoreErrorKind::Unavailable)),
            "{failed:?}"
        );
        ping(&redis).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_is_replaced_once_for_all_who_wait() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let proxy = FaultProxy::before(&server.url()).await;
    let redis = node(proxy.url(&server.url()));
    for round in 1..=10 {
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let redis = redis.clone();
                tokio::spawn(async move {
                    let mut failed = 0;
                    while ping(&redis).await.is_err() {
                        failed += 1;
                        assert!(failed < 100, "it does not recover");
                    }
                    failed
                })
            })
            .collect();
        for task in tasks {
            let failed = task.await.unwrap();
            assert!(failed <= 1, "a call failed {failed} times");
        }
        assert_eq!(proxy.connections(), round, "after {} cuts", round - 1);
        proxy.cut();
        // What was on its way may still pass. The cut has been noticed when a call fails; the next
        // round begins without connection.
        while ping(&redis).await.is_ok() {}
    }
}

#[tokio::test]
async fn a_frozen_server_times_out_and_goes_on_where_it_was() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let redis = node(server.url());
    ping(&redis).await.unwrap();
    server.freeze();
    for _ in 0..4 {
        let error = ping(&redis).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Timeout, "{error:?}");
        assert!(error.tried_for().unwrap() >= TIMEOUT);
        assert!(
            error
                .to_string()
                .starts_with("redis: ping: no answer in time after 3"),
            "{error}"
        );
    }
    server.thaw();
    until_ok(async || ping(&redis).await.map(drop)).await;
}

/// A host that vanished sends no reset: the connection only falls silent.
#[tokio::test]
async fn a_silent_connection_is_given_up_after_three_calls() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let proxy = FaultProxy::before(&server.url()).await;
    let redis = node(proxy.url(&server.url()));
    ping(&redis).await.unwrap();
    proxy.swallow();
    let _ = ping(&redis).await;
    proxy.pass();
    // The connection has lost bytes and stays silent; new ones would work.
    for _ in 0..2 {
        assert_eq!(
            ping(&redis).await.unwrap_err().kind(),
            StoreErrorKind::Timeout
        );
        assert_eq!(
            proxy.connections(),
            1,
            "one slow answer is no reason to connect anew"
        );
    }
    ping(&redis).await.unwrap();
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn slow_answers_that_come_do_not_add_up_to_a_broken_connection() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let proxy = FaultProxy::before(&server.url()).await;
    let redis = node(proxy.url(&server.url()));
    for _ in 0..4 {
        ping(&redis).await.unwrap();
        proxy.hold_replies();
        assert_eq!(
            ping(&redis).await.unwrap_err().kind(),
            StoreErrorKind::Timeout
        );
        proxy.pass();
    }
    ping(&redis).await.unwrap();
    assert_eq!(proxy.connections(), 1);
}

/// Connecting takes longer than each call has: it goes on from one call to the next.
#[tokio::test]
async fn connecting_may_take_longer_than_a_call() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let proxy = FaultProxy::before(&server.url()).await;
    proxy.hold_replies();
    let redis = RedisConfig::node(proxy.url(&server.url()))
        .with_timeout(TIMEOUT)
        .with_connect_timeout(PATIENCE)
        .open()
        .unwrap();
    for _ in 0..2 {
        assert_eq!(
            ping(&redis).await.unwrap_err().kind(),
            StoreErrorKind::Timeout
        );
    }
    proxy.pass();
    ping(&redis).await.unwrap();
    assert_eq!(proxy.connections(), 1);
}

/// The attempt to connect failed while nobody waited for it: the next call does not fail for that,
/// but connects.
#[tokio::test]
async fn an_old_failure_to_connect_is_not_reported() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let proxy = FaultProxy::before(&server.url()).await;
    proxy.swallow();
    let redis = RedisConfig::node(proxy.url(&server.url()))
        .with_timeout(TIMEOUT)
        .with_connect_timeout(PATIENCE)
        .open()
        .unwrap();
    assert_eq!(
        ping(&redis).await.unwrap_err().kind(),
        StoreErrorKind::Timeout
    );
    proxy.pass();
    proxy.cut();
    ping(&redis).await.unwrap();
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a_cut_in_the_middle_of_an_answer_is_unavailable() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let proxy = FaultProxy::before(&server.url()).await;
    let redis = node(proxy.url(&server.url()));
    ping(&redis).await.unwrap();
    proxy.cut_in_reply(1);
    let error = set(&redis, "k").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    assert_eq!(
        server.command(&["GET", "k"]),
        "v",
        "it was executed, and nobody could know"
    );
    ping(&redis).await.unwrap();
}

#[tokio::test]
async fn answers_of_the_server_have_their_kinds() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let redis = node(server.url());
    let get: Result<String, _> = redis.query("get", cmd("GET").arg("nothing")).await;
    assert_eq!(
        get.unwrap_err().kind(),
        StoreErrorKind::Corrupt,
        "nil is no string"
    );

    server.command(&["LPUSH", "list", "x"]);
    let get: Result<String, _> = redis.query("get", cmd("GET").arg("list")).await;
    assert_eq!(
        get.unwrap_err().kind(),
        StoreErrorKind::Corrupt,
        "somebody else's list"
    );

    let unknown: Result<String, _> = redis.query("nonsense", &cmd("NONSENSE")).await;
    assert_eq!(unknown.unwrap_err().kind(), StoreErrorKind::Refused);

    let script = Script::new("return redis.error_reply('MINE no')");
    let raised: Result<String, _> = redis.run("raise", &script.on(&["k"])).await;
    assert_eq!(raised.unwrap_err().kind(), StoreErrorKind::Refused);

    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(
        set(&redis, "k").await.unwrap_err().kind(),
        StoreErrorKind::Unavailable,
        "full"
    );
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);

    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(
        set(&redis, "k").await.unwrap_err().kind(),
        StoreErrorKind::Unavailable,
        "a replica"
    );
    server.command(&["REPLICAOF", "NO", "ONE"]);
    set(&redis, "k").await.unwrap();
}

#[tokio::test]
async fn a_failover_is_followed_through_the_sentinels() {
    let Some(mut servers) = RedisSentinel::start() else {
        return;
    };
    let redis = RedisConfig::sentinel(servers.urls(), RedisSentinel::MASTER)
        .with_timeout(TIMEOUT)
        .open()
        .unwrap();
    set(&redis, "k").await.unwrap();
    servers.master().kill();
    assert!(set(&redis, "k").await.is_err());
    servers.until_failed_over();
    until_ok(async || set(&redis, "k").await).await;
}

#[tokio::test]
async fn a_node_of_a_cluster_dies_and_comes_back() {
    let Some(mut cluster) = RedisCluster::start() else {
        return;
    };
    let redis = RedisConfig::cluster(cluster.urls())
        .with_timeout(TIMEOUT)
        .open()
        .unwrap();
    // Slots 15495, 3300 and 7365: one on each node.
    let keys = ["a", "b", "c"];
    for key in keys {
        set(&redis, key).await.unwrap();
    }
    cluster.nodes()[0].kill();
    let begun = Instant::now();
    let error = set(&redis, "b").await.unwrap_err();
    assert!(begun.elapsed() < TIMEOUT + Duration::from_secs(5));
    assert!(
        matches!(
            error.kind(),
            StoreErrorKind::Unavailable | StoreErrorKind::Timeout
        ),
        "{error:?}"
    );
    cluster.nodes()[0].restart();
    cluster.until_ok();
    for key in keys {
        until_ok(async || set(&redis, key).await).await;
    }
}

/// A cursor of the process before would skip keys.
#[tokio::test]
async fn a_walk_does_not_go_on_in_another_process() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let redis = node(server.url());
    for n in 0..1_500 {
        set(&redis, &n.to_string()).await.unwrap();
    }
    let mut scan = redis.scan("walk", "*");
    assert!(scan.next().await.unwrap().is_some());
    server.kill();
    server.restart();
    // Others have connected anew meanwhile.
    until_ok(async || ping(&redis).await.map(drop)).await;
    for _ in 0..2 {
        let error = scan.next().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    }
    ping(&redis).await.unwrap();
}

/// The driver connects to a node of a cluster again by itself, which nobody sees.
#[tokio::test]
async fn a_walk_over_a_cluster_notices_a_restart() {
    let Some(mut cluster) = RedisCluster::start() else {
        return;
    };
    let redis = RedisConfig::cluster(cluster.urls())
        .with_timeout(PATIENCE)
        .open()
        .unwrap();
    for n in 0..300 {
        set(&redis, &n.to_string()).await.unwrap();
    }
    for node in 0..3 {
        let mut scan = redis.scan("walk", "*");
        assert!(scan.next().await.unwrap().is_some());
        cluster.nodes()[node].kill();
        cluster.nodes()[node].restart();
        cluster.until_ok();
        for key in ["a", "b", "c"] {
            until_ok(async || set(&redis, key).await).await;
        }
        let error = loop {
            match scan.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the restart of node {node} was not noticed"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
        // Another walk is not disturbed.
        let mut scan = redis.scan("walk", "*");
        let mut found = 0;
        while let Some(keys) = scan.next().await.unwrap() {
            found += keys.len();
        }
        assert_eq!(found, 303);
    }
}
