//! Short histories of calls, compared with the reference of all stores.

use std::time::Duration;

use bytes::Bytes;
use purlin_idempotency::store::{
    Claim, Claimed, Completion, Entry, Existing, Fenced, Lease, Nonce,
};
use purlin_idempotency::{IdempotencyStore, LeaseLost};
use purlin_store::{Clock as _, testing::ManualClock};

use crate::harness::{fingerprint, id_of};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
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

pub(crate) const LEASE: Duration = Duration::from_micros(60_000_001);
pub(crate) const UNRESOLVED: Duration = Duration::from_secs(200);
const RETENTION: Duration = Duration::from_secs(100);

pub(crate) const OPS: &[Op] = &[
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

/// Runs one history on `store`, which goes by `clock`, and on the reference.
pub(crate) async fn run(
    store: &impl IdempotencyStore,
    clock: &ManualClock,
    history: &[Op],
    name: &str,
) {
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
