//! The life of one record, as a pure function of its state, the time and what is asked.
//!
//! `MemoryStore` runs this code, the exhaustive check explores it, and every other store is compared
//! with it.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{Claim, Claimed, Completion, Existing, Fenced, Lease, LeaseLost, Nonce, State};
use crate::{Fingerprint, RecordId};

/// One record as the reference of all stores keeps it.
///
/// The functions take an `Option<Entry>`, since most of them may make or delete it. A record that
/// has expired is treated as one that is not there, whether or not it has been deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    fingerprint: Option<Fingerprint>,
    attempt: u64,
    nonce: Nonce,
    expires_at: SystemTime,
    phase: Phase,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Phase {
    InFlight { lease_until: SystemTime },
    Completed { answer: Bytes },
}

/// A year that no clock reaches, for durations that do not fit.
fn after(now: SystemTime, ttl: Duration) -> SystemTime {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    now.checked_add(ttl.min(CENTURY)).unwrap_or(now)
}

fn until(now: SystemTime, at: SystemTime) -> Duration {
    at.duration_since(now).unwrap_or_default()
}

impl Entry {
    /// [`IdempotencyStore::claim`](super::IdempotencyStore::claim)
    pub fn claim(slot: &mut Option<Self>, now: SystemTime, claim: &Claim) -> Claimed {
        let attempt = match Self::visible(slot, now) {
            None => 1,
            Some(entry) => match entry.phase {
                Phase::InFlight { lease_until } if now < lease_until => {
                    if entry.nonce == claim.nonce {
                        return Claimed::Acquired(entry.lease(claim.id));
                    }
                    return Claimed::Existing(entry.existing(now));
                }
                Phase::InFlight { .. } if entry.may_be_taken_over(claim) => entry.attempt + 1,
                _ => return Claimed::Existing(entry.existing(now)),
            },
        };
        let known = slot.take().filter(|_| attempt > 1);
        let entry = slot.insert(Self {
            fingerprint: claim
                .fingerprint
                .or_else(|| known.and_then(|entry| entry.fingerprint)),
            attempt,
            nonce: claim.nonce,
            expires_at: after(now, claim.unresolved_ttl),
            phase: Phase::InFlight {
                lease_until: after(now, claim.lease_ttl),
            },
        });
        Claimed::Acquired(entry.lease(claim.id))
    }

    /// [`IdempotencyStore::extend`](super::IdempotencyStore::extend)
    pub fn extend(
        slot: &mut Option<Self>,
        now: SystemTime,
        lease: &Lease,
        ttl: Duration,
    ) -> Fenced {
        let Some(entry) = Self::owned(slot, now, lease) else {
            return Fenced::Lost;
        };
        let lease_until = after(now, ttl);
        entry.phase = Phase::InFlight { lease_until };
        entry.expires_at = entry.expires_at.max(lease_until);
        Fenced::Applied
    }

    /// [`IdempotencyStore::complete`](super::IdempotencyStore::complete)
    pub fn complete(
        slot: &mut Option<Self>,
        now: SystemTime,
        lease: &Lease,
        completion: &Completion,
    ) -> Fenced {
        if let Some(entry) = Self::visible(slot, now) {
            if !entry.is_of(lease) {
                return Fenced::Lost;
            }
            if let Phase::Completed { .. } = entry.phase {
                return Fenced::Applied;
            }
        }
        *slot = Some(Self::completed(now, lease, completion));
        Fenced::Applied
    }

    /// [`IdempotencyStore::release`](super::IdempotencyStore::release)
    pub fn release(slot: &mut Option<Self>, now: SystemTime, lease: &Lease) -> Fenced {
        if Self::owned(slot, now, lease).is_none() {
            return Fenced::Lost;
        }
        *slot = None;
        Fenced::Applied
    }

    /// [`IdempotencyStore::abandon`](super::IdempotencyStore::abandon)
    pub fn abandon(slot: &mut Option<Self>, now: SystemTime, lease: &Lease) -> Fenced {
        let Some(entry) = Self::owned(slot, now, lease) else {
            return Fenced::Lost;
        };
        if let Phase::InFlight { lease_until } = &mut entry.phase {
            *lease_until = (*lease_until).min(now);
        }
        Fenced::Applied
    }

    /// [`IdempotencyStore::get`](super::IdempotencyStore::get)
    pub fn get(slot: &Option<Self>, now: SystemTime) -> Option<Existing> {
        Self::visible(slot, now).map(|entry| entry.existing(now))
    }

    /// [`IdempotencyStore::remove`](super::IdempotencyStore::remove)
    pub fn remove(slot: &mut Option<Self>, now: SystemTime) -> bool {
        slot.take().is_some_and(|entry| entry.is_visible(now))
    }

    /// What [`IdempotencyStore::erase_scope`](super::IdempotencyStore::erase_scope) does to each
    /// record of the scope: whether it had an answer.
    pub fn erase(&mut self, now: SystemTime) -> bool {
        match &mut self.phase {
            Phase::Completed { answer } if now < self.expires_at => {
                self.fingerprint = None;
                !std::mem::take(answer).is_empty()
            }
            _ => false,
        }
    }

    /// Whether it may be deleted.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        !self.is_visible(now)
    }

    fn completed(now: SystemTime, lease: &Lease, completion: &Completion) -> Self {
        Self {
            fingerprint: Some(completion.fingerprint),
            attempt: lease.attempt,
            nonce: lease.nonce,
            expires_at: after(now, completion.retention),
            phase: Phase::Completed {
                answer: completion.answer.clone(),
            },
        }
    }

    fn visible(slot: &Option<Self>, now: SystemTime) -> Option<&Self> {
        slot.as_ref().filter(|entry| entry.is_visible(now))
    }

    fn is_visible(&self, now: SystemTime) -> bool {
        let leased = matches!(self.phase, Phase::InFlight { lease_until } if now < lease_until);
        leased || now < self.expires_at
    }

    /// The work that is under way by this lease, lapsed or not.
    fn owned<'a>(
        slot: &'a mut Option<Self>,
        now: SystemTime,
        lease: &Lease,
    ) -> Option<&'a mut Self> {
        slot.as_mut().filter(|entry| {
            entry.is_visible(now)
                && entry.is_of(lease)
                && matches!(entry.phase, Phase::InFlight { .. })
        })
    }

    fn is_of(&self, lease: &Lease) -> bool {
        (self.attempt, self.nonce) == (lease.attempt, lease.nonce)
    }

    fn may_be_taken_over(&self, claim: &Claim) -> bool {
        let same = match (self.fingerprint, claim.fingerprint) {
            (Some(known), Some(now)) => known == now,
            _ => true,
        };
        claim.lease_lost == LeaseLost::Reexecute && same
    }

    fn lease(&self, id: RecordId) -> Lease {
        Lease {
            id,
            attempt: self.attempt,
            nonce: self.nonce,
        }
    }

    fn existing(&self, now: SystemTime) -> Existing {
        let state = match &self.phase {
            Phase::InFlight { lease_until } if now < *lease_until => State::InFlight {
                remaining: until(now, *lease_until),
            },
            Phase::InFlight { .. } => State::Lapsed,
            Phase::Completed { answer } => State::Completed {
                answer: answer.clone(),
                remaining: until(now, self.expires_at),
            },
        };
        Existing::new(self.fingerprint, self.attempt, state)
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight { lease_until } => write!(f, "InFlight({lease_until:?})"),
            // What was answered is for the client.
            Self::Completed { answer } => write!(f, "Completed({} bytes)", answer.len()),
        }
    }
}
