//! The Redis handle where nothing is broken: one node, sentinels, a cluster.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::time::Duration;

use proptest::prelude::*;
use purlin_store::redis::driver::cmd;
use purlin_store::redis::{KeySpace, RedisConfig, RedisHandle, Script};
use purlin_store::{ConfigError, StoreErrorKind};
use purlin_testkit::{RedisCluster, RedisSentinel, RedisServer, TestRedis};

/// Sets two keys of one tag and says what they were.
const SWAP: &str = "local a, b = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]) \
                    redis.call('SET', KEYS[1], ARGV[1]) redis.call('SET', KEYS[2], ARGV[2]) \
                    return {a or '-', b or '-'}";

async fn swap(redis: &RedisHandle, keys: &KeySpace, tag: &str) -> (String, String) {
    let script = Script::new(SWAP);
    let keys = [keys.key(tag), keys.part(tag, "other")];
    redis
        .run("swap", &script.on(&keys).arg("x").arg(2))
        .await
        .unwrap()
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[tokio::test]
async fn commands_and_scripts_on_one_node() {
    let Some(server) = TestRedis::create() else {
        return;
    };
    let redis = RedisConfig::node(server.url()).open().unwrap();
    let keys = KeySpace::new(server.prefix()).unwrap();
    let () = redis
        .query("put", cmd("SET").arg(keys.key("k")).arg("v"))
        .await
        .unwrap();
    let value: String = redis
        .query("get", cmd("GET").arg(keys.key("k")))
        .await
        .unwrap();
    assert_eq!(value, "v");
    assert_eq!(swap(&redis, &keys, "t").await, pair("-", "-"));
    assert_eq!(swap(&redis, &keys, "t").await, pair("x", "2"));
}

/// How often the server has executed `command` since it started.
fn calls(server: &RedisServer, command: &str) -> usize {
    let stats = server.command(&["INFO", "commandstats"]);
    let line = stats
        .lines()
        .find_map(|l| l.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_script_is_sent_once_and_again_when_the_server_has_forgotten_it() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let redis = RedisConfig::node(server.url()).open().unwrap();
    let keys = KeySpace::new("p").unwrap();
    for _ in 0..5 {
        swap(&redis, &keys, "t").await;
    }
    assert_eq!((calls(&server, "eval"), calls(&server, "evalsha")), (1, 5));
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(swap(&redis, &keys, "t").await, pair("x", "2"));
    assert_eq!((calls(&server, "eval"), calls(&server, "evalsha")), (2, 6));
}

#[tokio::test]
async fn all_calls_share_one_connection() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let redis = RedisConfig::node(server.url()).open().unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let redis = redis.clone();
            tokio::spawn(async move { redis.query::<i64>("echo", cmd("ECHO").arg(n)).await })
        })
        .collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.await.unwrap().unwrap(), n);
    }
    let clients = server.command(&["CLIENT", "LIST"]);
    assert_eq!(
        clients.lines().count(),
        2,
        "the handle and the one who asks: {clients}"
    );
}

#[tokio::test]
async fn calls_that_are_dropped_do_not_cross_the_answers_of_others() {
    let Some(server) = TestRedis::create() else {
        return;
    };
    let redis = RedisConfig::node(server.url()).open().unwrap();
    for n in 0..10_000_i64 {
        let command = cmd("ECHO").arg(n).to_owned();
        let call = redis.query::<i64>("echo", &command);
        if n % 2 == 0 {
            assert_eq!(call.await.unwrap(), n);
        } else {
            // Dropped after its first poll: sent, and not answered.
            let mut call = Box::pin(call);
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx)));
            assert!(polled.await.is_pending());
        }
    }
}

#[tokio::test]
async fn a_cluster_takes_the_same_calls() {
    let Some(mut cluster) = RedisCluster::start() else {
        return;
    };
    let redis = RedisConfig::cluster(cluster.urls()).open().unwrap();
    let keys = KeySpace::new("p").unwrap();
    for tag in ["a", "b", "c", "d", "e", "f", "", "}", "{}"] {
        assert_eq!(swap(&redis, &keys, tag).await, pair("-", "-"), "{tag}");
        assert_eq!(swap(&redis, &keys, tag).await, pair("x", "2"), "{tag}");
    }
    for node in cluster.nodes() {
        assert_ne!(
            node.command(&["DBSIZE"]),
            "0",
            "every node has some of the keys"
        );
    }
}

