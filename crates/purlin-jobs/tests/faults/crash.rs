//! `kill -9` of a worker at each point of a job.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::child::Orders;
use crate::ground::{Ground, Kind, Open};
use crate::log::Line;
use crate::process::Process;
use crate::sessions::waits_for_a_lock;
use crate::stops::Point;
use crate::work::{Act, job, victim, victim_that};

/// How many cells run at a time.
const AT_A_TIME: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Cell {
    kind: Kind,
    point: Point,
}

impl Cell {
    /// The attempt and the crashes of each time that the job is begun.
    fn expected(self) -> &'static [(i64, i64)] {
        match (self.point, self.kind) {
            // It was not begun before.
            (Point::Claimed, _) => &[(1, 1)],
            // A statement that Postgres has is executed, whoever has sent it.
            (Point::Settling, Kind::Postgres) | (Point::Settled | Point::Committed, _) => &[(1, 0)],
            _ => &[(1, 0), (1, 1)],
        }
    }

    async fn run(self) {
        let Some(ground) = Ground::create(self.kind).await else {
            return;
        };
        let act = match self.point {
            Point::Joined | Point::Committed => Act::Complete,
            _ => Act::Work,
        };
        let others = (0..3).map(|_| job(Act::Work));
        ground
            .enqueue(std::iter::once(victim_that(act)).chain(others))
            .await;
        let mut worker = Process::start(&Orders::dying(&ground.place, Some(self.point)));
        worker.stopped().await;
        if self.point == Point::Settling {
            self.kill_in_settlement(worker, &ground).await;
        } else {
            worker.kill(&ground).await;
        }
        ground.finish(&format!("kill -9, {:?}", self.point)).await;
        let begun = ground.log.begun_of(victim()).await;
        assert_eq!(begun, self.expected(), "{self:?}");
        assert!(ground.get(victim()).await.is_none(), "{self:?}: done");
        rescued_after_the_kill(&ground.log.lines().await);
    }

    /// Holds what the settlement needs, so that it waits in the database.
    async fn kill_in_settlement(self, mut worker: Process, ground: &Ground) {
        let mut transaction = ground.open.begin().await;
        if let Open::Postgres { .. } = ground.open {
            transaction
                .execute("select from purlin_jobs_leases for update")
                .await;
        }
        worker.go_on();
        worker.until("settling").await;
        if let Open::Postgres { .. } = ground.open {
            waits_for_a_lock(ground, "purlin_jobs_leases").await;
        }
        worker.kill(ground).await;
        drop(transaction);
    }
}

/// Whoever begins it again does so after the other one was killed.
fn rescued_after_the_kill(lines: &[Line]) {
    let killed = lines.iter().find(|line| line.what == "fault").unwrap();
    for line in lines
        .iter()
        .filter(|line| line.what == "begun" && line.crashes > 0)
    {
        assert!(
            line.seq > killed.seq && line.process != killed.process,
            "{lines:#?}"
        );
    }
}

async fn matrix(kind: Kind) {
    let (at_a_time, mut running) = (Arc::new(Semaphore::new(AT_A_TIME)), JoinSet::new());
    for point in [
        Point::Claimed,
        Point::InHandler,
        Point::Ended,
        Point::Settling,
        Point::Settled,
        Point::Joined,
        Point::Committed,
    ] {
        let at_a_time = Arc::clone(&at_a_time);
        running.spawn(async move {
            let _permit = at_a_time.acquire().await.unwrap();
            Cell { kind, point }.run().await;
        });
    }
    running.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    matrix(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    matrix(Kind::Sqlite).await;
}
