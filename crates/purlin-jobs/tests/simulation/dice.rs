use std::sync::Mutex;
use std::time::Duration;

/// All chance of a simulation.
#[derive(Debug)]
pub(crate) struct Dice(Mutex<fastrand::Rng>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }

    /// Less than `n`.
    pub(crate) fn below(&self, n: usize) -> usize {
        self.0.lock().unwrap().usize(..n)
    }

    /// In so many cases of a thousand.
    pub(crate) fn chance(&self, per_mille: u32) -> bool {
        self.0.lock().unwrap().u32(..1_000) < per_mille
    }

    pub(crate) fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.0.lock().unwrap().u64(range))
    }
}
