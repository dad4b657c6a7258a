//! Every interleaving of two and of three clients on one record, over the code that all stores are
//! compared with: claims, effects, extensions, ends of each kind, crashes at every point, messages
//! that arrive late or never, answers that nobody hears, and time that passes meanwhile.
//!
//! What must hold is in `truth.rs`. That the search finds what is wrong is shown with rules that are.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod faults;
mod rules;
mod search;
mod truth;
mod world;

use std::io::Write as _;

use purlin_idempotency::LeaseLost;

use crate::rules::Reference;
use crate::search::search;
use crate::world::{Habit, Setting};

pub(crate) const INDETERMINATE: LeaseLost = LeaseLost::Indeterminate;
pub(crate) const REEXECUTE: LeaseLost = LeaseLost::Reexecute;

/// Two clients, one of which claims twice.
pub(crate) fn two(policies: [LeaseLost; 2], fingerprints: [Option<u8>; 2]) -> Setting {
    let habit = |n: usize| Habit {
        lease_lost: policies[n],
        fingerprint: fingerprints[n],
        claims: 2 - n as u8,
    };
    Setting {
        clients: vec![habit(0), habit(1)],
        ticks: 3,
    }
}

/// Three clients that claim once each.
pub(crate) fn three(policies: [LeaseLost; 3], fingerprints: [Option<u8>; 3]) -> Setting {
    let habit = |n: usize| Habit {
        lease_lost: policies[n],
        fingerprint: fingerprints[n],
        claims: 1,
    };
    Setting {
        clients: vec![habit(0), habit(1), habit(2)],
        ticks: 2,
    }
}

fn holds(setting: &Setting) {
    let states = search(&Reference, setting).unwrap_or_else(|found| panic!("{found}"));
    // Captured output would hide it.
    let test = std::thread::current();
    let name = test.name().unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "{name}: {states} states");
    assert!(states > 10_000, "the search ends after {states} states");
}

#[test]
fn two_clients_indeterminate() {
    holds(&two([INDETERMINATE; 2], [Some(1), Some(1)]));
}

#[test]
fn two_clients_reexecute() {
    holds(&two([REEXECUTE; 2], [Some(1), Some(1)]));
}

#[test]
fn two_clients_of_both_policies() {
    holds(&two([INDETERMINATE, REEXECUTE], [Some(1), None]));
}

#[test]
fn two_clients_with_other_requests() {
    holds(&two([REEXECUTE; 2], [Some(1), Some(2)]));
}

#[test]
fn three_clients_indeterminate() {
    holds(&three([INDETERMINATE; 3], [Some(1); 3]));
}

#[test]
fn three_clients_reexecute() {
    holds(&three([REEXECUTE; 3], [Some(1), None, Some(2)]));
}
