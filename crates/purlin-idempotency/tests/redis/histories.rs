//! Every short history of calls has the same results as the reference of all stores.

use std::time::Duration;

use bytes::Bytes;
use purlin_idempotency::store::{Claim, Completion, Entry, Fenced, Lease};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost, RedisStore};
use purlin_store::Clock as _;

use crate::harness::{MINUTE, Place, clock, fingerprint, id_of, lease};
use crate::short_histories::{LEASE, OPS, Op, UNRESOLVED, run};

async fn compare(store: &RedisStore, history: &[Op], name: &str) {
    let clock = clock();
    let store = store.clone().with_clock(clock.clone());
    run(&store, &clock, history, name).await;
}

#[tokio::test]
async fn every_history_of_three_calls_is_that_of_the_reference() {
    let Some(place) = Place::create() else {
        return;
    };
    let tasks: Vec<_> = OPS
        .iter()
        .enumerate()
        .map(|(a, first)| {
            let store = place.store.clone();
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
    let Some(place) = Place::create() else {
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
            Op::Advance(UNRESOLVED - LEASE),
            Op::Extend(0),
        ],
    ];
    for (number, beginning) in beginnings.iter().enumerate() {
        for (a, first) in OPS.iter().enumerate() {
            for (b, second) in OPS.iter().enumerate() {
                let history = [*beginning, &[*first, *second]].concat();
                compare(&place.store, &history, &format!("{number} {a} {b}")).await;
            }
        }
    }
}

#[tokio::test]
async fn the_longest_durations_and_the_largest_attempt() {
    let Some(place) = Place::create() else {
        return;
    };
    let id = id_of("forever", 1);
    let claim = Claim::new(id, Duration::MAX).with_unresolved_ttl(Duration::MAX);
    let claimed = place.store.claim(&claim).await.unwrap();
    let mut slot = None;
    let expected = Entry::claim(&mut slot, place.clock.now(), &claim);
    assert_eq!(format!("{claimed:?}"), format!("{expected:?}"));
    let lease = crate::harness::acquired(claimed);
    let get = async || place.store.get(&id).await.unwrap();
    assert_eq!(get().await, Entry::get(&slot, place.clock.now()));

    let extended = place.store.extend(&lease, Duration::MAX).await.unwrap();
    assert_eq!(extended, Fenced::Applied);
    let wrong = Lease {
        attempt: u64::MAX,
        ..lease
    };
    assert_eq!(
        place.store.extend(&wrong, MINUTE).await.unwrap(),
        Fenced::Lost
    );
    let completion = Completion::new(fingerprint(1), Bytes::new(), Duration::MAX);
    assert_eq!(
        place.store.complete(&lease, &completion).await.unwrap(),
        Fenced::Applied
    );
    let _ = Entry::complete(&mut slot, place.clock.now(), &lease, &completion);
    assert_eq!(get().await, Entry::get(&slot, place.clock.now()));
}

#[tokio::test]
async fn an_answer_may_be_any_bytes_and_large() {
    let Some(place) = Place::create() else {
        return;
    };
    for (key, length) in [0, 1, 5_000, 3_000_000].into_iter().enumerate() {
        let id = id_of("bytes", key);
        let lease = lease(&place.store, id).await;
        let bytes: Bytes = (0..=255).cycle().take(length).collect();
        let completion = Completion::new(fingerprint(1), bytes.clone(), MINUTE);
        let done = place.store.complete(&lease, &completion).await.unwrap();
        assert_eq!(done, Fenced::Applied);
        assert_eq!(crate::harness::answer(&place.store, &id).await, Some(bytes));
    }
}

#[tokio::test]
async fn a_scope_is_erased_and_no_other() {
    let Some(place) = Place::create() else {
        return;
    };
    for (principal, keys) in [("ann", 3), ("bob", 2)] {
        for key in 0..keys {
            let lease = lease(&place.store, id_of(principal, key)).await;
            let done = place
                .store
                .complete(&lease, &crate::harness::completion("x"))
                .await;
            assert_eq!(done.unwrap(), Fenced::Applied);
        }
    }
    let _ = lease(&place.store, id_of("ann", "in-flight")).await;
    let scope = id_of("ann", 0).scope();
    assert_eq!(place.store.erase_scope(&scope).await.unwrap(), 3);
    assert_eq!(place.store.erase_scope(&scope).await.unwrap(), 0);
    for (principal, expected) in [("ann", ""), ("bob", "x")] {
        let found = crate::harness::answer(&place.store, &id_of(principal, 0)).await;
        assert_eq!(found, Some(Bytes::from(expected)));
    }
}

/// A lease that outlives the time for which its record is kept.
#[tokio::test]
async fn a_record_is_visible_while_its_lease_is_live() {
    let Some(place) = Place::create() else {
        return;
    };
    let id = id_of("held", 1);
    let claim = Claim::new(id, MINUTE * 3).with_unresolved_ttl(MINUTE);
    let lease = crate::harness::acquired(place.store.claim(&claim).await.unwrap());
    let mut slot = None;
    let _ = Entry::claim(&mut slot, place.clock.now(), &claim);
    for _ in 0..2 {
        place.clock.advance(MINUTE);
        let found = place.store.get(&id).await.unwrap();
        assert!(found.is_some());
        assert_eq!(found, Entry::get(&slot, place.clock.now()));
        let other = Claim::new(id, MINUTE).with_lease_lost(LeaseLost::Reexecute);
        let other = place.store.claim(&other).await.unwrap();
        assert_eq!(crate::harness::existing(other).attempt, 1);
    }
    place.clock.advance(MINUTE);
    assert_eq!(place.store.get(&id).await.unwrap(), None);
    let late = place.store.extend(&lease, MINUTE).await.unwrap();
    assert_eq!(late, Fenced::Lost);
}

/// To abandon what has lapsed changes nothing, not even for a clock that is set back.
#[tokio::test]
async fn a_lapsed_lease_does_not_end_later_when_it_is_abandoned() {
    let Some(place) = Place::create() else {
        return;
    };
    let id = id_of("lapsed", 1);
    let lease = lease(&place.store, id).await;
    let before = place.value(&id).await;
    let begun = place.clock.now();
    place.clock.advance(MINUTE * 2);
    let abandoned = place.store.abandon(&lease).await.unwrap();
    assert_eq!(abandoned, Fenced::Applied);
    assert_eq!(place.value(&id).await, before);
    place.clock.set(begun);
    let abandoned = place.store.abandon(&lease).await.unwrap();
    assert_eq!(abandoned, Fenced::Applied);
    assert_ne!(place.value(&id).await, before);
}
