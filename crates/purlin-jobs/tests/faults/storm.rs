//! Workers that are killed one after the other, wherever they are, while jobs come.

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
        let mut killed = workers.remove(0);
        // Each is met somewhere else.
        for _ in 0..1 + 3 * round {
            killed.until("begun").await;
        }
        killed.kill(ground).await;
        workers.push(Process::worker(&orders).await);
    }
    ground.drained().await;
    for worker in workers {
        worker.end().await;
    }
    ground.check(name).await;
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
