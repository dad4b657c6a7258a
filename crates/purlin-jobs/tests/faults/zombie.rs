//! A worker that stands still (`SIGSTOP`) for longer than its lease, and goes on when another one has
//! its job.

use std::time::Duration;

use purlin_jobs::store::{Beat, Claim, Outcome, Settled, Settlement};
use purlin_jobs::{JobStore, LeaseId, Options, QueueName, Unique, WorkerId};
use purlin_store::StoreErrorKind;
use uuid::Uuid;

use crate::child::Orders;
use crate::ground::{Ground, Kind, Open};
use crate::process::Process;
use crate::stops::Point;
use crate::work::{Act, job, victim, victim_that};

/// What it is at when it is stopped, and goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Handler,
    Settlement,
    /// In a task that its handler has left behind.
    CompleteIn,
}

/// The only worker that there is.
async fn only_worker(ground: &Ground) -> WorkerId {
    let sql = "select id from purlin_jobs_workers";
    let id: Uuid = match &ground.open {
        Open::Postgres { pool, .. } => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        Open::Sqlite { pool, .. } => {
            let id: Vec<u8> = sqlx::query_scalar(sql).fetch_one(pool).await.unwrap();
            Uuid::from_slice(&id).unwrap()
        }
    };
    WorkerId::from_uuid(id)
}

async fn lease_of_victim(ground: &Ground) -> LeaseId {
    let lines = ground.log.lines().await;
    let claimed = lines.iter().rfind(|line| line.is("claimed", victim()));
    LeaseId::from_uuid(claimed.unwrap().lease.parse().unwrap())
}

/// Each call that a dead worker could make, by whoever makes it.
async fn nothing_is_taken_from(store: &dyn JobStore, worker: WorkerId, lease: LeaseId) {
    let ttl = Duration::from_secs(600);
    assert_eq!(store.heartbeat(worker, ttl).await.unwrap(), Beat::Lost);
    let claim = Claim {
        worker,
        lease: LeaseId::new(),
        queue: QueueName::DEFAULT,
        kinds: vec!["work".to_owned()],
        limit: 10,
    };
    let refused = store.claim(&claim).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Conflict);
    let claim = Claim { lease, ..claim };
    let refused = store.claim(&claim).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Conflict);
    let (after, error) = (Duration::ZERO, "late".to_owned());
    for outcome in [
        Outcome::Done,
        Outcome::Release,
        Outcome::Cancelled,
        Outcome::Snooze { after },
        Outcome::Discard {
            error: error.clone(),
        },
        Outcome::Retry { after, error },
    ] {
        let settlement = Settlement {
            id: victim(),
            outcome,
        };
        let settled = store.settle(lease, &[settlement]).await.unwrap();
        assert_eq!(settled, [Settled::Stale]);
    }
    store.leave(worker).await.unwrap();
}

async fn comes_back(kind: Kind, at: At) {
    let Some(ground) = Ground::create(kind).await else {
        return;
    };
    let act = match at {
        At::CompleteIn => Act::CompleteLater,
        At::Handler | At::Settlement => Act::Work,
    };
    let unique = |options: Options| options.with_unique(Unique::until_done("one at a time"));
    // And one that waits, which nobody may take.
    let later = job(Act::Work).with(|options| options.with_delay(Duration::from_secs(600)));
    ground
        .enqueue([victim_that(act).with(unique), later.clone()])
        .await;
    let stop = match at {
        At::Handler => Some(Point::InHandler),
        At::Settlement => Some(Point::Ended),
        At::CompleteIn => None,
    };
    let mut zombie = Process::worker(&Orders::dying(&ground.place, stop)).await;
    match at {
        At::CompleteIn => zombie.until("begun").await,
        At::Handler | At::Settlement => zombie.stopped().await,
    }
    let (worker, lease) = (only_worker(&ground).await, lease_of_victim(&ground).await);
    zombie.signal(&ground, "STOP").await;
    let mut heir = Process::worker(&Orders::worker(&ground.place).stopping(Point::InHandler)).await;
    heir.stopped().await;

    let before = ground.dump().await;
    let store = ground.open.store();
    nothing_is_taken_from(&*store, worker, lease).await;
    assert_eq!(ground.dump().await, before, "{kind:?} {at:?}: by any call");
    zombie.signal(&ground, "CONT").await;
    match at {
        At::Handler => zombie.until("told LeaseLost").await,
        At::Settlement => {
            zombie.go_on();
            zombie.until("stale").await;
        }
        At::CompleteIn => {
            zombie.until("told LeaseLost").await;
            zombie.go_on();
            zombie.until("completes false").await;
        }
    }
    assert_eq!(
        ground.dump().await,
        before,
        "{kind:?} {at:?}: by the worker"
    );
    heir.go_on();
    heir.until("ended").await;
    heir.end().await;
    // It goes on as another worker.
    ground.enqueue([job(Act::Work)]).await;
    assert!(ground.open.admin().cancel(later.id()).await.unwrap());
    ground.drained().await;
    zombie.end().await;
    let name = format!("SIGSTOP for longer than the lease, then SIGCONT, {at:?}");
    ground.check(&name).await;
    let begun = ground.log.begun_of(victim()).await;
    assert_eq!(begun, [(1, 0), (1, 1)], "{kind:?} {at:?}");
}

async fn each(kind: Kind) {
    let mut running = tokio::task::JoinSet::new();
    for at in [At::Handler, At::Settlement, At::CompleteIn] {
        running.spawn(comes_back(kind, at));
    }
    running.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    each(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    each(Kind::Sqlite).await;
}
