use std::sync::Arc;
use std::time::Duration;

use purlin_idempotency::store::{Claim, Claimed, Completion, Fenced, State};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost};
use purlin_store::StoreErrorKind;
use purlin_store::sqlite::begin_immediate;
use tokio::sync::Barrier;

use crate::harness::{
    HOUR, MINUTE, acquire, answer, completion, existing, fingerprint, id, id_in, impatient, place,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_1_000_claims_at_once_one_wins() {
    let place = place().await;
    let barrier = Arc::new(Barrier::new(1_000));
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let (store, barrier) = (place.store.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                let claim = Claim::new(id(1), MINUTE);
                barrier.wait().await;
                store.claim(&claim).await.unwrap()
            })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        match task.await.unwrap() {
            Claimed::Acquired(_) => winners += 1,
            Claimed::Existing(existing) => {
                assert!(matches!(existing.state, State::InFlight { .. }));
            }
        }
    }
    assert_eq!(winners, 1);
}

/// The statement judges what the read has let through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_takeovers_at_once_one_wins() {
    let place = place().await;
    acquire(&place.store, id(1)).await;
    place.clock.advance(MINUTE);
    let barrier = Arc::new(Barrier::new(100));
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (store, barrier) = (place.store.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                let claim = Claim::new(id(1), MINUTE).with_lease_lost(LeaseLost::Reexecute);
                barrier.wait().await;
                store.claim(&claim).await.unwrap()
            })
        })
        .collect();
    let mut attempts = Vec::new();
    for task in tasks {
        if let Claimed::Acquired(lease) = task.await.unwrap() {
            attempts.push(lease.attempt);
        }
    }
    assert_eq!(attempts, [2]);
}

#[tokio::test]
async fn what_only_reads_does_not_wait_for_a_writer() {
    let place = place().await;
    let lease = acquire(&place.store, id(1)).await;
    let _ = place
        .store
        .complete(&lease, &completion("done"))
        .await
        .unwrap();
    acquire(&place.store, id(2)).await;

    let impatient = impatient(&place).await;
    let writer = begin_immediate(&place.pool).await.unwrap();
    assert_eq!(answer(&impatient, &id(1)).await.as_deref(), Some("done"));
    for n in [1, 2] {
        existing(impatient.claim(&Claim::new(id(n), MINUTE)).await.unwrap());
    }
    let error = impatient.claim(&Claim::new(id(3), MINUTE)).await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Conflict);
    writer.rollback().await.unwrap();
    acquire(&impatient, id(3)).await;
}

/// SQLite commits a statement at its end, which comes after the row that it returns.
#[tokio::test]
async fn a_commit_that_fails_is_no_claim() {
    let place = place().await;
    sqlx::raw_sql(
        "create table target (id integer primary key);
         create table reference (to_none integer references target deferrable initially deferred);
         create trigger breaks_the_commit after insert on purlin_idempotency
         begin insert into reference values (1); end",
    )
    .execute(&place.pool)
    .await
    .unwrap();
    let claimed = place.store.claim(&Claim::new(id(1), MINUTE)).await;
    assert_eq!(claimed.unwrap_err().kind(), StoreErrorKind::Refused);
    assert_eq!(place.store.get(&id(1)).await.unwrap(), None);
}

#[tokio::test]
async fn erasing_finds_one_scope_and_purging_keeps_to_its_limit() {
    let place = place().await;
    for n in 0..10 {
        for scope in ["a", "b"] {
            let lease = acquire(&place.store, id_in(scope, n)).await;
            let _ = place
                .store
                .complete(&lease, &completion("x"))
                .await
                .unwrap();
        }
    }
    let in_flight = acquire(&place.store, id_in("a", 10)).await;
    let scope = id_in("a", 0).scope();
    assert_eq!(place.store.erase_scope(&scope).await.unwrap(), 10);
    assert_eq!(place.store.erase_scope(&scope).await.unwrap(), 0);
    let bytes: (i64, i64, i64) = sqlx::query_as(
        "select count(*), count(answer), count(fingerprint) from purlin_idempotency where scope = ?",
    )
    .bind(&scope.as_bytes()[..])
    .fetch_one(&place.pool)
    .await
    .unwrap();
    assert_eq!(bytes, (11, 0, 0));
    let erased = answer(&place.store, &id_in("a", 3)).await;
    assert_eq!(erased.as_deref(), Some(""));
    let kept = answer(&place.store, &id_in("b", 3)).await;
    assert_eq!(kept.as_deref(), Some("x"));

    assert_eq!(place.store.purge_expired(100).await.unwrap(), 0);
    place.clock.advance(HOUR);
    let mut purged = Vec::new();
    for _ in 0..4 {
        purged.push(place.store.purge_expired(7).await.unwrap());
    }
    assert_eq!(purged, [7, 7, 6, 0]);
    // Its lease has lapsed, and what became of it is still to be found out.
    let left = place.store.get(&in_flight.id).await.unwrap().unwrap();
    assert_eq!(left.state, State::Lapsed);
}

#[tokio::test]
async fn any_answer_and_any_duration() {
    let place = place().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let claim = Claim::new(id(1), Duration::MAX).with_unresolved_ttl(Duration::MAX);
    let Claimed::Acquired(lease) = place.store.claim(&claim).await.unwrap() else {
        panic!("nothing stands in the way");
    };
    let fenced = place.store.extend(&lease, Duration::MAX).await.unwrap();
    assert_eq!(fenced, Fenced::Applied);
    let completion = Completion::new(fingerprint(1), bytes.clone().into(), Duration::MAX);
    let fenced = place.store.complete(&lease, &completion).await.unwrap();
    assert_eq!(fenced, Fenced::Applied);
    let found = place.store.get(&id(1)).await.unwrap().unwrap();
    assert!(matches!(found.state, State::Completed { answer, .. } if answer == bytes));
    place.store.purge_expired(u32::MAX).await.unwrap();
    assert!(place.store.remove(&id(1)).await.unwrap());
}

#[tokio::test]
async fn an_error_names_the_store_the_operation_and_the_time() {
    let place = place().await;
    let impatient = place.store.clone().with_timeout(Duration::ZERO);
    let error = impatient.get(&id(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout);
    assert_eq!((error.store(), error.operation()), ("sqlite", Some("get")));
    assert!(error.tried_for().is_some());
}