#[tokio::test]
async fn sentinels_lead_to_the_master() {
    let Some(mut servers) = RedisSentinel::start() else {
        return;
    };
    let redis = RedisConfig::sentinel(servers.urls(), RedisSentinel::MASTER)
        .open()
        .unwrap();
    assert_eq!(
        swap(&redis, &KeySpace::new("p").unwrap(), "t").await,
        pair("-", "-")
    );
    assert_eq!(servers.master().command(&["GET", "p:{t}"]), "x");
}

#[tokio::test]
async fn a_master_behind_sentinels_may_ask_for_a_password() {
    let Some(mut servers) = RedisSentinel::start() else {
        return;
    };
    servers
        .master()
        .command(&["CONFIG", "SET", "requirepass", "hunter2"]);
    let config = || RedisConfig::sentinel(servers.urls(), RedisSentinel::MASTER);
    let error = config()
        .open()
        .unwrap()
        .query::<String>("get", cmd("GET").arg("k"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error:?}");
    let redis = config().with_master_login(None, "hunter2").open().unwrap();
    let value: Option<String> = redis.query("get", cmd("GET").arg("k")).await.unwrap();
    assert_eq!(value, None);
}

#[test]
fn wrong_configuration_is_an_error_that_does_not_repeat_it() {
    let error = RedisConfig::node("http://user:hunter2@host")
        .open()
        .unwrap_err();
    assert_eq!(error, ConfigError::Url);
    let error = RedisConfig::cluster(["redis://a", "redis:/:hunter2"])
        .open()
        .unwrap_err();
    assert_eq!(error, ConfigError::Url);
    let nobody: [&str; 0] = [];
    assert_eq!(
        RedisConfig::cluster(nobody).open().unwrap_err(),
        ConfigError::NoAddress
    );
    assert_eq!(
        RedisConfig::sentinel(nobody, "m").open().unwrap_err(),
        ConfigError::NoAddress
    );
    for bad in ["", "a{b", "a}b", "a b", "é"] {
        assert_eq!(KeySpace::new(bad), Err(ConfigError::KeyPrefix), "{bad}");
    }
}

/// Behind a command that blocks all that is sent on its connection waits.
#[tokio::test]
async fn a_handle_apart_has_a_connection_of_its_own() {
    let Some(server) = TestRedis::create() else {
        return;
    };
    let redis = RedisConfig::node(server.url()).open().unwrap();
    assert_eq!(redis.timeout(), Duration::from_millis(500));
    let apart = redis.apart().with_timeout(Duration::from_secs(60));
    for handle in [&redis, &apart] {
        let _: String = handle.query("ping", &cmd("PING")).await.unwrap();
    }
    let list = KeySpace::new(server.prefix()).unwrap().key("list");
    let (mut pop, mut push) = (cmd("BLPOP"), cmd("RPUSH"));
    pop.arg(&list).arg(0);
    push.arg(&list).arg("v");
    let (popped, pushed) = tokio::join!(
        apart.query::<(String, String)>("pop", &pop),
        redis.query::<i64>("push", &push),
    );
    assert_eq!(
        (popped.unwrap(), pushed.unwrap()),
        ((list.clone(), "v".to_owned()), 1)
    );

    let hasty = redis.apart().with_timeout(Duration::from_millis(50));
    let error = hasty.query::<Option<(String, String)>>("pop", &pop).await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Timeout);
}

/// The driver has no limit of its own.
#[tokio::test]
async fn a_cluster_may_block_for_long() {
    let Some(cluster) = RedisCluster::start() else {
        return;
    };
    let redis = RedisConfig::cluster(cluster.urls()).open().unwrap();
    let apart = redis.apart().with_timeout(Duration::from_secs(60));
    let mut pop = cmd("BLPOP");
    pop.arg("list").arg(2);
    let popped: Option<(String, String)> = apart.query("pop", &pop).await.unwrap();
    assert_eq!(popped, None);
}

