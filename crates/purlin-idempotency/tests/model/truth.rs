//! What has really happened to the record, and what must hold of it: bookkeeping in ticks that
//! shares nothing with the code under test.

use std::fmt;

use purlin_idempotency::LeaseLost;
use purlin_idempotency::store::{Claimed, Existing, Fenced, Lease, State};

/// How long a lease lasts, in ticks.
pub(crate) const LEASE: u8 = 1;
/// How long unresolved work is remembered.
pub(crate) const UNRESOLVED: u8 = 2;
/// How long an answer is kept.
pub(crate) const RETENTION: u8 = 1;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invariant {
    /// Nobody begins while the lease of another is live.
    SingleOwner,
    /// Only the current lease changes the record, but for the completion of one that is not there.
    Fencing,
    /// An answer stays what it is, and nobody begins, until it expires.
    ImmutableAnswer,
    /// With `Indeterminate` the work of a record is begun once and has one effect.
    AtMostOnce,
    /// Work that is begun again is the same request.
    SameRequest,
    /// Attempts grow for as long as there is a record.
    GrowingAttempts,
    /// A record is seen until it expires and not longer, and is not deleted before.
    Visibility,
    /// Whoever may do something can.
    Progress,
}

#[derive(Debug)]
pub(crate) struct Violation(pub(crate) Invariant, pub(crate) String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0, self.1)
    }
}

fn broken<T>(invariant: Invariant, what: impl fmt::Debug) -> Result<T, Violation> {
    Err(Violation(invariant, format!("{what:?}")))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Record {
    lease: Lease,
    lease_until: u8,
    expires: u8,
    fingerprint: Option<u8>,
    answer: Option<u8>,
}

/// What was asked for with a claim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) fingerprint: Option<u8>,
    pub(crate) lease_lost: LeaseLost,
    pub(crate) is_live_of_nonce: bool,
}

/// What an owner asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Write {
    Extend,
    /// With an answer.
    Complete(u8),
    Release,
    Abandon,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Truth {
    record: Option<Record>,
    /// The record is a new one since the last step.
    pub(crate) began_anew: bool,
    /// Of the work of this record.
    effects: u8,
    /// Whether somebody was allowed to begin it again.
    reexecuted: bool,
}

impl Truth {
    fn visible(&self, now: u8) -> Option<&Record> {
        self.record.as_ref().filter(|record| {
            let at_work = record.answer.is_none() && now < record.lease_until;
            at_work || now < record.expires
        })
    }

    /// Whose lease is the current one, if there is a record.
    pub(crate) fn holder(&self, now: u8) -> Option<Lease> {
        self.visible(now).map(|record| record.lease)
    }

    pub(crate) fn is_live_of(&self, now: u8, lease: impl Fn(&Lease) -> bool) -> bool {
        self.visible(now).is_some_and(|record| {
            lease(&record.lease) && record.answer.is_none() && now < record.lease_until
        })
    }

    pub(crate) fn claimed(
        &mut self,
        now: u8,
        asked: Asked,
        claimed: &Claimed,
    ) -> Result<(), Violation> {
        let seen = self.visible(now).cloned();
        match (claimed, seen) {
            (Claimed::Existing(existing), None) => broken(Invariant::Progress, existing),
            (Claimed::Existing(existing), Some(record)) => {
                let free = record.answer.is_none()
                    && now >= record.lease_until
                    && asked.lease_lost == LeaseLost::Reexecute
                    && compatible(record.fingerprint, asked.fingerprint);
                if free || asked.is_live_of_nonce {
                    return broken(Invariant::Progress, existing);
                }
                looks_like(&record, now, existing)
            }
            (Claimed::Acquired(lease), None) => {
                if lease.attempt != 1 {
                    return broken(Invariant::GrowingAttempts, lease);
                }
                self.began_anew = true;
                self.effects = 0;
                self.reexecuted = false;
                self.begin(now, asked, *lease, None);
                Ok(())
            }
            (Claimed::Acquired(lease), Some(record)) => self.acquired(now, asked, *lease, &record),
        }
    }

    fn acquired(
        &mut self,
        now: u8,
        asked: Asked,
        lease: Lease,
        before: &Record,
    ) -> Result<(), Violation> {
        if before.answer.is_some() {
            return broken(Invariant::ImmutableAnswer, (lease, before));
        }
        if now < before.lease_until {
            return if asked.is_live_of_nonce && lease == before.lease {
                Ok(())
            } else {
                broken(Invariant::SingleOwner, (lease, before))
            };
        }
        if asked.lease_lost == LeaseLost::Indeterminate {
            return broken(Invariant::AtMostOnce, (lease, before));
        }
        if !compatible(before.fingerprint, asked.fingerprint) {
            return broken(Invariant::SameRequest, (lease, before));
        }
        if lease.attempt <= before.lease.attempt {
            return broken(Invariant::GrowingAttempts, (lease, before));
        }
        self.reexecuted = true;
        self.begin(now, asked, lease, before.fingerprint);
        Ok(())
    }

