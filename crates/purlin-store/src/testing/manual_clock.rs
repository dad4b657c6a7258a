use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::Clock;

/// A clock that stands still until a test moves it. Clones share the time.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use purlin_store::{Clock, testing::ManualClock};
///
/// let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_000));
/// let in_the_store = clock.clone();
/// clock.advance(Duration::from_secs(30));
/// assert_eq!(in_the_store.override_micros(), Some(1_030_000_000));
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<SystemTime>>);

impl ManualClock {
    /// A clock that says `start`.
    #[must_use]
    pub fn new(start: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(start)))
    }

    /// Moves the time forward.
    ///
    /// # Panics
    ///
    /// When the platform's [`SystemTime`] cannot hold the sum.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Sets the time, backwards too.
    pub fn set(&self, now: SystemTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

impl Clock for ManualClock {
    fn override_now(&self) -> Option<SystemTime> {
        Some(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
