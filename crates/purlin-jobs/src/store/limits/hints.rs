use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::QueueName;

/// What calls through one handle have heard of rates.
#[derive(Debug, Default)]
pub(in crate::store) struct Hints(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    more_at: HashMap<QueueName, Instant>,
    admits_at: Option<Instant>,
}

impl Hints {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a claim has found; `None` for a queue without a rate, and nothing to wait for when it is over.
    pub(in crate::store) fn more_in(&self, queue: &QueueName, more_in: Option<Duration>) {
        let more_in = more_in.filter(|more_in| !more_in.is_zero());
        let more_at = more_in.and_then(|more_in| Instant::now().checked_add(more_in));
        let mut heard = self.heard();
        match more_at {
            Some(more_at) => drop(heard.more_at.insert(queue.clone(), more_at)),
            None => drop(heard.more_at.remove(queue)),
        }
    }

    pub(in crate::store) fn next_of(&self, queue: &QueueName) -> Option<Duration> {
        let more_at = *self.heard().more_at.get(queue)?;
        Some(more_at.saturating_duration_since(Instant::now()))
    }

    pub(in crate::store) fn admits_in(&self, due_in: Duration) {
        if let Some(at) = Instant::now().checked_add(due_in) {
            let mut heard = self.heard();
            heard.admits_at = Some(heard.admits_at.map_or(at, |known| known.min(at)));
        }
    }

    pub(in crate::store) fn take_admits_in(&self) -> Option<Duration> {
        let at = self.heard().admits_at.take()?;
        Some(at.saturating_duration_since(Instant::now()))
    }
}
