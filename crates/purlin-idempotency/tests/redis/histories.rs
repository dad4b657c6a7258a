//! Every short history of calls has the same results as the reference of all stores.

use std::time::Duration;

use bytes::Bytes;
use purlin_idempotency::store::{
    Claim, Claimed, Completion, Entry, Existing, Fenced, Lease, Nonce,
};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost, RedisStore};
use purlin_store::Clock as _;

use crate::harness::{MINUTE, Place, clock, fingerprint, id_of, lease};

#[derive(Clone, Copy, Debug)]
enum Op {
    /// By client 0 or 1, with a fingerprint or none.
    Claim(usize, Option<u8>, LeaseLost),
    Extend(usize),
    Complete(usize),
    Release(usize),
    Abandon(usize),
    Remove,
    Erase,
    Advance(Duration),
}

/// What a call has said, to be compared.
#[derive(Debug, PartialEq)]
enum Said {
    Acquired(Lease),
    Existing(Existing),
    Fenced(Fenced),
    Removed(bool),
    Erased(u64),
    Nothing,
}

const LEASE: Duration = Duration::from_micros(60_000_001);
const UNRESOLVED: Duration = Duration::from_secs(200);
const RETENTION: Duration = Duration::from_secs(100);

const OPS: &[Op] = &[
    Op::Claim(0, None, LeaseLost::Indeterminate),
    Op::Claim(0, Some(1), LeaseLost::Reexecute),
    Op::Claim(1, Some(2), LeaseLost::Reexecute),
    Op::Claim(1, None, LeaseLost::Reexecute),
    Op::Extend(0),
    Op::Complete(0),
    Op::Complete(1),
    Op::Release(0),
    Op::Release(1),
    Op::Abandon(0),
    Op::Remove,
    Op::Erase,
    // To the last instant of a lease, and to its end.
    Op::Advance(Duration::from_micros(60_000_000)),
    Op::Advance(LEASE),
    Op::Advance(UNRESOLVED),
];

/// A client, with the lease it was given last. One that was given none makes one up.
struct Client {
    nonce: Nonce,
    lease: Lease,
}

async fn run(store: &RedisStore, history: &[Op], name: &str) {
    let clock = clock();
    let store = store.clone().with_clock(clock.clone());
    let id = id_of(name, "history");
    let mut clients = [Nonce::new(), Nonce::new()].map(|nonce| Client {
        nonce,
        lease: Lease {
            id,
            attempt: 1,
            nonce,
        },
    });
    let mut slot = None;
    for (step, op) in history.iter().enumerate() {
        let now = clock.now();
        let (expected, said) = match *op {
            Op::Claim(client, known, lease_lost) => {
                let mut claim = Claim::new(id, LEASE)
                    .with_fingerprint(known.map(fingerprint))
                    .with_lease_lost(lease_lost)
                    .with_unresolved_ttl(UNRESOLVED);
                claim.nonce = clients[client].nonce;
                let expected = claimed(Entry::claim(&mut slot, now, &claim));
                if let Said::Acquired(lease) = expected {
                    clients[client].lease = lease;
                }
                (expected, claimed(store.claim(&claim).await.unwrap()))
            }
            Op::Extend(client) => {
                let lease = clients[client].lease;
                (
                    Said::Fenced(Entry::extend(&mut slot, now, &lease, LEASE)),
                    Said::Fenced(store.extend(&lease, LEASE).await.unwrap()),
                )
            }
            Op::Complete(client) => {
                let lease = clients[client].lease;
                let answer = Bytes::from(vec![u8::try_from(step).unwrap(); 3]);
                let completion = Completion::new(fingerprint(1), answer, RETENTION);
                (
                    Said::Fenced(Entry::complete(&mut slot, now, &lease, &completion)),
                    Said::Fenced(store.complete(&lease, &completion).await.unwrap()),
                )
            }
            Op::Release(client) => {
                let lease = clients[client].lease;
                (
                    Said::Fenced(Entry::release(&mut slot, now, &lease)),
                    Said::Fenced(store.release(&lease).await.unwrap()),
                )
            }
            Op::Abandon(client) => {
                let lease = clients[client].lease;
                (
                    Said::Fenced(Entry::abandon(&mut slot, now, &lease)),
                    Said::Fenced(store.abandon(&lease).await.unwrap()),
                )
            }
            Op::Remove => (
                Said::Removed(Entry::remove(&mut slot, now)),
                Said::Removed(store.remove(&id).await.unwrap()),
            ),
            Op::Erase => (
                Said::Erased(u64::from(slot.as_mut().is_some_and(|e| e.erase(now)))),
                Said::Erased(store.erase_scope(&id.scope()).await.unwrap()),
            ),
            Op::Advance(by) => {
                clock.advance(by);
                (Said::Nothing, Said::Nothing)
            }
        };
        assert_eq!(said, expected, "step {step} of {history:?}");
        assert_eq!(
            store.get(&id).await.unwrap(),
            Entry::get(&slot, clock.now()),
            "after step {step} of {history:?}"
        );
    }
}

fn claimed(claimed: Claimed) -> Said {
    match claimed {
        Claimed::Acquired(lease) => Said::Acquired(lease),
        Claimed::Existing(existing) => Said::Existing(existing),
    }
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
                        run(&store, &[*first, *second, *third], &name).await;
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
                run(&place.store, &history, &format!("{number} {a} {b}")).await;
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
