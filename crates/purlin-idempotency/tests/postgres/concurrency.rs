//! Many at once.

use purlin_idempotency::store::TransactionalStore as _;
use purlin_idempotency::store::{Begun, Claim, Claimed, Existing, Fenced, Settled, State};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost, PostgresStore, RecordId};

use crate::harness::{Db, MINUTE, answer, completion, id, lease, worked};

/// 1,000 claims at once: the attempts that were acquired, and what the others were told.
async fn storm(store: &PostgresStore, id: RecordId) -> (Vec<u64>, Vec<Existing>) {
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let store = store.clone();
            let claim = Claim::new(id, MINUTE).with_lease_lost(LeaseLost::Reexecute);
            tokio::spawn(async move { store.claim(&claim).await.unwrap() })
        })
        .collect();
    let (mut won, mut lost) = (vec![], vec![]);
    for task in tasks {
        match task.await.unwrap() {
            Claimed::Acquired(lease) => won.push(lease.attempt),
            Claimed::Existing(existing) => lost.push(existing),
        }
    }
    (won, lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_claims_one_wins() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    for (case, attempt) in [("new", 1), ("lapsed", 2), ("expired", 1), ("completed", 0)] {
        match case {
            "lapsed" => db.clock.advance(MINUTE),
            "expired" => db.clock.advance(MINUTE * 60 * 24 * 31),
            "completed" => {
                let _ = db.store.remove(&id).await.unwrap();
                let lease = lease(&db.store, id).await;
                let done = db.store.complete(&lease, &completion("done")).await;
                assert_eq!(done.unwrap(), Fenced::Applied);
            }
            _ => {}
        }
        let (won, lost) = storm(&db.store, id).await;
        let winners = if attempt > 0 { vec![attempt] } else { vec![] };
        assert_eq!(won, winners, "{case}");
        for other in lost {
            match other.state {
                State::InFlight { .. } => assert_ne!(case, "completed"),
                State::Completed { .. } => assert_eq!(case, "completed"),
                State::Lapsed => panic!("{case}: {other:?}"),
            }
        }
    }
}

/// With two connections one is the handler's, and all duplicates share the other: who waited for the
/// handler would wait for ever.
#[tokio::test]
async fn duplicates_of_a_running_unit_of_work_are_told_at_once() {
    let Some(db) = Db::with_connections(2).await else {
        return;
    };
    let id = id(1);
    let unit = worked(&db.store, &id).await;
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let store = db.store.clone();
            tokio::spawn(async move { store.begin(&id).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Begun::Busy));
    }
    assert_eq!(
        unit.commit(&completion("done")).await.unwrap(),
        Settled::Applied
    );
    assert!(matches!(
        db.store.begin(&id).await.unwrap(),
        Begun::Existing(_)
    ));
    assert_eq!(db.effects(&id).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_units_of_work_one_commits() {
    let Some(db) = Db::create().await else {
        return;
    };
    for round in 0..20 {
        let id = id(round);
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let store = db.store.clone();
                tokio::spawn(async move {
                    match store.begin(&id).await.unwrap() {
                        Begun::Started(mut unit) => {
                            let mut transaction = crate::harness::shared(&mut *unit);
                            crate::harness::write_effect(&mut transaction, &id).await;
                            drop(transaction);
                            let settled = unit.commit(&completion("done")).await.unwrap();
                            u32::from(settled == Settled::Applied)
                        }
                        Begun::Busy | Begun::Existing(_) => 0,
                    }
                })
            })
            .collect();
        let mut applied = 0;
        for task in tasks {
            applied += task.await.unwrap();
        }
        assert_eq!(applied, 1);
        assert_eq!(db.effects(&id).await, 1);
        assert!(answer(&db.store, &id).await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_purge_and_erase_at_once() {
    let Some(db) = Db::create().await else {
        return;
    };
    for key in 0..200 {
        let lease = lease(&db.store, id(key)).await;
        let done = db.store.complete(&lease, &completion("done")).await;
        assert_eq!(done.unwrap(), Fenced::Applied);
    }
    let scope = id(0).scope();
    let all = async |purge: bool| {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let store = db.store.clone();
                tokio::spawn(async move {
                    let mut count = 0;
                    for _ in 0..10 {
                        count += if purge {
                            store.purge_expired(10).await.unwrap()
                        } else {
                            store.erase_scope(&scope).await.unwrap()
                        };
                    }
                    count
                })
            })
            .collect();
        let mut count = 0;
        for task in tasks {
            count += task.await.unwrap();
        }
        count
    };
    assert_eq!(all(false).await, 200);
    db.clock.advance(crate::harness::DAY);
    assert_eq!(all(true).await, 200);
}
