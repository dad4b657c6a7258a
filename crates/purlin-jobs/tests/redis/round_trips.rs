//! What a call costs: the commands that the server counts.

use std::collections::BTreeMap;
use std::time::Duration;

use purlin_jobs::store::{Entry, Filter, Outcome, Page, Rescue};
use purlin_jobs::{JobAdmin as _, JobStore as _, LeaseId, QueueName, RedisStore, WorkerId};
use purlin_testkit::RedisServer;

use crate::harness::{
    HOUR, KIND, claim_of, discard, drain, ends, handle, job, job_with, jobs, retry, worker,
};

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

/// How many scripts; nothing else may be asked for.
fn scripts(server: &RedisServer) -> u64 {
    let executed = executed(server);
    assert_eq!(executed.get("eval"), None, "{executed:?}");
    executed.get("evalsha").copied().unwrap_or_default()
}

#[tokio::test]
async fn every_call_is_one_script() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let queue = QueueName::DEFAULT;
    // The first round teaches the server the scripts.
    for round in 0..2 {
        let check = |what: &str| {
            let found = if round == 0 {
                executed(&server);
                1
            } else {
                scripts(&server)
            };
            assert_eq!(found, 1, "{what}");
        };
        executed(&server);
        store.check().await.unwrap();
        executed(&server);
        let entries = jobs(4);
        store.enqueue(&entries).await.unwrap();
        check("enqueue");
        let id = worker(&store).await;
        check("join");
        let claim = claim_of(id, 10);
        let claimed = store.claim(&claim).await.unwrap();
        assert_eq!(claimed.len(), 4);
        check("claim");
        store.claim(&claim).await.unwrap();
        check("claim again");
        store.heartbeat(id, HOUR).await.unwrap();
        check("heartbeat");
        let mut settlements = ends(&claimed[..3], &Outcome::Done);
        settlements[1].outcome = retry();
        settlements[2].outcome = discard();
        let _ = store.settle(claim.lease, &settlements).await.unwrap();
        check("settle");
        store.promote(1_000).await.unwrap();
        check("promote");
        store.get(claimed[1].id).await.unwrap();
        check("get");
        let page = Page {
            after: None,
            limit: 100,
        };
        store.list(&Filter::default(), &page).await.unwrap();
        check("list");
        store.counts(Some(&queue)).await.unwrap();
        check("counts");
        assert!(store.cancel(claimed[3].id).await.unwrap());
        check("cancel");
        assert!(store.replay(claimed[2].id).await.unwrap());
        check("replay");
        store.pause(&queue).await.unwrap();
        check("pause");
        store.resume(&queue).await.unwrap();
        check("resume");
        let rescue = Rescue {
            limit: 16,
            max_crashes: 3,
        };
        store.rescue(&rescue).await.unwrap();
        check("rescue");
        store.leave(id).await.unwrap();
        check("leave");
        store.purge_finished(Duration::ZERO, 10).await.unwrap();
        check("purge");
        drain(&store).await;
    }
}

/// What a batch costs does not grow with it, but for what each job has that others have not.
#[tokio::test]
async fn a_batch_costs_as_many_commands_as_one_job() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let id = worker(&store).await;
    let mut seen = Vec::new();
    for (round, size) in [1, 1, 300, 1].into_iter().enumerate() {
        let mut costs = Vec::new();
        // What others wait for is not looked at.
        let others = (0..1_000).map(|_| Entry {
            kind: "another".to_owned(),
            ..job()
        });
        store.enqueue(&others.collect::<Vec<_>>()).await.unwrap();
        executed(&server);
        store.enqueue(&jobs(size)).await.unwrap();
        costs.push(executed(&server));
        let claim = claim_of(id, 500);
        let claimed = store.claim(&claim).await.unwrap();
        assert_eq!(claimed.len(), size);
        costs.push(executed(&server));
        let _ = store
            .settle(claim.lease, &ends(&claimed, &Outcome::Done))
            .await
            .unwrap();
        costs.push(executed(&server));
        // The first round teaches the server the scripts.
        if round > 0 {
            seen.push(costs);
        }
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[1], seen[2]);
    let total = |n: usize| seen[0][n].values().sum::<u64>();
    assert_eq!([total(0), total(1), total(2)], [8, 13, 15], "{:?}", seen[0]);
}

/// A server does nothing else while it runs a script.
#[tokio::test]
async fn no_script_deals_with_more_than_some_jobs() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::new(handle(server.url()));
    let rescue = Rescue {
        limit: 16,
        max_crashes: 9,
    };
    // Teaches it the scripts.
    store.promote(1).await.unwrap();
    let _ = store.settle(LeaseId::new(), &ends(&[], &retry())).await;
    store.rescue(&rescue).await.unwrap();
    store.purge_finished(Duration::ZERO, 1).await.unwrap();
    let id = worker(&store).await;
    let (mut claims, mut claimed) = (Vec::new(), Vec::new());
    store.enqueue(&jobs(1_400)).await.unwrap();
    for limit in [700, 700] {
        claims.push(claim_of(id, limit));
        claimed.push(store.claim(claims.last().unwrap()).await.unwrap());
    }
    let _ = store
        .settle(claims[0].lease, &ends(&claimed[0][..1], &Outcome::Done))
        .await
        .unwrap();
    executed(&server);
    let snoozes = ends(
        &claimed[0][1..],
        &Outcome::Snooze {
            after: Duration::ZERO,
        },
    );
    let _ = store.settle(claims[0].lease, &snoozes).await.unwrap();
    assert_eq!(scripts(&server), 2, "settle");
    assert_eq!(store.promote(1_000).await.unwrap().jobs, 699);
    assert_eq!(scripts(&server), 2, "promote");
    for _ in 0..2 {
        let claim = claim_of(id, 300);
        assert_eq!(store.claim(&claim).await.unwrap().len(), 300);
    }
    executed(&server);
    store.join(id, Duration::ZERO).await.unwrap();
    executed(&server);
    let rescued = store.rescue(&rescue).await.unwrap();
    assert_eq!((rescued.workers, rescued.ready), (1, 1_300));
    assert_eq!(scripts(&server), 2, "rescue");

    let id = worker(&store).await;
    for _ in 0..3 {
        let claim = claim_of(id, 500);
        let jobs = store.claim(&claim).await.unwrap();
        let _ = store
            .settle(claim.lease, &ends(&jobs, &discard()))
            .await
            .unwrap();
    }
    store
        .enqueue(&[job_with(|o| o.with_delay(HOUR))])
        .await
        .unwrap();
    executed(&server);
    assert_eq!(
        store.purge_finished(Duration::ZERO, 2_000).await.unwrap(),
        1_399
    );
    assert_eq!(scripts(&server), 3, "purge");
    assert_eq!(store.counts(None).await.unwrap().scheduled, 1);
    assert!(store.claim(&claim_of(WorkerId::new(), 1)).await.is_err());
    assert_eq!(KIND, job().kind);
}
