//! Sessions of a worker that an administrator ends (`pg_terminate_backend`), each in turn.

use purlin_testkit::PostgresServer;
use tokio::time::Instant;

use crate::PATIENCE;
use crate::child::Orders;
use crate::ground::{Ground, Kind};
use crate::process::Process;
use crate::stops::Point;
use crate::work::{Act, job, victim, victim_that};

/// Waits until a session that does this waits for somebody's lock.
pub(crate) async fn waits_for_a_lock(ground: &Ground, what: &str) {
    let sql = format!(
        "select count(*) from pg_stat_activity where datname = current_database()
            and wait_event_type = 'Lock' and position('{what}' in query) > 0"
    );
    until(ground, &sql, 1).await;
}

async fn until(ground: &Ground, sql: &str, count: i64) {
    let begun = Instant::now();
    while ground.count(sql).await < count {
        assert!(
            begun.elapsed() < PATIENCE,
            "it does not come to this: {sql}"
        );
    }
}

/// Ends the sessions that did this last or are at it. Says how many, when they are gone.
async fn terminate(ground: &Ground, what: &str) -> i64 {
    let which = format!(
        "datname = current_database() and pid <> pg_backend_pid()
            and position('{what}' in query) > 0"
    );
    let sql =
        format!("select count(pg_terminate_backend(pid)) from pg_stat_activity where {which}");
    let ended = ground.count(&sql).await;
    let gone = format!("select 1 - least(count(*), 1) from pg_stat_activity where {which}");
    until(ground, &gone, 1).await;
    ended
}

const CLAIM: &str = "pg_advisory_xact_lock($8)";
const HEARTBEAT: &str = "set expires_at = ";
const LISTEN: &str = "LISTEN ";

/// The worker polls so rarely that what starts was heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_made_again() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let ground = Ground::on_postgres(server.url()).await;
    let orders = Orders::worker(&ground.place)
        .without_polling()
        .with_lease(crate::SHORT_LEASE)
        .stopping(Point::InHandler);
    let mut worker = Process::worker(&orders).await;
    ground.enqueue([victim_that(Act::Work)]).await;
    // It runs through all of this.
    worker.stopped().await;

    let begun = |id| format!("begun {id}");
    // Those of the pool, which nobody is at.
    let idle = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state = 'idle'
            and query like '%purlin_jobs%' and query not like '%set expires_at%'
            and query not like 'LISTEN %'";
    // They come to rest between two looks for dead workers.
    until(&ground, idle, 1).await;
    let after_idle = job(Act::Work);
    ground.enqueue([after_idle.clone()]).await;
    worker.until(&begun(after_idle.id())).await;

    // A claim under way.
    let mut lock = ground.open.begin().await;
    lock.execute("select from purlin_jobs_workers for update")
        .await;
    let after_claim = job(Act::Work);
    ground.enqueue([after_claim.clone()]).await;
    waits_for_a_lock(&ground, CLAIM).await;
    terminate(&ground, CLAIM).await;
    worker.until("event store_failed claim").await;
    drop(lock);
    worker.until(&begun(after_claim.id())).await;

    // A heartbeat under way.
    let mut lock = ground.open.begin().await;
    lock.execute("select from purlin_jobs_workers for update")
        .await;
    waits_for_a_lock(&ground, HEARTBEAT).await;
    assert_eq!(terminate(&ground, HEARTBEAT).await, 1);
    worker.until("event store_failed heartbeat").await;
    drop(lock);

    // The listening, and nobody can connect until a job was enqueued that it did not hear of.
    let accept = |accepts: bool| {
        format!(
            "update pg_database set datallowconn = {accepts} where datname = current_database()"
        )
    };
    ground.execute(&accept(false)).await;
    assert_eq!(terminate(&ground, LISTEN).await, 1);
    let in_the_gap = job(Act::Work);
    ground.enqueue([in_the_gap.clone()]).await;
    let listens = "select count(*) from pg_stat_activity
        where datname = current_database() and query like 'LISTEN %'";
    assert_eq!(ground.count(listens).await, 0);
    assert_eq!(ground.log.begun_of(in_the_gap.id()).await, []);
    ground.execute(&accept(true)).await;
    worker.until(&begun(in_the_gap.id())).await;
    assert_eq!(ground.count(listens).await, 1);
    // And is heard of again.
    let heard = job(Act::Work);
    ground.enqueue([heard.clone()]).await;
    worker.until(&begun(heard.id())).await;

    worker.go_on();
    worker.until("done").await;
    ground.drained().await;
    worker.end().await;
    ground
        .check("sessions terminated: claim, heartbeat, LISTEN")
        .await;
    assert_eq!(ground.log.begun_of(victim()).await, [(1, 0)]);
}

/// The net under what is not heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_them_again_and_again() {
    let Some(ground) = Ground::create(Kind::Postgres).await else {
        return;
    };
    let mut worker = Process::worker(&Orders::worker(&ground.place)).await;
    for _ in 0..10 {
        let jobs = [job(Act::Work), job(Act::Complete), job(Act::FailOnce)];
        let last = jobs[2].id();
        ground.enqueue(jobs).await;
        let all = "select count(pg_terminate_backend(pid)) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()
                and query like '%purlin_jobs%'";
        ground.count(all).await;
        worker.until(&format!("begun {last}")).await;
    }
    ground.drained().await;
    worker.end().await;
    ground.check("all sessions terminated, ten times").await;
}