#[test]
fn calls_can_be_spawned() {
    fn assert_send<T: Send>(_: &T) {}
    let redis = RedisConfig::node("redis://127.0.0.1")
        .with_timeout(Duration::MAX)
        .open()
        .unwrap();
    let (script, command) = (Script::new("return 1"), cmd("PING"));
    let invocation = script.on(&["k"]);
    assert_send(&redis.query::<String>("ping", &command));
    assert_send(&redis.run::<i64>("one", &invocation));
    let mut scan = redis.scan("walk", "*");
    assert_send(&scan.next());
}

/// What a cluster takes of a key to place it (Redis Cluster specification, "Hash tags").
fn hashed(key: &str) -> &str {
    let tag = key.find('{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.find('}').map(|close| &rest[..close])
    });
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

proptest! {
    #[test]
    fn keys_of_a_tag_stay_together_and_others_apart(
        one in "[ab{}%:é]{0,4}",
        two in "[ab{}%:é]{0,4}",
        part in "[ab{}%:]{0,3}",
        other in "[ab{}%:]{0,3}",
    ) {
        let keys = KeySpace::new("p:q").unwrap();
        let place = keys.key(&one);
        prop_assert_eq!(hashed(&place), hashed(&keys.part(&one, &part)).to_owned());
        prop_assert_ne!(&place, hashed(&place), "a tag is never empty");
        prop_assert_ne!(keys.key(&one), keys.part(&two, &part));
        if one != two {
            prop_assert_ne!(keys.key(&one), keys.key(&two));
            prop_assert_ne!(keys.part(&one, &part), keys.part(&two, &other));
        } else if part != other {
            prop_assert_ne!(keys.part(&one, &part), keys.part(&two, &other));
        }
    }
}

async fn fill(redis: &RedisHandle, keys: &KeySpace, tags: &[String]) {
    for tag in tags {
        let command = cmd("SET").arg(keys.key(tag)).arg("v").clone();
        let () = redis.query("put", &command).await.unwrap();
    }
}

/// All keys that a walk gives, in order.
async fn walked(redis: &RedisHandle, pattern: &str) -> Vec<String> {
    let mut scan = redis.scan("walk", pattern);
    let mut found = Vec::new();
    while let Some(keys) = scan.next().await.unwrap() {
        found.extend(keys.into_iter().map(|key| String::from_utf8(key).unwrap()));
    }
    assert_eq!(scan.next().await.unwrap(), None, "it stays at its end");
    found.sort();
    found.dedup();
    found
}

#[tokio::test]
async fn a_walk_finds_the_keys_of_its_pattern() {
    let Some(server) = TestRedis::create() else {
        return;
    };
    let redis = RedisConfig::node(server.url()).open().unwrap();
    let keys = KeySpace::new(server.prefix()).unwrap();
    let tags: Vec<String> = (0..2_500).map(|n| format!("ann:{n}")).collect();
    let others = ["ann", "anna:1", "a*n:1", "a?n:1", "[a]nn:1", r"a\nn:1"].map(ToOwned::to_owned);
    fill(&redis, &keys, &tags).await;
    fill(&redis, &keys, &others).await;
    let mut expected: Vec<String> = tags.iter().map(|tag| keys.key(tag)).collect();
    expected.sort();
    assert_eq!(walked(&redis, &keys.beginning_with("ann:")).await, expected);
    for other in &others[1..] {
        let beginning = other.strip_suffix('1').unwrap();
        let found = walked(&redis, &keys.beginning_with(beginning)).await;
        assert_eq!(found, [keys.key(other)], "{beginning}");
    }
    assert!(
        walked(&redis, &keys.beginning_with("bob:"))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_walk_goes_to_every_master_of_a_cluster() {
    let Some(mut cluster) = RedisCluster::start() else {
        return;
    };
    let redis = RedisConfig::cluster(cluster.urls()).open().unwrap();
    let keys = KeySpace::new("p").unwrap();
    let tags: Vec<String> = (0..300).map(|n| format!("ann:{n}")).collect();
    fill(&redis, &keys, &tags).await;
    fill(&redis, &keys, &["bob:1".to_owned()]).await;
    for node in cluster.nodes() {
        assert_ne!(node.command(&["DBSIZE"]), "0");
    }
    let mut expected: Vec<String> = tags.iter().map(|tag| keys.key(tag)).collect();
    expected.sort();
    assert_eq!(walked(&redis, &keys.beginning_with("ann:")).await, expected);
}
