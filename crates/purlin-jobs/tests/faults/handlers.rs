//! Handlers that do what they should not.

use purlin_jobs::store::{Failure, State};
use tokio::time::Instant;

use crate::PATIENCE;
use crate::child::Orders;
use crate::ground::{Ground, Kind};
use crate::process::Process;
use crate::work::{Act, job, victim, victim_that};

/// It kills whoever has it, and is dead when it has done so three times.
async fn poison(kind: Kind) {
    let Some(ground) = Ground::create(kind).await else {
        return;
    };
    let others: Vec<_> = (0..5).map(|_| job(Act::Work)).collect();
    ground
        .enqueue(std::iter::once(victim_that(Act::Abort)).chain(others.clone()))
        .await;
    for _ in 0..3 {
        let orders = Orders::dying(&ground.place, None).with_slots(1);
        Process::start(&orders).aborted(&ground).await;
    }
    ground.finish("abort() in a handler").await;
    let begun = ground.log.begun_of(victim()).await;
    assert_eq!(begun, [(1, 0), (1, 1), (1, 2)], "{kind:?}");
    let dead = ground.get(victim()).await.unwrap();
    assert_eq!(
        (dead.state, dead.failures, dead.crashes),
        (State::Dead, 0, 3)
    );
    assert_eq!(dead.failure.unwrap().error, Failure::CRASHED);
    for other in others {
        assert_eq!(ground.log.begun_of(other.id()).await, [(1, 0)], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_workers_is_put_away_and_the_others_run() {
    tokio::join!(poison(Kind::Postgres), poison(Kind::Sqlite));
}

/// Waits until the worker was kept alive for longer than its lease.
async fn outlives_its_lease(ground: &Ground) {
    let expires_at = match ground.place.kind {
        Kind::Sqlite => "expires_at",
        _ => "(extract(epoch from expires_at) * 1e6)::bigint",
    };
    // Its expiry is the first of both: the other worker lives longer.
    let sql = format!("select min({expires_at}) from purlin_jobs_workers");
    let first = ground.count(&sql).await;
    let lease = i64::try_from(crate::SHORT_LEASE.as_micros()).unwrap();
    let begun = Instant::now();
    while ground.count(&sql).await < first + lease {
        assert!(begun.elapsed() < PATIENCE, "its heartbeats do not go on");
    }
}

/// Another worker looks for dead ones all the time, and finds none.
async fn is_not_taken_for_dead(kind: Kind, act: Act) {
    let Some(ground) = Ground::create(kind).await else {
        return;
    };
    ground.enqueue([victim_that(act)]).await;
    let orders = Orders::dying(&ground.place, None).with_slots(1);
    let orders = match act {
        Act::Block => orders.on_one_thread(),
        _ => orders,
    };
    let mut worker = Process::worker(&orders).await;
    worker
        .until(if act == Act::Exhaust {
            "exhausted"
        } else {
            "begun"
        })
        .await;
    let other = Process::worker(&Orders::worker(&ground.place)).await;
    ground.enqueue([job(Act::Work)]).await;
    outlives_its_lease(&ground).await;
    assert_eq!(
        ground.log.begun_of(victim()).await,
        [(1, 0)],
        "{kind:?} {act:?}"
    );
    match act {
        Act::Block => worker.unblock(),
        _ => worker.go_on(),
    }
    worker.until("done").await;
    ground.drained().await;
    worker.end().await;
    other.end().await;
    ground
        .check(&format!("{act:?} for longer than the lease"))
        .await;
    assert_eq!(
        ground.log.begun_of(victim()).await,
        [(1, 0)],
        "{kind:?} {act:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_blocks_the_only_thread() {
    let act = Act::Block;
    tokio::join!(
        is_not_taken_for_dead(Kind::Postgres, act),
        is_not_taken_for_dead(Kind::Sqlite, act)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_has_all_connections() {
    let act = Act::Exhaust;
    tokio::join!(
        is_not_taken_for_dead(Kind::Postgres, act),
        is_not_taken_for_dead(Kind::Sqlite, act)
    );
}
