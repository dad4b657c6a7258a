//! One suite that every store passes: the contract of [`JobStore`](crate::JobStore) and
//! [`JobAdmin`], a case for each of their clauses.
//!
//! [`store_conformance!`](crate::store_conformance) makes a `#[tokio::test]` of each case, so that a
//! case which is added later is run as well. It needs `tokio` with the features `macros` and
//! `rt-multi-thread` where it is used. Each case is a function too, and panics when the store is wrong.
//!
//! ```
//! use std::sync::Arc;
//!
//! use purlin_jobs::testing::conformance::{Harness, start};
//! use purlin_jobs::{JobAdmin, MemoryStore};
//! use purlin_store::testing::ManualClock;
//!
//! struct Memory(MemoryStore, ManualClock);
//!
//! impl Harness for Memory {
//!     fn store(&self) -> Arc<dyn JobAdmin> {
//!         Arc::new(self.0.clone())
//!     }
//!     fn second(&self) -> Arc<dyn JobAdmin> {
//!         Arc::new(self.0.clone())
//!     }
//!     fn clock(&self) -> &ManualClock {
//!         &self.1
//!     }
//! }
//!
//! // `None` skips the tests, for a server that is not there.
//! async fn memory() -> Option<Memory> {
//!     let clock = ManualClock::new(start());
//!     Some(Memory(MemoryStore::new().with_clock(clock.clone()), clock))
//! }
//!
//! mod memory_store {
//!     purlin_jobs::store_conformance!(super::memory());
//! }
//! ```

mod admin;
mod bench;
mod cancel;
mod cases;
mod claims;
mod dropped;
mod enqueue;
mod fencing;
mod races;
mod schedule;
mod settle;
mod unique;
mod wakeups;
mod workers;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use purlin_store::testing::ManualClock;

pub use self::admin::*;
pub use self::cancel::*;
pub use self::claims::*;
pub use self::dropped::*;
pub use self::enqueue::*;
pub use self::fencing::*;
pub use self::races::*;
pub use self::schedule::*;
pub use self::settle::*;
pub use self::unique::*;
pub use self::wakeups::*;
pub use self::workers::*;
use crate::JobAdmin;

/// A store without jobs, made for one case.
pub trait Harness: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn JobAdmin>;

    /// The same jobs through another handle, with connections of its own if the store has any.
    fn second(&self) -> Arc<dyn JobAdmin>;

    /// The clock by which both judge. It stands at any time after 1970 and before 2100, in whole
    /// microseconds.
    fn clock(&self) -> &ManualClock;
}

/// A time for the clock of a harness, with microseconds in it.
#[must_use]
pub fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_800_000_000_123_457)
}
