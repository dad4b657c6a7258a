//! The transaction that work and record share.

use std::time::Duration;

use purlin_idempotency::store::TransactionalStore as _;
use purlin_idempotency::store::{Begun, Claim, Claimed, Fenced, Settled, State};
use purlin_idempotency::{IdempotencyStore as _, RequestTransaction};
use purlin_store::StoreErrorKind;
use sqlx::Connection as _;

use crate::harness::{
    DAY, Db, MINUTE, answer, completion, id, lease, shared, started, worked, write_effect,
};

#[tokio::test]
async fn work_and_record_are_there_together() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    let unit = worked(&db.store, &id).await;
    assert_eq!(db.effects(&id).await, 0);
    assert!(db.store.get(&id).await.unwrap().is_none());

    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert_eq!(db.effects(&id).await, 1);
    let Begun::Existing(existing) = db.store.begin(&id).await.unwrap() else {
        panic!("it is done");
    };
    assert_eq!(existing.attempt, 1);
    assert_eq!(existing.fingerprint, Some(crate::harness::fingerprint(1)));
    assert_eq!(
        existing.state,
        State::Completed {
            answer: "done".into(),
            remaining: DAY
        }
    );
}

#[tokio::test]
async fn what_is_not_committed_leaves_nothing() {
    let Some(db) = Db::with_connections(1).await else {
        return;
    };
    let id = id(1);
    worked(&db.store, &id).await.roll_back().await.unwrap();
    drop(worked(&db.store, &id).await);
    let unit = worked(&db.store, &id).await;
    drop(unit);
    assert_eq!(db.effects(&id).await, 0);
    assert!(db.store.get(&id).await.unwrap().is_none());
    started(&db.store, &id).await.roll_back().await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_kept_without_the_work() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    let unit = worked(&db.store, &id).await;
    let settled = unit.refuse(&completion("no")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert_eq!(db.effects(&id).await, 0);
    assert_eq!(answer(&db.store, &id).await, Some("no".into()));
}

/// Also after a statement of the handler's has failed, which ends its transaction for everything else.
#[tokio::test]
async fn an_aborted_transaction_is_never_committed_and_may_be_refused() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    let break_it = async |transaction: &mut RequestTransaction<_>| {
        write_effect(transaction, &id).await;
        let failed = sqlx::raw_sql("select 1 / 0").execute(&mut **transaction);
        assert!(failed.await.is_err());
    };
    let mut unit = started(&db.store, &id).await;
    break_it(&mut shared(&mut *unit)).await;
    let error = unit.commit(&completion("done")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error:?}");
    assert_eq!(
        (error.store(), error.operation()),
        ("postgres", Some("commit"))
    );
    assert!(db.store.get(&id).await.unwrap().is_none());

    let mut unit = started(&db.store, &id).await;
    break_it(&mut shared(&mut *unit)).await;
    let settled = unit.refuse(&completion("no")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert_eq!(answer(&db.store, &id).await, Some("no".into()));
    assert_eq!(db.effects(&id).await, 0);
}

/// Such a constraint is checked by `COMMIT`, after the record was added.
#[tokio::test]
async fn a_deferred_constraint_takes_the_record_along() {
    let Some(db) = Db::create().await else {
        return;
    };
    sqlx::raw_sql("alter table effects add unique (id) deferrable initially deferred")
        .execute(&db.pool)
        .await
        .unwrap();
    let id = id(1);
    let mut unit = worked(&db.store, &id).await;
    write_effect(&mut shared(&mut *unit), &id).await;
    let error = unit.commit(&completion("done")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error:?}");
    assert_eq!(db.effects(&id).await, 0);
    assert!(db.store.get(&id).await.unwrap().is_none());
}

/// What follows would be two commits: the record could be there without the work.
#[tokio::test]
async fn a_handler_that_ends_the_transaction_itself_is_found_out() {
    let Some(db) = Db::create().await else {
        return;
    };
    for (key, sql) in ["rollback", "commit", "commit and chain", "rollback; begin"]
        .into_iter()
        .enumerate()
    {
        let id = id(key);
        let mut unit = worked(&db.store, &id).await;
        sqlx::raw_sql(sql)
            .execute(&mut *shared(&mut *unit))
            .await
            .unwrap();
        let error = unit.commit(&completion("done")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Refused, "{sql}: {error:?}");
        assert!(db.store.get(&id).await.unwrap().is_none(), "{sql}");
    }
}

#[tokio::test]
async fn a_transaction_that_the_handler_keeps_is_not_committed() {
    let Some(db) = Db::with_connections(2).await else {
        return;
    };
    let id = id(1);
    for refuse in [false, true] {
        let mut unit = started(&db.store, &id).await;
        let mut kept = shared(&mut *unit);
        write_effect(&mut kept, &id).await;
        let settled = if refuse {
            unit.refuse(&completion("no")).await.unwrap()
        } else {
            unit.commit(&completion("done")).await.unwrap()
        };
        assert_eq!(settled, Settled::NotReturned);
        // Until it lets go, others find it at work.
        assert!(matches!(db.store.begin(&id).await.unwrap(), Begun::Busy));
        drop(kept);
        // Both connections: it has come back and is rolled back.
        drop((
            db.pool.acquire().await.unwrap(),
            db.pool.acquire().await.unwrap(),
        ));
        assert_eq!(db.effects(&id).await, 0);
        assert!(db.store.get(&id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn savepoints_of_the_handler_work() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    let mut unit = started(&db.store, &id).await;
    let mut transaction = shared(&mut *unit);
    for keep in [true, false, true] {
        let mut savepoint = transaction.begin().await.unwrap();
        write_effect(&mut savepoint, &id).await;
        if keep {
            savepoint.commit().await.unwrap();
        }
    }
    drop(transaction);
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert_eq!(db.effects(&id).await, 2);
}

#[tokio::test]
async fn who_comes_second_loses_and_leaves_nothing() {
    let Some(db) = Db::create().await else {
        return;
    };
    for (key, refuse) in [(1, false), (2, true)] {
        let id = id(key);
        let unit = worked(&db.store, &id).await;
        // By the other guarantee, which does not look at the lock.
        let other = lease(&db.store, id).await;
        let settled = if refuse {
            unit.refuse(&completion("no")).await.unwrap()
        } else {
            unit.commit(&completion("done")).await.unwrap()
        };
        assert_eq!(settled, Settled::Lost);
        assert_eq!(db.effects(&id).await, 0);
        let state = db.store.get(&id).await.unwrap().unwrap().state;
        assert_eq!(state, State::InFlight { remaining: MINUTE });
        let done = db.store.complete(&other, &completion("other")).await;
        assert_eq!(done.unwrap(), Fenced::Applied);
    }
}

#[tokio::test]
async fn an_expired_record_is_overwritten() {
    let Some(db) = Db::create().await else {
        return;
    };
    for (key, refuse) in [(1, false), (2, true)] {
        let id = id(key);
        for (round, text) in ["first", "second"].into_iter().enumerate() {
            let unit = worked(&db.store, &id).await;
            let settled = if refuse {
                unit.refuse(&completion(text)).await.unwrap()
            } else {
                unit.commit(&completion(text)).await.unwrap()
            };
            assert_eq!(settled, Settled::Applied, "round {round}");
            assert_eq!(answer(&db.store, &id).await, Some(text.into()));
            db.clock.advance(DAY);
        }
    }
}

/// A lapsed lease is a record too: what became of its work is not known.
#[tokio::test]
async fn what_is_leased_or_lapsed_is_not_begun() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    lease(&db.store, id).await;
    for expected in [State::InFlight { remaining: MINUTE }, State::Lapsed] {
        let Begun::Existing(existing) = db.store.begin(&id).await.unwrap() else {
            panic!("it is claimed");
        };
        assert_eq!(existing.state, expected);
        db.clock.advance(MINUTE);
    }
}

#[tokio::test]
async fn the_text_of_begin_may_set_limits() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    let store = db
        .store
        .clone()
        .with_begin("begin; set local statement_timeout = '4567ms'")
        .with_timeout(Duration::MAX);
    let mut unit = started(&store, &id).await;
    let limit: String = sqlx::query_scalar("show statement_timeout")
        .fetch_one(&mut *shared(&mut *unit))
        .await
        .unwrap();
    assert_eq!(limit, "4567ms");
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
}

#[tokio::test]
async fn a_claim_does_not_wait_for_a_unit_of_work() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    let unit = worked(&db.store, &id).await;
    let claimed = db.store.claim(&Claim::new(id, MINUTE)).await.unwrap();
    assert!(matches!(claimed, Claimed::Acquired(_)));
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Lost);
}
