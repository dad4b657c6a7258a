//! Every short history of calls has the same results as the reference of all stores.

use std::time::Duration;

use bytes::Bytes;
use purlin_idempotency::store::{Claim, Completion, Entry, Fenced, Lease};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost, PostgresStore};
use purlin_store::Clock as _;

use crate::harness::{Db, MINUTE, clock, fingerprint, id_of, lease};
use crate::short_histories::{LEASE, OPS, Op, UNRESOLVED, run};

async fn compare(store: &PostgresStore, history: &[Op], name: &str) {
    let clock = clock();
    let store = store.clone().with_clock(clock.clone());
    run(&store, &clock, history, name).await;
}

#[tokio::test]
async fn every_history_of_three_calls_is_that_of_the_reference() {
    let Some(db) = Db::create().await else {
        return;
    };
    let tasks: Vec<_> = OPS
        .iter()
        .enumerate()
        .map(|(a, first)| {
            let store = db.store.clone();
            tokio::spawn(async move {
                for (b, second) in OPS.iter().enumerate() {
                    for (c, third) in OPS.iter().enumerate() {
                        let name = format!("{a} {b} {c}");
                        compare(&store, &[*first, *second, *third], &name).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Longer ones, that begin with what three calls do not reach.
#[tokio::test]
async fn histories_after_a_lapse_a_takeover_and_a_completion() {
    let Some(db) = Db::create().await else {
        return;
    };
    let claim = Op::Claim(0, Some(1), LeaseLost::Reexecute);
    let again = Op::Claim(1, Some(1), LeaseLost::Reexecute);
    let beginnings: [&[Op]; 6] = [
        &[claim, Op::Advance(LEASE)],
        &[claim, Op::Advance(LEASE), again],
        &[claim, Op::Complete(0)],
        &[claim, Op::Complete(0), Op::Erase],
        &[claim, Op::Advance(LEASE), again, Op::Advance(UNRESOLVED)],
        &[
            claim,
            Op::Extend(0),
            Op::Advance(UNRESOLVED - LEASE / 2),
            Op::Extend(0),
        ],
    ];
    let mut tasks = vec![];
    for (number, beginning) in beginnings.into_iter().enumerate() {
        let beginning = beginning.to_vec();
        let store = db.store.clone();
        tasks.push(tokio::spawn(async move {
            for (a, first) in OPS.iter().enumerate() {
                for (b, second) in OPS.iter().enumerate() {
                    let history = [&*beginning, &[*first, *second]].concat();
                    compare(&store, &history, &format!("{number} {a} {b}")).await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn the_longest_durations_and_the_largest_attempt() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id_of("forever", 1);
    let claim = Claim::new(id, Duration::MAX).with_unresolved_ttl(Duration::MAX);
    let claimed = db.store.claim(&claim).await.unwrap();
    let mut slot = None;
    let expected = Entry::claim(&mut slot, db.clock.now(), &claim);
    assert_eq!(format!("{claimed:?}"), format!("{expected:?}"));
    let lease = crate::harness::acquired(claimed);
    let get = async || db.store.get(&id).await.unwrap();
    assert_eq!(get().await, Entry::get(&slot, db.clock.now()));

    let extended = db.store.extend(&lease, Duration::MAX).await.unwrap();
    assert_eq!(extended, Fenced::Applied);
    let wrong = Lease {
        attempt: u64::MAX,
        ..lease
    };
    assert_eq!(db.store.extend(&wrong, MINUTE).await.unwrap(), Fenced::Lost);
    let completion = Completion::new(fingerprint(1), Bytes::new(), Duration::MAX);
    assert_eq!(
        db.store.complete(&lease, &completion).await.unwrap(),
        Fenced::Applied
    );
    let _ = Entry::complete(&mut slot, db.clock.now(), &lease, &completion);
    assert_eq!(get().await, Entry::get(&slot, db.clock.now()));
}

#[tokio::test]
async fn an_answer_may_be_any_bytes_and_large() {
    let Some(db) = Db::create().await else {
        return;
    };
    for (key, length) in [0, 1, 5_000, 3_000_000].into_iter().enumerate() {
        let id = id_of("bytes", key);
        let lease = lease(&db.store, id).await;
        let bytes: Bytes = (0..=255).cycle().take(length).collect();
        let completion = Completion::new(fingerprint(1), bytes.clone(), MINUTE);
        let done = db.store.complete(&lease, &completion).await.unwrap();
        assert_eq!(done, Fenced::Applied);
        assert_eq!(crate::harness::answer(&db.store, &id).await, Some(bytes));
    }
}

/// The server's own clock, which no test can move: what ends in an hour is live, what has ended is not.
#[tokio::test]
async fn without_a_test_clock_the_server_tells_the_time() {
    let Some(db) = Db::create().await else {
        return;
    };
    let store = PostgresStore::new(db.pool.clone());
    let id = id_of("real", 1);
    let claim = |ttl| Claim::new(id, ttl).with_lease_lost(LeaseLost::Reexecute);
    let first = store.claim(&claim(Duration::ZERO)).await.unwrap();
    assert_eq!(crate::harness::acquired(first).attempt, 1);
    let second = store.claim(&claim(MINUTE * 60)).await.unwrap();
    assert_eq!(crate::harness::acquired(second).attempt, 2);
    let third = crate::harness::existing(store.claim(&claim(MINUTE)).await.unwrap());
    let purlin_idempotency::store::State::InFlight { remaining } = third.state else {
        panic!("{third:?}")
    };
    assert!(remaining > MINUTE && remaining <= MINUTE * 60);
}

#[tokio::test]
async fn what_has_expired_is_purged_in_batches_and_nothing_else() {
    let Some(db) = Db::create().await else {
        return;
    };
    let complete = async |key: u32, retention| {
        let lease = lease(&db.store, id_of("purge", key)).await;
        let completion = Completion::new(fingerprint(1), Bytes::new(), retention);
        assert_eq!(
            db.store.complete(&lease, &completion).await.unwrap(),
            Fenced::Applied
        );
    };
    for key in 0..7 {
        complete(key, MINUTE).await;
    }
    complete(7, MINUTE * 3).await;
    // Its lease outlives the time for which it is kept.
    let held = Claim::new(id_of("purge", 8), MINUTE * 3).with_unresolved_ttl(MINUTE);
    let _ = db.store.claim(&held).await.unwrap();
    assert_eq!(db.store.purge_expired(100).await.unwrap(), 0);

    db.clock.advance(MINUTE);
    assert_eq!(db.store.purge_expired(0).await.unwrap(), 0);
    assert_eq!(db.store.purge_expired(4).await.unwrap(), 4);
    assert_eq!(db.store.purge_expired(4).await.unwrap(), 3);
    assert_eq!(db.store.purge_expired(u32::MAX).await.unwrap(), 0);

    db.clock.advance(MINUTE * 2);
    assert_eq!(db.store.purge_expired(100).await.unwrap(), 2);
}

#[tokio::test]
async fn a_scope_is_erased_and_no_other() {
    let Some(db) = Db::create().await else {
        return;
    };
    for (principal, keys) in [("ann", 3), ("bob", 2)] {
        for key in 0..keys {
            let lease = lease(&db.store, id_of(principal, key)).await;
            let done = db
                .store
                .complete(&lease, &crate::harness::completion("x"))
                .await;
            assert_eq!(done.unwrap(), Fenced::Applied);
        }
    }
    let _ = lease(&db.store, id_of("ann", "in-flight")).await;
    let scope = id_of("ann", 0).scope();
    assert_eq!(db.store.erase_scope(&scope).await.unwrap(), 3);
    assert_eq!(db.store.erase_scope(&scope).await.unwrap(), 0);
    for (principal, expected) in [("ann", ""), ("bob", "x")] {
        let found = crate::harness::answer(&db.store, &id_of(principal, 0)).await;
        assert_eq!(found, Some(Bytes::from(expected)));
    }
}
