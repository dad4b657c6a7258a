//! `kill -9` of whoever enqueues.

use std::collections::HashSet;

use crate::child::{MANY, Orders, Role};
use crate::ground::{Ground, Kind, Open};
use crate::process::Process;
use crate::stops::Point;
use crate::work::{Act, job, victim};

async fn killed_in_transaction(kind: Kind, point: Point) {
    let Some(ground) = Ground::create(kind).await else {
        return;
    };
    let orders = Orders::new(&ground.place, Role::EnqueuesIn).stopping(point);
    let mut process = Process::start(&orders);
    process.stopped().await;
    process.kill(&ground).await;
    let is_committed = point == Point::Committed;
    if is_committed {
        ground.log.enqueued([victim()]).await;
    } else {
        ground.log.rolled_back(victim()).await;
    }
    ground.enqueue((0..3).map(|_| job(Act::Work))).await;
    let name = format!("kill -9 in enqueue_in, {point:?}");
    ground.finish(&name).await;
    let begun = ground.log.begun_of(victim()).await;
    let expected: &[_] = if is_committed { &[(1, 0)] } else { &[] };
    assert_eq!(begun, expected, "{kind:?} {name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_committed_never_runs_and_what_was_does() {
    for kind in Kind::DIRECT {
        for point in [Point::Enqueued, Point::Committed] {
            killed_in_transaction(kind, point).await;
        }
    }
}

/// Waits until the sessions of dead processes have done what they were told.
async fn settled(ground: &Ground) {
    if let Open::Postgres { .. } = ground.open {
        let sql = "select count(*) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and state = 'active'";
        let begun = tokio::time::Instant::now();
        while ground.count(sql).await > 0 {
            assert!(begun.elapsed() < crate::PATIENCE, "sessions go on");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_jobs_are_there_all_or_none() {
    for kind in Kind::DIRECT {
        let Some(ground) = Ground::create(kind).await else {
            return;
        };
        let many = i64::try_from(MANY).unwrap();
        let table = match kind {
            Kind::Sqlite => "purlin_jobs",
            _ => "purlin_jobs_jobs",
        };
        let rounds = 5;
        for round in 0..rounds {
            let mut process = Process::start(&Orders::new(&ground.place, Role::EnqueuesMany));
            for _ in 0..round % 2 {
                process.until("enqueued").await;
            }
            process.until("enqueues").await;
            process.kill(&ground).await;
        }
        settled(&ground).await;
        let there = ground.count(&format!("select count(*) from {table}")).await;
        assert_eq!(there % many, 0, "{kind:?}: a part of a call");
        let lines = ground.log.lines().await;
        let confirmed = lines.iter().filter(|line| line.what == "enqueued").count();
        let confirmed = many * i64::try_from(confirmed).unwrap();
        let expected = confirmed..=confirmed + many * rounds;
        assert!(
            expected.contains(&there),
            "{kind:?}: {there} of {expected:?}"
        );
        ground.finish("kill -9 in enqueue_many").await;
        let lines = ground.log.lines().await;
        let begun = lines.iter().filter(|line| line.what == "begun");
        let run: HashSet<_> = begun.map(|line| &line.job).collect();
        assert_eq!(
            i64::try_from(run.len()).unwrap(),
            there,
            "{kind:?}: each is run"
        );
    }
}
