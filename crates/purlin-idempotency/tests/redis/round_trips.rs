//! What a call costs: the commands that the server counts.

use std::collections::BTreeMap;

use purlin_idempotency::store::{Claim, Fenced};
use purlin_idempotency::{IdempotencyStore as _, RedisStore};
use purlin_testkit::RedisServer;

use crate::harness::{MINUTE, acquired, completion, handle, id, lease};

/// What the server has executed since it was asked before, other than for this question. What a
/// script executes is counted beside the script.
fn executed(server: &RedisServer) -> BTreeMap<String, u64> {
    let stats = server.command(&["INFO", "commandstats"]);
    server.command(&["CONFIG", "RESETSTAT"]);
    let lines = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse().ok()?;
        (!["info", "config|resetstat", "client|setinfo"].contains(&name))
            .then(|| (name.to_owned(), calls))
    });
    lines.collect()
}

fn commands(names: &[&str]) -> BTreeMap<String, u64> {
    names.iter().map(|name| ((*name).to_owned(), 1)).collect()
}

#[tokio::test]
async fn every_call_is_one_script() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    // The first round teaches the server the scripts.
    for round in 0..2 {
        let check = |what: &str, names: &[&str]| {
            let found = executed(&server);
            if round > 0 {
                assert_eq!(found, commands(names), "{what}");
            }
        };
        check("nothing", &[]);
        let claim = Claim::new(id(1), MINUTE);
        let owner = acquired(store.claim(&claim).await.unwrap());
        check("claim", &["evalsha", "time", "set"]);
        let _ = store.claim(&Claim::new(id(1), MINUTE)).await.unwrap();
        check("duplicate", &["evalsha", "time", "set"]);
        assert_eq!(store.extend(&owner, MINUTE).await.unwrap(), Fenced::Applied);
        check("extend", &["evalsha", "time", "getrange", "setrange"]);
        assert_eq!(
            store.complete(&owner, &completion("x")).await.unwrap(),
            Fenced::Applied
        );
        check("complete", &["evalsha", "getrange", "set"]);
        let _ = store.claim(&Claim::new(id(1), MINUTE)).await.unwrap();
        check("replay", &["evalsha", "time", "set", "pttl"]);
        assert!(store.get(&id(1)).await.unwrap().is_some());
        check("get", &["evalsha", "time", "get", "pttl"]);
        assert_eq!(store.erase_scope(&id(1).scope()).await.unwrap(), 1);
        check("erase", &["scan", "evalsha", "time", "getrange", "set"]);
        assert!(store.remove(&id(1)).await.unwrap());
        check("remove", &["evalsha", "time", "getrange", "unlink"]);
        let owner = lease(&store, id(1)).await;
        executed(&server);
        assert_eq!(store.abandon(&owner).await.unwrap(), Fenced::Applied);
        check("abandon", &["evalsha", "time", "getrange", "setrange"]);
        assert_eq!(store.release(&owner).await.unwrap(), Fenced::Applied);
        check("release", &["evalsha", "time", "getrange", "unlink"]);
    }
}

/// What a heartbeat or a second completion costs does not depend on how large the answer is.
#[tokio::test]
async fn a_large_answer_is_only_read_to_be_replayed() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let owner = lease(&store, id(1)).await;
    let large = purlin_idempotency::store::Completion::new(
        crate::harness::fingerprint(1),
        vec![7; 1 << 20].into(),
        MINUTE,
    );
    assert_eq!(
        store.complete(&owner, &large).await.unwrap(),
        Fenced::Applied
    );
    let sent = || {
        let stats = server.command(&["INFO", "stats"]);
        let bytes = stats
            .lines()
            .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
        bytes.unwrap().parse::<u64>().unwrap()
    };
    executed(&server);
    let before = sent();
    assert_eq!(store.extend(&owner, MINUTE).await.unwrap(), Fenced::Lost);
    assert_eq!(store.release(&owner).await.unwrap(), Fenced::Lost);
    assert_eq!(
        store.complete(&owner, &completion("x")).await.unwrap(),
        Fenced::Applied
    );
    assert!(sent() - before < 100_000);
    let found = executed(&server);
    assert!(!found.contains_key("get"), "{found:?}");
}
