//! Redis restarted, frozen, full and forgetful; connections that break.

use std::time::Duration;

use purlin_idempotency::store::{Claim, Claimed, Completion, Fenced, State};
use purlin_idempotency::{IdempotencyStore as _, RedisStore};
use purlin_store::StoreErrorKind;
use purlin_store::redis::RedisConfig;
use purlin_testkit::{FaultProxy, RedisSentinel, RedisServer};

use crate::harness::{MINUTE, acquired, answer, completion, existing, handle, id, lease, until_ok};

/// The first call after the server has gone may find that out.
async fn after_restart(server: &mut RedisServer, store: &RedisStore) {
    server.kill();
    server.restart();
    until_ok(async || store.get(&id("any")).await).await;
}

#[tokio::test]
async fn a_claim_and_its_answer_survive_a_killed_redis() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let claim = Claim::new(id(1), MINUTE * 60);
    let owner = acquired(store.claim(&claim).await.unwrap());
    after_restart(&mut server, &store).await;
    let other = existing(store.claim(&Claim::new(id(1), MINUTE)).await.unwrap());
    assert_eq!(other.attempt, 1);
    assert_eq!(acquired(store.claim(&claim).await.unwrap()), owner);
    let done = store.complete(&owner, &completion("x")).await.unwrap();
    assert_eq!(done, Fenced::Applied);
    after_restart(&mut server, &store).await;
    assert_eq!(answer(&store, &id(1)).await.as_deref(), Some(&b"x"[..]));
}

/// Records gone and scripts forgotten: the owner still ends its work, unless another was quicker.
#[tokio::test]
async fn who_completes_what_was_lost_makes_a_record() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let owners = [lease(&store, id(0)).await, lease(&store, id(1)).await];
    server.command(&["FLUSHALL"]);
    server.command(&["SCRIPT", "FLUSH"]);
    let quicker = lease(&store, id(1)).await;
    assert_eq!(quicker.attempt, 1);
    for (owner, expected) in owners.iter().zip([Fenced::Applied, Fenced::Lost]) {
        assert_eq!(store.extend(owner, MINUTE).await.unwrap(), Fenced::Lost);
        let done = store.complete(owner, &completion("x")).await.unwrap();
        assert_eq!(done, expected);
    }
    let done = store.complete(&quicker, &completion("y")).await.unwrap();
    assert_eq!(done, Fenced::Applied);
    for (key, expected) in ["x", "y"].into_iter().enumerate() {
        let found = answer(&store, &id(key)).await;
        assert_eq!(found.as_deref(), Some(expected.as_bytes()));
    }
}

/// The server never hears of the call, or has executed it and nobody hears of that. Asking again
/// with the same nonce gives the lease in both cases, once.
#[tokio::test]
async fn a_claim_whose_connection_was_cut_is_asked_again() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let direct = RedisStore::new(handle(server.url()));
    let proxy = FaultProxy::before(&server.url()).await;
    let store = RedisStore::new(handle(proxy.url(&server.url())));
    for (key, executed) in [("before", false), ("after", true)] {
        let claim = Claim::new(id(key), MINUTE * 60);
        store.get(&id(key)).await.unwrap();
        let error = cut_during(&proxy, executed, store.claim(&claim)).await;
        assert_eq!(error, Some(StoreErrorKind::Unavailable));
        let found = direct.get(&id(key)).await.unwrap();
        assert_eq!(found.is_some(), executed, "{key}");
        let owner = acquired(store.claim(&claim).await.unwrap());
        assert_eq!((owner.attempt, owner.nonce), (1, claim.nonce));
        assert!(matches!(
            direct.claim(&Claim::new(id(key), MINUTE)).await.unwrap(),
            Claimed::Existing(_)
        ));

        let completion = completion("x");
        let error = cut_during(&proxy, executed, store.complete(&owner, &completion)).await;
        assert_eq!(error, Some(StoreErrorKind::Unavailable));
        let done = store.complete(&owner, &completion).await.unwrap();
        assert_eq!(done, Fenced::Applied);
        let found = answer(&direct, &id(key)).await;
        assert_eq!(found.as_deref(), Some(&b"x"[..]));
    }
}

/// Cuts the connection when the call has been sent, or when it has been executed.
async fn cut_during<T>(
    proxy: &FaultProxy,
    executed: bool,
    call: impl Future<Output = Result<T, purlin_store::StoreError>>,
) -> Option<StoreErrorKind> {
    if executed {
        proxy.hold_replies();
    } else {
        proxy.swallow();
    }
    let mut call = std::pin::pin!(call);
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx)));
    assert!(polled.await.is_pending());
    let cut = async {
        if executed {
            proxy.held().await;
        }
        proxy.cut();
    };
    let (result, ()) = tokio::join!(call, cut);
    proxy.pass();
    result.err().map(|error| error.kind())
}

