//! Redis killed, restarted, forgetful and full; connections that break.

use std::collections::HashSet;
use std::time::Duration;

use purlin_jobs::store::{Enqueued, Filter, Outcome, Page, Settled};
use purlin_jobs::{JobAdmin as _, JobId, JobStore as _, RedisStore};
use purlin_store::StoreErrorKind;
use purlin_testkit::{FaultProxy, RedisServer};

use crate::harness::{claim_of, drain, ends, handle, job_with, jobs, retry, until_ok, worker};

async fn all(store: &RedisStore) -> Vec<JobId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = Page {
            after,
            limit: 1_000,
        };
        let filter = Filter::default();
        let views = until_ok(async || store.list(&filter, &page).await).await;
        ids.extend(views.iter().map(|view| view.id));
        after = ids.last().copied();
        if views.len() < 1_000 {
            return ids;
        }
    }
}

/// And so do leases; the scripts, which the server has forgotten, are told again.
#[tokio::test]
async fn what_was_confirmed_survives_a_killed_redis() {
    let Some(mut server) = RedisServer::start_with(&["--appendfsync", "always"]) else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let entries = jobs(300);
    store.enqueue(&entries).await.unwrap();
    let id = worker(&store).await;
    let claim = claim_of(id, 100);
    let claimed = store.claim(&claim).await.unwrap();
    let _ = store
        .settle(claim.lease, &ends(&claimed[..40], &Outcome::Done))
        .await
        .unwrap();
    server.kill();
    server.restart();
    assert_eq!(all(&store).await.len(), 260);
    let counts = store.counts(None).await.unwrap();
    assert_eq!((counts.ready, counts.leased), (200, 60));
    let settled = store
        .settle(claim.lease, &ends(&claimed, &Outcome::Done))
        .await
        .unwrap();
    let applied = settled
        .iter()
        .filter(|settled| **settled == Settled::Applied);
    assert_eq!(applied.count(), 60);
    assert_eq!(drain(&store).await.len(), 200);
}

/// Stopped in order it keeps all. Killed it may lose the last calls, and no part of one.
#[tokio::test]
async fn everysec_loses_whole_calls_and_the_last_ones() {
    let Some(mut server) = RedisServer::start_with(&["--appendfsync", "everysec"]) else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let mut calls = Vec::new();
    for round in 0..2 {
        for _ in 0..20 {
            calls.push(jobs(50));
            store.enqueue(calls.last().unwrap()).await.unwrap();
        }
        if round == 0 {
            server.stop();
            server.restart();
            assert_eq!(all(&store).await.len(), 1_000);
        } else {
            server.kill();
            server.restart();
        }
    }
    let found: HashSet<_> = all(&store).await.into_iter().collect();
    let there: Vec<_> = calls
        .iter()
        .map(|call| {
            call.iter()
                .filter(|entry| found.contains(&entry.id))
                .count()
        })
        .collect();
    let kept = there.iter().take_while(|jobs| **jobs == 50).count();
    assert!(there[kept..].iter().all(|jobs| *jobs == 0), "{there:?}");
    assert!(kept >= 20);
    assert_eq!(drain(&store).await.len(), kept * 50);
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_again() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let forget = || server.command(&["SCRIPT", "FLUSH"]);
    store.enqueue(&jobs(3)).await.unwrap();
    let id = worker(&store).await;
    for _ in 0..2 {
        forget();
        store.enqueue(&jobs(1)).await.unwrap();
        let claim = claim_of(id, 2);
        forget();
        let claimed = store.claim(&claim).await.unwrap();
        assert_eq!(claimed.len(), 2);
        forget();
        let settled = store.settle(claim.lease, &ends(&claimed, &retry())).await;
        assert_eq!(settled.unwrap(), [Settled::Applied; 2]);
    }
    assert_eq!(store.counts(None).await.unwrap().scheduled, 4);
}

/// The server has done it, and half of the answer came. Asked again nothing is done twice.
#[tokio::test]
async fn a_call_that_was_cut_in_its_answer_is_made_again() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let direct = RedisStore::new(handle(server.url()));
    let proxy = FaultProxy::before(&server.url()).await;
    let store = RedisStore::new(handle(proxy.url(&server.url())));
    let entries = jobs(10);
    let id = worker(&store).await;
    let unavailable = |kind| assert_eq!(kind, StoreErrorKind::Unavailable);

    // Teaches the server the script: the answer that is cut is that of the call.
    direct.enqueue(&jobs(1)).await.unwrap();
    drain(&direct).await;
    proxy.cut_in_reply(1);
    unavailable(store.enqueue(&entries).await.unwrap_err().kind());
    assert_eq!(direct.counts(None).await.unwrap().ready, 10);
    let enqueued = until_ok(async || store.enqueue(&entries).await).await;
    let expected: Vec<_> = entries
        .iter()
        .map(|entry| Enqueued::Existing(entry.id))
        .collect();
    assert_eq!(enqueued, expected);

    let claim = claim_of(id, 4);
    proxy.cut_in_reply(1);
    unavailable(store.claim(&claim).await.unwrap_err().kind());
    assert_eq!(direct.counts(None).await.unwrap().leased, 4);
    let claimed = until_ok(async || store.claim(&claim).await).await;
    assert_eq!(claimed.len(), 4);
    assert_eq!(direct.counts(None).await.unwrap().leased, 4);

    let done = ends(&claimed, &retry());
    proxy.cut_in_reply(1);
    unavailable(store.settle(claim.lease, &done).await.unwrap_err().kind());
    let settled = until_ok(async || store.settle(claim.lease, &done).await).await;
    assert_eq!(settled, [Settled::Stale; 4]);
    for job in &claimed {
        let view = direct.get(job.id).await.unwrap().unwrap();
        assert_eq!(view.failures, 1);
    }
    proxy.cut_in_reply(1);
    unavailable(store.leave(id).await.unwrap_err().kind());
    until_ok(async || store.leave(id).await).await;
    assert_eq!(drain(&direct).await.len(), 6);
}

/// It takes nothing new, and lets what runs come to its end.
#[tokio::test]
async fn a_full_redis_takes_settlements() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    store.enqueue(&jobs(10)).await.unwrap();
    let scheduled = job_with(|o| o.with_delay(Duration::from_secs(900)));
    store
        .enqueue(std::slice::from_ref(&scheduled))
        .await
        .unwrap();
    let id = worker(&store).await;
    let claims = [claim_of(id, 3), claim_of(id, 2)];
    let claimed = [
        store.claim(&claims[0]).await.unwrap(),
        store.claim(&claims[1]).await.unwrap(),
    ];
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = [
        store.enqueue(&jobs(2)).await.map(drop),
        store.claim(&claim_of(id, 1)).await.map(drop),
        store.replay(scheduled.id).await.map(drop),
    ];
    for result in &refused[..2] {
        let error = result.as_ref().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    }
    let mut settlements = ends(&claimed[0], &retry());
    settlements[1].outcome = Outcome::Done;
    settlements[2].outcome = Outcome::Release;
    let settled = store.settle(claims[0].lease, &settlements).await.unwrap();
    assert_eq!(settled, [Settled::Applied; 3]);
    store.leave(id).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let counts = store.counts(None).await.unwrap();
    assert_eq!((counts.leased, counts.ready + counts.scheduled), (0, 10));
    assert_eq!(all(&store).await.len(), 10);
}
