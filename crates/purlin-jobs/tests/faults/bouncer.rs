//! Everything through PgBouncer in transaction mode, with two sessions for all.

use purlin_testkit::{PgBouncer, PostgresServer};

use crate::child::Orders;
use crate::ground::{Ground, Kind, Place};
use crate::process::Process;
use crate::stops::Point;
use crate::storm::storm;
use crate::work::{Act, job, victim, victim_that};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_run_with_kill_9() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let Some(bouncer) = PgBouncer::start(&server) else {
        return;
    };
    let mut ground = Ground::on_postgres(server.url()).await;
    let place = Place {
        kind: Kind::PgBouncer,
        url: bouncer.url(),
        ..ground.place.clone()
    };
    ground.client = place.open(2).await;
    ground.place = place;
    let others = (0..10).map(|_| job(Act::FailOnce));
    ground
        .enqueue(std::iter::once(victim_that(Act::Complete)).chain(others))
        .await;
    let mut worker = Process::start(&Orders::dying(&ground.place, Some(Point::Joined)));
    worker.stopped().await;
    worker.kill(&ground).await;
    storm(&ground, "a whole run with kill -9").await;
    assert_eq!(ground.log.begun_of(victim()).await, [(1, 0), (1, 1)]);
}
