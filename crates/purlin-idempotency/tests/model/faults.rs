//! Rules that are wrong in one way each: the search has to find every one of them.

use std::time::{Duration, SystemTime};

use purlin_idempotency::LeaseLost;
use purlin_idempotency::store::{
    Claim, Claimed, Completion, Entry, Existing, Fenced, Lease, State,
};

use crate::rules::{Rules, Slot};
use crate::search::search;
use crate::truth::Invariant;
use crate::{INDETERMINATE, REEXECUTE, three, two};

/// Finds the fault with two clients and with three.
fn is_caught(rules: &impl Rules, lease_lost: LeaseLost, expected: Invariant) {
    let settings = [
        two([lease_lost; 2], [Some(1), Some(2)]),
        three([lease_lost; 3], [Some(1), Some(2), None]),
    ];
    for setting in settings {
        match search(rules, &setting) {
            Ok(states) => panic!("nothing is wrong in {states} states"),
            Err(found) => assert_eq!(found.violation.0, expected, "{found}"),
        }
    }
}

fn is_completed(slot: &Slot, now: SystemTime) -> bool {
    let seen = Entry::get(&slot.entry, now);
    seen.is_some_and(|existing| matches!(existing.state, State::Completed { .. }))
}

fn is_lapsed(slot: &Slot, now: SystemTime) -> bool {
    Entry::get(&slot.entry, now).is_some_and(|existing| existing.state == State::Lapsed)
}

/// The lease with the nonce of whoever has the same attempt.
fn by_attempt(slot: &Slot, lease: &Lease) -> Lease {
    let holder = slot.holder.filter(|holder| holder.attempt == lease.attempt);
    holder.unwrap_or(*lease)
}

struct TakesOverLiveLeases;

impl Rules for TakesOverLiveLeases {
    fn claim(&self, slot: &mut Slot, now: SystemTime, claim: &Claim) -> Claimed {
        let claimed = Entry::claim(&mut slot.entry, now, claim);
        if let Claimed::Existing(_) = claimed {
            let mut ahead = slot.entry.clone();
            let then = now + Duration::from_secs(1);
            if let Claimed::Acquired(lease) = Entry::claim(&mut ahead, then, claim)
                && lease.attempt > 1
            {
                slot.entry = ahead;
                return Claimed::Acquired(lease);
            }
        }
        claimed
    }
}

#[test]
fn a_clock_that_is_ahead() {
    is_caught(&TakesOverLiveLeases, REEXECUTE, Invariant::SingleOwner);
}

struct FencesByAttempt;

impl Rules for FencesByAttempt {
    fn complete(
        &self,
        slot: &mut Slot,
        now: SystemTime,
        lease: &Lease,
        completion: &Completion,
    ) -> Fenced {
        let lease = by_attempt(slot, lease);
        Entry::complete(&mut slot.entry, now, &lease, completion)
    }
}

#[test]
fn completions_fenced_by_the_attempt_alone() {
    is_caught(&FencesByAttempt, INDETERMINATE, Invariant::Fencing);
}

struct ExtendsByAttempt;

impl Rules for ExtendsByAttempt {
    fn extend(&self, slot: &mut Slot, now: SystemTime, lease: &Lease, ttl: Duration) -> Fenced {
        let lease = by_attempt(slot, lease);
        Entry::extend(&mut slot.entry, now, &lease, ttl)
    }
}

#[test]
fn extensions_fenced_by_the_attempt_alone() {
    is_caught(&ExtendsByAttempt, REEXECUTE, Invariant::Fencing);
}

struct ReleasesUnfenced;

impl Rules for ReleasesUnfenced {
    fn release(&self, slot: &mut Slot, now: SystemTime, lease: &Lease) -> Fenced {
        let fenced = Entry::release(&mut slot.entry, now, lease);
        slot.entry = None;
        fenced
    }
}

#[test]
fn releases_that_are_refused_and_done() {
    is_caught(&ReleasesUnfenced, INDETERMINATE, Invariant::Fencing);
}

struct LastCompletionWins;

impl Rules for LastCompletionWins {
    fn complete(
        &self,
        slot: &mut Slot,
        now: SystemTime,
        lease: &Lease,
        completion: &Completion,
    ) -> Fenced {
        if slot.holder == Some(*lease) {
            slot.entry = None;
        }
        Entry::complete(&mut slot.entry, now, lease, completion)
    }
}

