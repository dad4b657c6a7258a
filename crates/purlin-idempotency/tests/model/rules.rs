//! The code under test, and the seam at which `faults.rs` breaks it.

use std::time::{Duration, SystemTime};

use purlin_idempotency::store::{Claim, Claimed, Completion, Entry, Existing, Fenced, Lease};

/// The record, and whose lease is the current one for faults that have to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Slot {
    pub(crate) entry: Option<Entry>,
    pub(crate) holder: Option<Lease>,
}

pub(crate) trait Rules {
    fn claim(&self, slot: &mut Slot, now: SystemTime, claim: &Claim) -> Claimed {
        Entry::claim(&mut slot.entry, now, claim)
    }

    fn extend(&self, slot: &mut Slot, now: SystemTime, lease: &Lease, ttl: Duration) -> Fenced {
        Entry::extend(&mut slot.entry, now, lease, ttl)
    }

    fn complete(
        &self,
        slot: &mut Slot,
        now: SystemTime,
        lease: &Lease,
        completion: &Completion,
    ) -> Fenced {
        Entry::complete(&mut slot.entry, now, lease, completion)
    }

    fn release(&self, slot: &mut Slot, now: SystemTime, lease: &Lease) -> Fenced {
        Entry::release(&mut slot.entry, now, lease)
    }

    fn abandon(&self, slot: &mut Slot, now: SystemTime, lease: &Lease) -> Fenced {
        Entry::abandon(&mut slot.entry, now, lease)
    }

    fn get(&self, slot: &Slot, now: SystemTime) -> Option<Existing> {
        Entry::get(&slot.entry, now)
    }

    fn may_purge(&self, slot: &Slot, now: SystemTime) -> bool {
        slot.entry
            .as_ref()
            .is_some_and(|entry| entry.is_expired(now))
    }
}

/// The rules as they are.
pub(crate) struct Reference;

impl Rules for Reference {}
