//! A release beside tables of the next one.

use std::error::Error as _;

use purlin_store::{SchemaError, StoreErrorKind};

use crate::ground::{Ground, Kind, Open};
use crate::work::{Act, job, victim_that};

const LATEST: &str = "select cast(max(version) as bigint) from purlin_jobs_migrations";

/// As a migration of the next release does it. Says its version.
async fn step(ground: &Ground, sql: &str, compatible_from: i64) -> i64 {
    let version = 1 + ground.count(LATEST).await;
    let row = format!(
        "insert into purlin_jobs_migrations (version, name, compatible_from, checksum)
        values ({version}, 'next', {compatible_from}, 'next')"
    );
    ground.execute(&format!("{sql}; {row}")).await;
    version
}

async fn check_schema(open: &Open) -> Result<(), purlin_store::StoreError> {
    match open {
        Open::Postgres { store, .. } => store.check_schema().await,
        Open::Sqlite { store, .. } => store.check_schema().await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_were_expanded_are_worked_with_and_others_refused() {
    for kind in Kind::DIRECT {
        let Some(ground) = Ground::create(kind).await else {
            return;
        };
        let tables = match kind {
            Kind::Sqlite => ["", "_ready", "_scheduled", "_workers", "_leases", "_unique"],
            _ => [
                "_jobs",
                "_ready",
                "_scheduled",
                "_workers",
                "_leases",
                "_unique",
            ],
        };
        // By a worker of this release that was there before, and by one that comes after.
        ground.enqueue([victim_that(Act::FailOnce)]).await;
        let orders = crate::child::Orders::worker(&ground.place);
        let mut before = crate::process::Process::worker(&orders).await;
        before.until("done").await;
        let columns = tables.map(|table| {
            format!("alter table purlin_jobs{table} add column new_in_the_next text default 'x'")
        });
        let expand = format!(
            "{}; create table purlin_jobs_next (id integer)",
            columns.join("; ")
        );
        let known = ground.count(LATEST).await;
        let next = step(&ground, &expand, known).await;
        check_schema(&ground.open).await.unwrap();
        let late = job(Act::FailOnce);
        ground
            .enqueue([late.clone(), job(Act::Complete), job(Act::Work)])
            .await;
        before.until(&format!("begun {}", late.id())).await;
        ground.drained().await;
        before.end().await;
        ground
            .enqueue([job(Act::FailOnce), job(Act::Complete)])
            .await;
        ground
            .finish("tables of the next release, compatible")
            .await;

        step(&ground, "drop table purlin_jobs_next", next).await;
        let error = check_schema(&ground.open).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Schema, "{error:?}");
        let reason = error.source().and_then(|source| source.downcast_ref());
        assert!(
            matches!(reason, Some(SchemaError::TooNew { needed, .. }) if i64::from(*needed) == next),
            "{kind:?}: {error:?}"
        );
    }
}
