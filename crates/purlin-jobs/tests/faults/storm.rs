//! Workers that are killed one after the other, wherever they are, while jobs come.

use tokio::time::Instant;

use crate::PATIENCE;
use crate::child::Orders;
use crate::ground::{Ground, Kind};
use crate::process::Process;
use crate::work::{Act, job};

/// How many workers are killed.
const KILLED: usize = 6;

pub(crate) async fn storm(ground: &Ground, name: &str) {
    let orders = Orders::dying(&ground.place, None).with_slots(8);
    let mut workers = vec![
        Process::worker(&orders).await,
        Process::worker(&orders).await,
    ];
    for round in 0..KILLED {
        let acts = [Act::Work, Act::FailOnce, Act::Complete];
        let jobs = (0..30).map(|n| job(acts[n % 3]));
        ground.enqueue(jobs).await;
        let killed = workers.remove(0);
        // Each is met somewhere else.
        ground.has_begun(1 + 3 * round).await;
        killed.kill(ground).await;
        workers.push(Process::worker(&orders).await);
    }
    ground.drained().await;
    for worker in workers {
        worker.end().await;
    }
    ground.check(name).await;
}

impl Ground {
    /// Waits until so many more attempts were begun.
    async fn has_begun(&self, more: usize) {
        let count = async || {
            self.log
                .lines()
                .await
                .iter()
                .filter(|line| line.what == "begun")
                .count()
        };
        let (enough, begun) = (count().await + more, Instant::now());
        while count().await < enough {
            assert!(begun.elapsed() < PATIENCE, "jobs are not begun");
        }
    }
}

async fn direct(kind: Kind) {
    if let Some(ground) = Ground::create(kind).await {
        storm(&ground, "workers killed while jobs come").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    direct(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    direct(Kind::Sqlite).await;
}