#[test]
fn a_second_completion_that_counts() {
    is_caught(
        &LastCompletionWins,
        INDETERMINATE,
        Invariant::ImmutableAnswer,
    );
}

struct ReleasesAnswers;

impl Rules for ReleasesAnswers {
    fn release(&self, slot: &mut Slot, now: SystemTime, lease: &Lease) -> Fenced {
        if slot.holder == Some(*lease) && is_completed(slot, now) {
            slot.entry = None;
            return Fenced::Applied;
        }
        Entry::release(&mut slot.entry, now, lease)
    }
}

#[test]
fn a_release_of_what_is_completed() {
    is_caught(&ReleasesAnswers, INDETERMINATE, Invariant::ImmutableAnswer);
}

struct AlwaysReexecutes;

impl Rules for AlwaysReexecutes {
    fn claim(&self, slot: &mut Slot, now: SystemTime, claim: &Claim) -> Claimed {
        let claim = claim.with_lease_lost(REEXECUTE);
        Entry::claim(&mut slot.entry, now, &claim)
    }
}

#[test]
fn a_policy_that_is_not_asked() {
    is_caught(&AlwaysReexecutes, INDETERMINATE, Invariant::AtMostOnce);
}

struct ComparesNoFingerprints;

impl Rules for ComparesNoFingerprints {
    fn claim(&self, slot: &mut Slot, now: SystemTime, claim: &Claim) -> Claimed {
        if is_lapsed(slot, now) {
            let claim = claim.with_fingerprint(None);
            return Entry::claim(&mut slot.entry, now, &claim);
        }
        Entry::claim(&mut slot.entry, now, claim)
    }
}

#[test]
fn a_takeover_for_another_request() {
    is_caught(&ComparesNoFingerprints, REEXECUTE, Invariant::SameRequest);
}

struct CountsFromOne;

impl Rules for CountsFromOne {
    fn claim(&self, slot: &mut Slot, now: SystemTime, claim: &Claim) -> Claimed {
        match Entry::claim(&mut slot.entry, now, claim) {
            Claimed::Acquired(lease) if lease.attempt > 1 => {
                slot.entry = None;
                Entry::claim(&mut slot.entry, now, claim)
            }
            claimed => claimed,
        }
    }
}

#[test]
fn a_takeover_with_the_same_attempt() {
    is_caught(&CountsFromOne, REEXECUTE, Invariant::GrowingAttempts);
}

struct PurgesLapsed;

impl Rules for PurgesLapsed {
    fn may_purge(&self, slot: &Slot, now: SystemTime) -> bool {
        is_lapsed(slot, now)
    }
}

#[test]
fn a_purge_of_what_has_only_lapsed() {
    is_caught(&PurgesLapsed, INDETERMINATE, Invariant::Visibility);
}

struct ShowsForLonger;

impl Rules for ShowsForLonger {
    fn get(&self, slot: &Slot, now: SystemTime) -> Option<Existing> {
        let seen = Entry::get(&slot.entry, now);
        seen.or_else(|| Entry::get(&slot.entry, now - Duration::from_secs(1)))
    }
}

#[test]
fn a_record_that_is_seen_after_its_end() {
    is_caught(&ShowsForLonger, INDETERMINATE, Invariant::Visibility);
}

struct RefusesLateOwners;

impl Rules for RefusesLateOwners {
    fn complete(
        &self,
        slot: &mut Slot,
        now: SystemTime,
        lease: &Lease,
        completion: &Completion,
    ) -> Fenced {
        if is_lapsed(slot, now) {
            return Fenced::Lost;
        }
        Entry::complete(&mut slot.entry, now, lease, completion)
    }
}

#[test]
fn a_late_owner_who_has_lost_nothing() {
    is_caught(&RefusesLateOwners, INDETERMINATE, Invariant::Progress);
}

struct AdoptsNothing;

impl Rules for AdoptsNothing {
    fn complete(
        &self,
        slot: &mut Slot,
        now: SystemTime,
        lease: &Lease,
        completion: &Completion,
    ) -> Fenced {
        if Entry::get(&slot.entry, now).is_none() {
            return Fenced::Lost;
        }
        Entry::complete(&mut slot.entry, now, lease, completion)
    }
}

#[test]
fn a_completion_of_what_has_expired() {
    is_caught(&AdoptsNothing, INDETERMINATE, Invariant::Progress);
}
