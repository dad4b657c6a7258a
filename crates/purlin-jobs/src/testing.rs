//! For tests of what enqueues and runs jobs, and for tests of stores (feature `testing`).
//!
//! ```rust
//! use purlin_jobs::testing::{Call, Fault, FaultyStore, InlineRunner};
//! use purlin_jobs::{Job, JobContext, JobError, Jobs, MemoryStore, Worker, assert_enqueued, handler_fn};
//! use purlin_store::testing::ManualClock;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)] struct SendReceipt { order: u64 }
//! # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
//! # async fn send(_: SendReceipt, _: JobContext) -> Result<(), JobError> { Ok(()) }
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = ManualClock::new(std::time::UNIX_EPOCH);
//! let store = FaultyStore::new(MemoryStore::new().with_clock(clock.clone()));
//! let jobs = Jobs::new(store.clone());
//!
//! // Calls that fail, hang, come late or lose their answers.
//! store.fail(Call::Enqueue, Fault::reply_lost(), 1);
//! assert!(jobs.enqueue(SendReceipt { order: 7 }).await.is_err());
//!
//! // What is enqueued; if there is none, the failure lists what there is.
//! assert_enqueued!(jobs, SendReceipt, |job| job.order == 7);
//!
//! // All of it, retries and delays included, in this task, while the clock is moved.
//! let worker = Worker::new(store).register(handler_fn(send));
//! let ran = InlineRunner::new(worker).with_clock(clock).run_to_end().await?;
//! assert_eq!(ran.len(), 1);
//! # Ok(()) }
//! ```
//!
//! A whole worker runs in paused time with a [`VirtualClock`] in the store, and with
//! [`SeededIds`] a test that is repeated meets the same ids. A store of your own passes the suite in
//! [`conformance`].

pub mod conformance;
mod enqueued;
mod faults;
mod seeded_ids;
mod virtual_clock;

pub use self::enqueued::{Found, find_enqueued};
pub use self::faults::{Call, Fault, FaultyStore};
pub use self::seeded_ids::SeededIds;
pub(crate) use self::seeded_ids::seeded_id;
pub use self::virtual_clock::VirtualClock;
pub use crate::worker::inline::{InlineRunner, Ran};
