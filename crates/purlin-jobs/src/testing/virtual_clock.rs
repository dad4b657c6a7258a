use std::time::{Duration, SystemTime, UNIX_EPOCH};

use purlin_store::Clock;
use tokio::time::Instant;

/// A clock for stores that goes as tokio's does: in a test with paused time
/// (`#[tokio::test(start_paused = true)]`) an hour passes in no time. Clones say the same.
///
/// ```
/// # use purlin_jobs::{Job, JobContext, Jobs, MemoryStore, NewJob, Worker, handler_fn, testing::VirtualClock};
/// # use serde::{Deserialize, Serialize};
/// # use std::time::Duration;
/// # #[derive(Serialize, Deserialize)] struct SendReceipt { order: u64 }
/// # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
/// # async fn send(_: SendReceipt, _: JobContext) -> Result<(), purlin_jobs::JobError> { Ok(()) }
/// #[tokio::main(flavor = "current_thread", start_paused = true)]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let store = MemoryStore::new().with_clock(VirtualClock::new());
///     let tomorrow = NewJob::new(&SendReceipt { order: 7 })
///         .with(|options| options.with_delay(Duration::from_secs(24 * 3600)));
///     Jobs::new(store.clone()).enqueue(tomorrow).await?;
///     let worker = Worker::new(store)
///         .register(handler_fn(send))
///         // Where the time is paused as well: not on a thread.
///         .with_heartbeat_spawner(|heartbeat| drop(tokio::spawn(heartbeat)));
///     worker.run_until(tokio::time::sleep(Duration::from_secs(25 * 3600))).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct VirtualClock {
    start: SystemTime,
    begun: Instant,
}

impl VirtualClock {
    /// A clock that begins on a day in 1970.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(UNIX_EPOCH + Duration::from_secs(1_000_000))
    }

    /// A clock that says `start` now.
    #[must_use]
    pub fn starting_at(start: SystemTime) -> Self {
        let begun = Instant::now();
        Self { start, begun }
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for VirtualClock {
    fn override_now(&self) -> Option<SystemTime> {
        Some(self.start + self.begun.elapsed())
    }
}
