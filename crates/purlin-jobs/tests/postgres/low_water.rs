//! Claims begin where the last one ended, and overlook nothing for that.

use purlin_jobs::{JobStore as _, PostgresStore, Priority};

use crate::harness::{Db, claim, job, job_with, worker};

fn urgent() -> purlin_jobs::store::Entry {
    job_with(|options| options.with_priority(Priority::URGENT))
}

#[tokio::test]
async fn what_came_before_the_mark_is_found_by_a_claim_that_finds_too_few() {
    let Some(db) = Db::create().await else {
        return;
    };
    let elsewhere = PostgresStore::new(db.pool.clone()).with_clock(db.clock.clone());
    let own = worker(&db.store).await;
    for left in [0, 1] {
        db.store.enqueue(&[job(), job()]).await.unwrap();
        claim(&db.store, own, 2 - left).await;
        let late = urgent();
        elsewhere
            .enqueue(std::slice::from_ref(&late))
            .await
            .unwrap();
        let mut found = Vec::new();
        for _ in 0..=left {
            found.extend(claim(&db.store, own, 5).await.1);
        }
        assert!(found.iter().any(|job| job.id == late.id), "{left} left");
    }
}

#[tokio::test]
async fn what_this_store_adds_is_never_overlooked() {
    let Some(db) = Db::create().await else {
        return;
    };
    let own = worker(&db.store).await;
    db.store.enqueue(&[job(), job()]).await.unwrap();
    claim(&db.store, own, 1).await;
    let late = urgent();
    db.store.enqueue(std::slice::from_ref(&late)).await.unwrap();
    assert_eq!(claim(&db.store, own, 1).await.1[0].id, late.id);
}
