use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A value that tasks wait for. Unlike tokio's `watch`, which tells them in an order of chance, it tells them
/// in the order in which they began to wait: so a simulation can be repeated.
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Clone> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Notify::new(),
        }
    }

    fn value(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self) -> T {
        self.value().clone()
    }

    pub(crate) fn set(&self, value: T) {
        *self.value() = value;
        self.changed.notify_waiters();
    }

    /// Changes the value, and tells who waits if it has changed, which the function says.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T) -> bool) {
        let is_changed = change(&mut self.value());
        if is_changed {
            self.changed.notify_waiters();
        }
    }

    /// Returns when the value is as wanted.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&T) -> bool) -> T {
        loop {
            // Hears of what changes from now on.
            let changed = self.changed.notified();
            let value = self.get();
            if wanted(&value) {
                return value;
            }
            changed.await;
        }
    }
}

impl<T: Clone + Default> Default for Watched<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Clone + fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.get()).finish()
    }
}
