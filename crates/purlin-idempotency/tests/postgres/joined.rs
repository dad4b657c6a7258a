//! The end of a lease in the handler's own transaction.

use purlin_idempotency::store::{Claim, Claimed, Fenced, Lease, State};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost};

use crate::harness::{
    DAY, Db, MINUTE, acquired, answer, completion, existing, id, lease, write_effect,
};

/// A claim that takes over what it may.
fn reexecute(lease: &Lease) -> Claim {
    Claim::new(lease.id, MINUTE).with_lease_lost(LeaseLost::Reexecute)
}

#[tokio::test]
async fn work_and_completion_are_there_together() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    let lease = lease(&db.store, id).await;
    for commit in [false, true] {
        let mut transaction = db.pool.begin().await.unwrap();
        write_effect(&mut transaction, &id).await;
        let done = completion("done");
        for _ in 0..2 {
            let fenced = db.store.complete_in(&mut transaction, &lease, &done).await;
            assert_eq!(fenced.unwrap(), Fenced::Applied);
        }
        let state = db.store.get(&id).await.unwrap().unwrap().state;
        assert_eq!(state, State::InFlight { remaining: MINUTE });
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
            let state = db.store.get(&id).await.unwrap().unwrap().state;
            assert_eq!(state, State::InFlight { remaining: MINUTE });
        }
        assert_eq!(db.effects(&id).await, i64::from(commit));
    }
    assert_eq!(answer(&db.store, &id).await, Some("done".into()));
}

#[tokio::test]
async fn a_lease_that_was_lost_completes_nothing() {
    let Some(db) = Db::create().await else {
        return;
    };
    let late = lease(&db.store, id(1)).await;
    db.clock.advance(MINUTE);
    let current = acquired(db.store.claim(&reexecute(&late)).await.unwrap());
    assert_eq!(current.attempt, 2);

    let mut transaction = db.pool.begin().await.unwrap();
    let done = completion("late");
    let fenced = db.store.complete_in(&mut transaction, &late, &done).await;
    assert_eq!(fenced.unwrap(), Fenced::Lost);
    transaction.commit().await.unwrap();
    let found = db.store.get(&late.id).await.unwrap().unwrap();
    assert_eq!(found.state, State::InFlight { remaining: MINUTE });
}

/// With two connections, one of which is the handler's: who waited for its row would wait for ever.
#[tokio::test]
async fn a_takeover_does_not_wait_for_the_end_of_the_work() {
    let Some(db) = Db::with_connections(2).await else {
        return;
    };
    for commit in [true, false] {
        let id = id(commit);
        let lease = lease(&db.store, id).await;
        db.clock.advance(MINUTE);
        let mut transaction = db.pool.begin().await.unwrap();
        let done = completion("done");
        let fenced = db.store.complete_in(&mut transaction, &lease, &done).await;
        assert_eq!(fenced.unwrap(), Fenced::Applied);

        let found = existing(db.store.claim(&reexecute(&lease)).await.unwrap());
        assert!(matches!(found.state, State::InFlight { .. }), "{found:?}");
        if commit {
            transaction.commit().await.unwrap();
            let found = existing(db.store.claim(&reexecute(&lease)).await.unwrap());
            assert!(matches!(found.state, State::Completed { .. }));
        } else {
            transaction.rollback().await.unwrap();
            let next = acquired(db.store.claim(&reexecute(&lease)).await.unwrap());
            assert_eq!(next.attempt, 2);
        }
    }
}

/// The late owner of a record that has expired completes it while it is about to be deleted.
#[tokio::test]
async fn a_purge_does_not_wait_for_it_either() {
    let Some(db) = Db::with_connections(2).await else {
        return;
    };
    let lease = lease(&db.store, id(1)).await;
    db.clock.advance(DAY * 31);
    let mut transaction = db.pool.begin().await.unwrap();
    let done = completion("done");
    let fenced = db.store.complete_in(&mut transaction, &lease, &done).await;
    assert_eq!(fenced.unwrap(), Fenced::Applied);
    assert_eq!(db.store.purge_expired(10).await.unwrap(), 0);
    transaction.rollback().await.unwrap();
    assert_eq!(db.store.purge_expired(10).await.unwrap(), 1);
}

/// A record that is gone is made anew, and a claim meanwhile finds out what became of it.
#[tokio::test]
async fn the_record_may_be_gone() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    let lease = lease(&db.store, id).await;
    assert!(db.store.remove(&id).await.unwrap());
    let mut transaction = db.pool.begin().await.unwrap();
    let done = completion("done");
    let fenced = db.store.complete_in(&mut transaction, &lease, &done).await;
    assert_eq!(fenced.unwrap(), Fenced::Applied);
    let (store, claim) = (db.store.clone(), reexecute(&lease));
    let waiting = tokio::spawn(async move { store.claim(&claim).await.unwrap() });
    crate::inbox::until_somebody_waits(&db.pool).await;
    transaction.commit().await.unwrap();
    let Claimed::Existing(found) = waiting.await.unwrap() else {
        panic!("two owners");
    };
    assert!(matches!(found.state, State::Completed { .. }));
}