    fn begin(&mut self, now: u8, asked: Asked, lease: Lease, known: Option<u8>) {
        self.record = Some(Record {
            lease,
            lease_until: now + LEASE,
            expires: now + UNRESOLVED,
            fingerprint: asked.fingerprint.or(known),
            answer: None,
        });
    }

    /// The effect of work of this record.
    pub(crate) fn effect(&mut self) -> Result<(), Violation> {
        self.effects += 1;
        if self.effects > 1 && !self.reexecuted {
            return broken(Invariant::AtMostOnce, self);
        }
        Ok(())
    }

    /// `changed` says whether the write has changed anything.
    pub(crate) fn wrote(
        &mut self,
        now: u8,
        lease: &Lease,
        (write, fingerprint): (Write, u8),
        fenced: Fenced,
        changed: bool,
    ) -> Result<(), Violation> {
        let seen = self.visible(now);
        let is_owner = seen.is_some_and(|record| record.lease == *lease);
        let is_done = seen.is_some_and(|record| record.answer.is_some());
        let completes = matches!(write, Write::Complete(_));
        let may = match seen {
            None => completes,
            Some(_) => is_owner && (completes || !is_done),
        };
        match (fenced, may) {
            (Fenced::Lost, true) => return broken(Invariant::Progress, (write, lease, seen)),
            (Fenced::Applied, false) if is_owner => {
                return broken(Invariant::ImmutableAnswer, (write, lease, seen));
            }
            (Fenced::Applied, false) => return broken(Invariant::Fencing, (write, lease, seen)),
            (Fenced::Lost, false) if changed => {
                return broken(Invariant::Fencing, (write, lease, seen));
            }
            (Fenced::Applied, true) if is_done && changed => {
                return broken(Invariant::ImmutableAnswer, (write, lease, seen));
            }
            _ => {}
        }
        if fenced == Fenced::Applied && !is_done {
            self.apply(now, *lease, write, fingerprint);
        }
        Ok(())
    }

    fn apply(&mut self, now: u8, lease: Lease, write: Write, fingerprint: u8) {
        if self.visible(now).is_none() {
            self.began_anew = true;
            self.effects = 0;
            self.reexecuted = false;
        }
        match (write, &mut self.record) {
            (Write::Complete(answer), _) => {
                self.record = Some(Record {
                    lease,
                    lease_until: now,
                    expires: now + RETENTION,
                    fingerprint: Some(fingerprint),
                    answer: Some(answer),
                });
            }
            (Write::Extend, Some(record)) => {
                record.lease_until = now + LEASE;
                record.expires = record.expires.max(record.lease_until);
            }
            (Write::Abandon, Some(record)) => record.lease_until = record.lease_until.min(now),
            (Write::Release, _) => self.record = None,
            (_, None) => unreachable!("only a completion is applied to nothing"),
        }
    }

    /// What everybody sees.
    pub(crate) fn seen(&self, now: u8, found: Option<&Existing>) -> Result<(), Violation> {
        match (found, self.visible(now)) {
            (None, None) => Ok(()),
            (Some(found), Some(record)) => looks_like(record, now, found),
            wrong => broken(Invariant::Visibility, wrong),
        }
    }

    pub(crate) fn purged(&self, now: u8) -> Result<(), Violation> {
        match self.visible(now) {
            None => Ok(()),
            Some(record) => broken(Invariant::Visibility, record),
        }
    }
}

fn compatible(known: Option<u8>, asked: Option<u8>) -> bool {
    known.is_none() || asked.is_none() || known == asked
}

fn looks_like(record: &Record, now: u8, found: &Existing) -> Result<(), Violation> {
    let fingerprint = found.fingerprint.map(|known| known.as_bytes()[0]);
    let same = match (&found.state, record.answer) {
        (State::Completed { answer, remaining }, Some(expected)) => {
            **answer == [expected] && remaining.as_secs() == u64::from(record.expires - now)
        }
        (State::Lapsed, None) => now >= record.lease_until,
        (State::InFlight { remaining }, None) => {
            now < record.lease_until && remaining.as_secs() == u64::from(record.lease_until - now)
        }
        _ => false,
    };
    if same && fingerprint == record.fingerprint && found.attempt == record.lease.attempt {
        return Ok(());
    }
    let invariant = match record.answer {
        Some(_) => Invariant::ImmutableAnswer,
        None => Invariant::Fencing,
    };
    broken(invariant, (found, record))
}
