//! Postgres servers that die, end and freeze under a worker, and come back.

use std::time::Duration;

use purlin_testkit::PostgresServer;

use crate::child::Orders;
use crate::ground::Ground;
use crate::log::Fault;
use crate::process::Process;
use crate::stops::Point;
use crate::work::{Act, job, victim, victim_that};

/// The worker outlives it: what has ended meanwhile is settled later, and nothing runs again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_started_again_has_lost_nothing() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let ground = Ground::on_postgres(server.url()).await;
    let others = (0..20).map(|_| job(Act::FailOnce));
    ground
        .enqueue(std::iter::once(victim_that(Act::Work)).chain(others))
        .await;
    let orders = Orders::worker(&ground.place).stopping(Point::InHandler);
    let mut worker = Process::worker(&orders).await;
    worker.stopped().await;
    server.abort();
    worker.go_on();
    worker.until(&format!("ended {}", victim())).await;
    server.restart();
    worker.until("done").await;
    ground.drained().await;

    let held = job(Act::Hold);
    ground.enqueue([held.clone(), job(Act::Work)]).await;
    worker.until(&format!("begun {}", held.id())).await;
    server.kill();
    worker.go_on();
    worker.until(&format!("ended {}", held.id())).await;
    server.restart();
    ground.drained().await;
    worker.end().await;
    ground
        .check("server restarted, immediately and after kill -9, while jobs run")
        .await;
    for id in [victim(), held.id()] {
        assert_eq!(ground.log.begun_of(id).await, [(1, 0)]);
    }
}

/// The worker drops its jobs before anybody else can have them, and goes on as another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_freezes_for_longer_than_the_lease() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let ground = Ground::on_postgres(server.url()).await;
    ground.enqueue([victim_that(Act::Work)]).await;
    let mut worker = Process::worker(&Orders::dying(&ground.place, Some(Point::InHandler))).await;
    worker.stopped().await;
    server.freeze();
    worker.until("event lease_lost").await;
    worker.until("told LeaseLost").await;
    // As long as the fault lasts: its clock goes on.
    tokio::time::sleep(crate::SHORT_LEASE + Duration::from_secs(1)).await;
    let seen = ground.log.begun_of(victim()).await;
    assert_eq!(
        seen,
        [(1, 0)],
        "nobody has it while the server is not there"
    );
    server.thaw();
    ground.log.fault(0, Fault::Stopped).await;
    worker.until("done").await;
    ground.enqueue([job(Act::Work)]).await;
    ground.drained().await;
    worker.end().await;
    ground
        .check("server frozen for longer than the lease")
        .await;
    assert_eq!(ground.log.begun_of(victim()).await, [(1, 0), (1, 1)]);
}