#[tokio::test]
async fn a_frozen_redis_is_a_timeout_and_the_claim_can_be_asked_again() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let timeout = Duration::from_millis(300);
    let redis = RedisConfig::node(server.url())
        .with_timeout(timeout)
        .open()
        .unwrap();
    let store = RedisStore::new(redis);
    until_ok(async || store.get(&id(1)).await).await;
    let claim = Claim::new(id(1), MINUTE * 60);
    server.freeze();
    let error = store.claim(&claim).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout, "{error:?}");
    assert_eq!((error.store(), error.operation()), ("redis", Some("claim")));
    assert!(error.tried_for().unwrap() >= timeout);
    server.thaw();
    let owner = acquired(until_ok(async || store.claim(&claim).await).await);
    assert_eq!((owner.attempt, owner.nonce), (1, claim.nonce));
}

#[tokio::test]
async fn a_full_redis_refuses_and_changes_nothing() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let owner = lease(&store, id(1)).await;
    let before = store.get(&id(1)).await.unwrap().unwrap();
    let completed = lease(&store, id(3)).await;
    let done = store.complete(&completed, &completion("x")).await.unwrap();
    assert_eq!(done, Fenced::Applied);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let errors = [
        store.claim(&Claim::new(id(2), MINUTE)).await.map(drop),
        store.extend(&owner, MINUTE).await.map(drop),
        store.complete(&owner, &completion("x")).await.map(drop),
    ];
    for result in errors {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    }
    let replayed = store.claim(&Claim::new(id(3), MINUTE)).await.unwrap();
    assert!(
        matches!(existing(replayed).state, State::Completed { .. }),
        "what is there is told"
    );
    let found = store.get(&id(1)).await.unwrap().unwrap();
    assert_eq!(
        (found.attempt, found.fingerprint),
        (before.attempt, before.fingerprint)
    );
    assert_eq!(
        store.release(&owner).await.unwrap(),
        Fenced::Applied,
        "frees memory"
    );
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(store.get(&id(2)).await.unwrap(), None);
}

/// Whichever command the user lacks, a completion is made or the claim is as it was.
#[tokio::test]
async fn a_completion_that_the_access_list_forbids_changes_nothing() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let small = completion("x");
    let large = Completion::new(small.fingerprint, vec![b'x'; 100_000].into(), MINUTE);
    for forbidden in ["time", "getrange", "set", "setrange"] {
        let rights = ["+@all".to_owned(), format!("-{forbidden}")];
        let user = ["ACL", "SETUSER", forbidden, "on", "nopass", "~*"];
        server.command(&[&user[..], &rights.each_ref().map(String::as_str)].concat());
        let url = format!("redis://{forbidden}:any@127.0.0.1:{}", server.port());
        let limited = RedisStore::new(handle(url));
        for (size, completion) in [("small", &small), ("large", &large)] {
            let id = id(format!("{forbidden}-{size}"));
            let owner = lease(&store, id).await;
            match limited.complete(&owner, completion).await {
                Ok(done) => assert_eq!(done, Fenced::Applied),
                Err(error) => {
                    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error:?}");
                    let after = store.get(&id).await.unwrap().expect("it is still there");
                    assert!(matches!(after.state, State::InFlight { .. }), "{after:?}");
                    let done = store.complete(&owner, completion).await.unwrap();
                    assert_eq!(done, Fenced::Applied);
                }
            }
            assert_eq!(answer(&store, &id).await, Some(completion.answer.clone()));
        }
    }
}

/// Whether or not the replica had the claim when it was promoted.
#[tokio::test]
async fn work_is_completed_after_a_failover() {
    let Some(mut servers) = RedisSentinel::start() else {
        return;
    };
    let redis = RedisConfig::sentinel(servers.urls(), RedisSentinel::MASTER);
    let store = RedisStore::new(redis.with_timeout(Duration::from_secs(5)).open().unwrap());
    let owner = lease(&store, id(1)).await;
    servers.master().kill();
    assert!(store.extend(&owner, MINUTE).await.is_err());
    servers.until_failed_over();
    let done = until_ok(async || store.complete(&owner, &completion("x")).await).await;
    assert_eq!(done, Fenced::Applied);
    assert_eq!(answer(&store, &id(1)).await.as_deref(), Some(&b"x"[..]));
    assert_eq!(store.erase_scope(&id(1).scope()).await.unwrap(), 1);
}
