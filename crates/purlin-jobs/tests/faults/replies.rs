//! Replies that are lost on their way, after the server has acted.

use purlin_jobs::store::Enqueued;
use purlin_jobs::{Jobs, PostgresStore};
use purlin_testkit::FaultProxy;

use crate::child::Orders;
use crate::ground::{Ground, Kind, Open, Place, Transaction};
use crate::process::Process;
use crate::sessions::waits_for_a_lock;
use crate::stops::Point;
use crate::work::{Act, job, victim, victim_that};

struct Cut {
    ground: Ground,
    proxy: FaultProxy,
    place: Place,
}

impl Cut {
    async fn create() -> Option<Self> {
        let ground = Ground::create(Kind::Postgres).await?;
        let proxy = FaultProxy::before(&ground.place.url).await;
        let place = Place {
            url: proxy.url(&ground.place.url),
            ..ground.place.clone()
        };
        Some(Self {
            ground,
            proxy,
            place,
        })
    }

    async fn jobs(&self) -> Jobs<PostgresStore> {
        match self.place.open(1).await {
            Open::Postgres { store, .. } => Jobs::new(store),
            Open::Sqlite { .. } => unreachable!("it is Postgres"),
        }
    }
}

/// Whoever does not know whether a job is there enqueues it again under its id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_enqueue_was_not_answered_is_there_once() {
    let (mut new, mut existing) = (0, 0);
    // Some of them are to what a pool asks of its own, and to what prepares the statement.
    for reply in 1..=8 {
        let Some(cut) = Cut::create().await else {
            return;
        };
        let jobs = cut.jobs().await;
        cut.proxy.cut_in_reply(reply);
        let first = jobs.enqueue(victim_that(Act::Work)).await;
        cut.proxy.pass();
        let again = jobs.enqueue(victim_that(Act::Work)).await.unwrap();
        match (first.is_err(), again) {
            (true, Enqueued::New(_)) => new += 1,
            (true, _) => existing += 1,
            (false, again) => {
                assert_eq!(again, Enqueued::Existing(victim()));
                continue;
            }
        }
        cut.ground.log.enqueued([victim()]).await;
        let name = format!("connection cut in reply {reply} to an enqueue, tried again");
        cut.ground.finish(&name).await;
        assert_eq!(cut.ground.log.begun_of(victim()).await, [(1, 0)], "{name}");
    }
    assert!(new > 0 && existing > 0, "{new} new, {existing} were there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_commit_was_not_answered_is_there_once() {
    let Some(cut) = Cut::create().await else {
        return;
    };
    let open = cut.place.open(1).await;
    let mut transaction = open.begin().await;
    transaction.enqueue(victim_that(Act::Work)).await;
    let Transaction::Postgres { inner, .. } = transaction else {
        unreachable!("it is Postgres");
    };
    cut.proxy.hold_replies();
    let commit = tokio::spawn(inner.commit());
    cut.proxy.held().await;
    cut.proxy.cut();
    assert!(commit.await.unwrap().is_err(), "its outcome is not known");
    cut.proxy.pass();
    let again = cut
        .jobs()
        .await
        .enqueue(victim_that(Act::Work))
        .await
        .unwrap();
    assert_eq!(again, Enqueued::Existing(victim()));
    cut.ground.log.enqueued([victim()]).await;
    cut.ground
        .finish("connection cut in the reply to COMMIT, tried again")
        .await;
    assert_eq!(cut.ground.log.begun_of(victim()).await, [(1, 0)]);
}

/// The worker does not know whether the store has taken it, and says it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_that_was_not_answered_is_repeated() {
    let Some(cut) = Cut::create().await else {
        return;
    };
    let ground = &cut.ground;
    ground.enqueue([victim_that(Act::Work)]).await;
    let orders = Orders::worker(&cut.place).stopping(Point::Ended);
    let mut worker = Process::worker(&orders).await;
    worker.stopped().await;
    let mut lock = ground.open.begin().await;
    lock.execute("select from purlin_jobs_leases for update")
        .await;
    worker.go_on();
    waits_for_a_lock(ground, "purlin_jobs_leases").await;
    // All its connections; the server goes on with what it has.
    cut.proxy.cut();
    worker.until("event store_failed settle").await;
    drop(lock);
    // It is stale by then, and the worker tells it as what it is.
    worker.until("stale").await;
    worker.until("done").await;
    ground.enqueue([job(Act::Work)]).await;
    ground.drained().await;
    worker.end().await;
    ground
        .check("connections cut in a settlement, which is repeated")
        .await;
    assert_eq!(ground.log.begun_of(victim()).await, [(1, 0)]);
}
