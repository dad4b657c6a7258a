use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When each part of a worker was last seen at work.
///
/// A store that is down does not make a worker unhealthy, as long as it goes on to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Its loops; none before it has joined and after it has ended.
    pub loops: Vec<LoopHealth>,
}

impl Health {
    /// Whether it runs, and no part of it is stuck.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.loops.is_empty() && self.loops.iter().all(LoopHealth::is_healthy)
    }
}

/// When a loop was last seen at work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoopHealth {
    /// What it does: `claim default`, `settle`, `heartbeat`, `rescue`, `promote`, `schedules`.
    pub name: String,
    /// How long ago its last round began.
    pub age: Duration,
    /// How long a round takes at most when all is well.
    pub interval: Duration,
}

impl LoopHealth {
    /// Whether its last round is not older than twice its interval.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.age <= 2 * self.interval
    }
}

/// The loops of a worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulses(Arc<Mutex<Vec<Arc<Pulse>>>>);

impl Pulses {
    pub(super) fn add(&self, name: String, interval: Duration) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse {
            name,
            interval,
            last: Mutex::new(Instant::now()),
        });
        let mut pulses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.push(Arc::clone(&pulse));
        pulse
    }

    pub(super) fn clear(&self) {
        let mut pulses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.clear();
    }

    pub(super) fn health(&self) -> Health {
        let pulses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Health {
            loops: pulses.iter().map(|pulse| pulse.health()).collect(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) name: String,
    interval: Duration,
    last: Mutex<Instant>,
}

impl Pulse {
    /// Says that a round begins.
    pub(super) fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// Says that a round goes on which began then.
    pub(super) fn beat_at(&self, begun: Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = begun;
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    fn health(&self) -> LoopHealth {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        LoopHealth {
            name: self.name.clone(),
            age: last.elapsed(),
            interval: self.interval,
        }
    }
}
