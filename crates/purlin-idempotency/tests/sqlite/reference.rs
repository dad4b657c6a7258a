//! The same histories for the store and for the reference of all stores.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use purlin_idempotency::store::{Claim, Completion, Entry, Lease, Nonce};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost, RecordId};
use purlin_store::Clock as _;

use crate::harness::{Place, fingerprint, id_in, place};

/// The next numbers are always the same, so that a history that fails can be run again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Both sides of one history.
struct History<'a> {
    place: &'a Place,
    entries: HashMap<RecordId, Option<Entry>>,
    leases: Vec<Lease>,
    nonces: [Nonce; 3],
    ids: [RecordId; 2],
    log: Vec<String>,
}

const SECOND: Duration = Duration::from_secs(1);
/// Some are equal to what the clock moves by, so that ends are met exactly.
const TTLS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_micros(1),
    SECOND,
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::MAX,
];

impl History<'_> {
    fn compare(&mut self, step: impl Debug, store: impl Debug, entry: impl Debug) {
        self.log.push(format!("{step:?} -> {entry:?}"));
        let (store, entry) = (format!("{store:?}"), format!("{entry:?}"));
        assert_eq!(store, entry, "store and reference after {:#?}", self.log);
    }

    fn entry(&mut self, id: RecordId) -> &mut Option<Entry> {
        self.entries.entry(id).or_default()
    }

    async fn step(&mut self, dice: &mut Dice) {
        let (now, store) = (self.place.clock.now(), &self.place.store);
        let id = dice.pick(&self.ids);
        let ttl = dice.pick(&TTLS);
        match dice.below(10) {
            0..3 => {
                let mut claim = Claim::new(id, ttl)
                    .with_fingerprint(dice.pick(&[
                        None,
                        Some(fingerprint(1)),
                        Some(fingerprint(2)),
                    ]))
                    .with_lease_lost(dice.pick(&[LeaseLost::Indeterminate, LeaseLost::Reexecute]))
                    .with_unresolved_ttl(dice.pick(&TTLS));
                claim.nonce = dice.pick(&self.nonces);
                let claimed = store.claim(&claim).await.unwrap();
                if let purlin_idempotency::store::Claimed::Acquired(lease) = claimed {
                    self.leases.push(lease);
                }
                let reference = Entry::claim(self.entry(id), now, &claim);
                self.compare(claim, claimed, reference);
            }
            3 => {
                let by = dice.pick(&[Duration::from_micros(1), SECOND, Duration::from_secs(3)]);
                // Clocks are set back now and then.
                let then = if dice.below(6) == 0 {
                    now - by
                } else {
                    now + by
                };
                self.place.clock.set(then);
                self.log.push(format!("{by:?} to {then:?}"));
            }
            4 => {
                let removed = store.remove(&id).await.unwrap();
                let reference = Entry::remove(self.entry(id), now);
                self.compare(("remove", id), removed, reference);
            }
            5 => self.erase_or_purge(dice).await,
            _ => self.as_owner(dice, ttl).await,
        }
        for id in self.ids {
            let (found, now) = (store.get(&id).await.unwrap(), self.place.clock.now());
            let reference = Entry::get(self.entry(id), now);
            self.compare(("get", id), found, reference);
        }
    }

    /// By the lease of somebody: often lost, and now and then never claimed.
    async fn as_owner(&mut self, dice: &mut Dice, ttl: Duration) {
        let (now, store) = (self.place.clock.now(), &self.place.store);
        let invented = Lease {
            id: dice.pick(&self.ids),
            attempt: dice.pick(&[1, 2, u64::MAX]),
            nonce: dice.pick(&self.nonces),
        };
        let lease = match self.leases.len() {
            0 => invented,
            _ if dice.below(8) == 0 => invented,
            known => self.leases[known - 1 - dice.below(known.min(3))],
        };
        let slot = self.entries.entry(lease.id).or_default();
        let (step, fenced, reference) = match dice.below(5) {
            0 => {
                let fenced = store.extend(&lease, ttl).await;
                ("extend", fenced, Entry::extend(slot, now, &lease, ttl))
            }
            1 => {
                let fenced = store.release(&lease).await;
                ("release", fenced, Entry::release(slot, now, &lease))
            }
            2 => {
                let fenced = store.abandon(&lease).await;
                ("abandon", fenced, Entry::abandon(slot, now, &lease))
            }
            _ => {
                let answer = dice.pick(&["", "one", "two"]);
                let fingerprint = fingerprint(dice.pick(&[1, 2]));
                let completion = Completion::new(fingerprint, answer.into(), ttl);
                let fenced = store.complete(&lease, &completion).await;
                let reference = Entry::complete(slot, now, &lease, &completion);
                ("complete", fenced, reference)
            }
        };
        self.compare((step, lease, ttl), fenced.unwrap(), reference);
    }

    async fn erase_or_purge(&mut self, dice: &mut Dice) {
        let (now, store) = (self.place.clock.now(), &self.place.store);
        if dice.below(2) == 0 {
            let scope = self.ids[0].scope();
            let erased = store.erase_scope(&scope).await.unwrap();
            let entries = self.entries.iter_mut();
            let reference: u64 = entries
                .filter(|(id, _)| id.scope() == scope)
                .filter_map(|(_, entry)| entry.as_mut())
                .map(|entry| u64::from(entry.erase(now)))
                .sum();
            self.compare("erase", erased, reference);
        } else {
            let purged = store.purge_expired(u32::MAX).await.unwrap();
            let mut reference = 0_u64;
            for entry in self.entries.values_mut() {
                if entry.take_if(|entry| entry.is_expired(now)).is_some() {
                    reference += 1;
                }
            }
            self.compare("purge", purged, reference);
        }
    }
}

#[tokio::test]
async fn it_behaves_as_the_reference_does() {
    let place = place().await;
    for seed in 0..250_u64 {
        let mut dice = Dice(seed);
        dice.below(1);
        let mut history = History {
            place: &place,
            entries: HashMap::new(),
            leases: Vec::new(),
            nonces: std::array::from_fn(|_| Nonce::new()),
            ids: [1, 2].map(|n| id_in(&format!("history {seed}"), n)),
            log: vec![format!("history {seed}")],
        };
        for _ in 0..40 {
            history.step(&mut dice).await;
        }
        // What is left over would be purged by the next history.
        for id in history.ids {
            place.store.remove(&id).await.unwrap();
        }
    }
}
