use std::time::Duration;

use serde::Serialize;

/// A client has given up long before.
const MAX_LATENCY_MS: u64 = 60_000;

/// How a charge misbehaves. Rates are parts of all requests, 0 to 1.
///
/// They hold for a key that was charged before, too: a network does not know either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Knobs {
    /// How long a charge takes. Who leaves meanwhile is charged all the same.
    pub latency_ms: u64,
    /// How many answer 500, before the charge.
    pub fail_rate: f64,
    /// How many never answer, and do not charge.
    pub hang_rate: f64,
    /// How many answer 402, and do not charge. It is remembered: the key is refused from then on.
    pub refuse_rate: f64,
    /// How many charge and then close the connection without an answer.
    pub drop_after_charge_rate: f64,
}

/// What comes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answers,
    Fails,
    Hangs,
    Refuses,
    DropsAfterCharge,
}

impl Knobs {
    /// The names of all of them.
    pub const NAMES: [&'static str; 5] = [
        "latency_ms",
        "fail_rate",
        "hang_rate",
        "refuse_rate",
        "drop_after_charge_rate",
    ];

    /// Reads one.
    ///
    /// # Errors
    ///
    /// What is wrong with the name or the value, to be read after the name.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "latency_ms" => self.latency_ms = latency(value)?,
            "fail_rate" => self.fail_rate = rate(value)?,
            "hang_rate" => self.hang_rate = rate(value)?,
            "refuse_rate" => self.refuse_rate = rate(value)?,
            "drop_after_charge_rate" => self.drop_after_charge_rate = rate(value)?,
            _ => {
                return Err(
                    "is none of latency_ms, fail_rate, hang_rate, refuse_rate and \
                     drop_after_charge_rate",
                );
            }
        }
        Ok(())
    }

    pub(super) const fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }

    /// Draws four numbers whatever the rates are, so that one knob does not move what the others
    /// do.
    pub(super) fn fate(&self, random: &mut fastrand::Rng) -> Fate {
        let mut happens = |rate: f64| random.f64() < rate;
        let (hangs, fails, drops, refuses) = (
            happens(self.hang_rate),
            happens(self.fail_rate),
            happens(self.drop_after_charge_rate),
            happens(self.refuse_rate),
        );
        match (hangs, fails, refuses, drops) {
            (true, _, _, _) => Fate::Hangs,
            (_, true, _, _) => Fate::Fails,
            (_, _, true, _) => Fate::Refuses,
            (_, _, _, true) => Fate::DropsAfterCharge,
            _ => Fate::Answers,
        }
    }
}

fn latency(text: &str) -> Result<u64, &'static str> {
    let latency = text.parse().ok().filter(|ms| *ms <= MAX_LATENCY_MS);
    latency.ok_or("is not a whole number of milliseconds from 0 to 60000")
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
    rate.ok_or("is not a number from 0 to 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_none() {
        for (name, value) in [
            ("latency_ms", "-1"),
            ("latency_ms", "1.5"),
            ("latency_ms", "60001"),
            ("fail_rate", "NaN"),
            ("fail_rate", "1.01"),
            ("hang_rate", "-0.1"),
            ("drop_after_charge_rate", "50%"),
            ("hang_rate", "inf"),
            ("latency", "1"),
        ] {
            let mut knobs = Knobs::default();
            assert!(knobs.set(name, value).is_err(), "{name}={value}");
            assert_eq!(knobs, Knobs::default());
        }
    }

    #[test]
    fn the_same_seed_fails_in_the_same_places() {
        let fates = |seed, knobs: Knobs| -> Vec<_> {
            let mut random = fastrand::Rng::with_seed(seed);
            (0..100).map(|_| knobs.fate(&mut random)).collect()
        };
        let mut knobs = Knobs::default();
        assert_eq!(fates(7, knobs), [Fate::Answers; 100]);
        knobs.set("fail_rate", "0.5").unwrap();
        let failed = fates(7, knobs);
        assert_eq!(failed, fates(7, knobs));
        assert_ne!(failed, fates(8, knobs));
        assert!(failed.contains(&Fate::Fails) && failed.contains(&Fate::Answers));
        // Those that failed still do, with another knob beside it.
        knobs.set("drop_after_charge_rate", "1").unwrap();
        for (before, after) in failed.into_iter().zip(fates(7, knobs)) {
            assert_eq!(before == Fate::Fails, after == Fate::Fails);
        }
        knobs.set("hang_rate", "1").unwrap();
        assert_eq!(fates(7, knobs), [Fate::Hangs; 100]);
    }
}
