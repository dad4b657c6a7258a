use std::collections::HashMap;

use serde::Serialize;
use uuid::Uuid;

/// All charges, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    by_key: HashMap<String, usize>,
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

/// The key belongs to another charge.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyReused;

impl Ledger {
    /// The charge of this key; a new one only if the key is new.
    pub(super) fn charge(
        &mut self,
        key: &str,
        reference: &str,
        amount_cents: i64,
    ) -> Result<Charge, KeyReused> {
        if let Some(&index) = self.by_key.get(key) {
            let charge = &self.entries[index].charge;
            let is_same = charge.reference == reference && charge.amount_cents == amount_cents;
            return is_same.then(|| charge.clone()).ok_or(KeyReused);
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
        assert_eq!(ledger.charge("a", "order 1", 251), Err(KeyReused));
        assert_eq!(ledger.charge("a", "order 2", 250), Err(KeyReused));
        assert_eq!(ledger.entries().len(), 1);
        assert_ne!(ledger.charge("b", "order 1", 250).unwrap(), first);
        assert_eq!(ledger.entries().len(), 2);
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
