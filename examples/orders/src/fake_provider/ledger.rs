use std::collections::{HashMap, HashSet};

use serde::Serialize;
use uuid::Uuid;

/// All charges, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    by_key: HashMap<String, usize>,
    refused: HashSet<String>,
}

/// A charge beside the key that it was made with.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry {
    key: String,
    #[serde(flatten)]
    charge: Charge,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Charge {
    id: Uuid,
    reference: String,
    amount_cents: i64,
    status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Captured,
    Declined,
}

/// Why there is no charge.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoCharge {
    /// The key belongs to another one.
    KeyReused,
    /// The key was refused.
    Refused,
}

impl Ledger {
    /// The charge of this key; a new one only if the key is new.
    pub(super) fn charge(
        &mut self,
        key: &str,
        reference: &str,
        amount_cents: i64,
    ) -> Result<Charge, NoCharge> {
        if let Some(&index) = self.by_key.get(key) {
            let charge = &self.entries[index].charge;
            let is_same = charge.reference == reference && charge.amount_cents == amount_cents;
            return is_same.then(|| charge.clone()).ok_or(NoCharge::KeyReused);
        }
        if self.refused.contains(key) {
            return Err(NoCharge::Refused);
        }
        let charge = Charge {
            id: Uuid::now_v7(),
            reference: reference.to_owned(),
            amount_cents,
            status: Status::of(amount_cents),
        };
        self.by_key.insert(key.to_owned(), self.entries.len());
        self.entries.push(Entry {
            key: key.to_owned(),
            charge: charge.clone(),
        });
        Ok(charge)
    }

    /// From now on there is no charge of this key, unless there is one.
    pub(super) fn refuse(&mut self, key: &str) {
        self.refused.insert(key.to_owned());
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Status {
    const fn of(amount_cents: i64) -> Self {
        if amount_cents % 100 == 13 {
            Self::Declined
        } else {
            Self::Captured
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_charge() {
        let mut ledger = Ledger::default();
        let first = ledger.charge("a", "order 1", 250).unwrap();
        assert_eq!(ledger.charge("a", "order 1", 250).unwrap(), first);
        assert_eq!(ledger.charge("a", "order 1", 251), Err(NoCharge::KeyReused));
        assert_eq!(ledger.charge("a", "order 2", 250), Err(NoCharge::KeyReused));
        assert_eq!(ledger.entries().len(), 1);
        assert_ne!(ledger.charge("b", "order 1", 250).unwrap(), first);
        assert_eq!(ledger.entries().len(), 2);
    }

    #[test]
    fn a_refusal_is_kept_and_so_is_a_charge() {
        let mut ledger = Ledger::default();
        ledger.refuse("a");
        for _ in 0..2 {
            assert_eq!(ledger.charge("a", "order 1", 250), Err(NoCharge::Refused));
        }
        let charge = ledger.charge("b", "order 1", 250).unwrap();
        ledger.refuse("b");
        assert_eq!(ledger.charge("b", "order 1", 250).unwrap(), charge);
        assert_eq!(ledger.entries().len(), 1);
    }

    #[test]
    fn thirteen_cents_are_declined() {
        for (amount_cents, status) in [
            (13, Status::Declined),
            (113, Status::Declined),
            (1300, Status::Captured),
            (0, Status::Captured),
            (i64::MAX, Status::Captured),
        ] {
            let charge = Ledger::default().charge("a", "r", amount_cents);
            assert_eq!(charge.unwrap().status, status, "{amount_cents}");
        }
    }
}
