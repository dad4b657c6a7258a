//! One suite that every store passes: the contract of
//! [`IdempotencyStore`], and that of
//! [`TransactionalStore`], a case for each of their clauses.
//!
//! [`store_conformance!`](crate::store_conformance) and
//! [`transactional_store_conformance!`](crate::transactional_store_conformance) make a `#[tokio::test]`
//! of each case, so that a case which is added later is run as well. They need `tokio` with the
//! features `macros` and `rt-multi-thread` where they are used. Each case is a function too, and panics
//! when the store is wrong.
//!
//! ```
//! use std::sync::Arc;
//!
//! use purlin_idempotency::testing::conformance::{Harness, start};
//! use purlin_idempotency::{IdempotencyStore, MemoryStore};
//! use purlin_store::testing::ManualClock;
//!
//! struct Memory(MemoryStore, ManualClock);
//!
//! impl Harness for Memory {
//!     fn store(&self) -> Arc<dyn IdempotencyStore> {
//!         Arc::new(self.0.clone())
//!     }
//!     fn second(&self) -> Arc<dyn IdempotencyStore> {
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
//!     purlin_idempotency::store_conformance!(super::memory());
//! }
//! ```

mod bench;
mod cases;
mod claims;
mod completion;
mod dropped;
mod fencing;
mod forgetting;
mod races;
mod time;
mod transactional;
mod units;

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Extensions;
use purlin_store::testing::ManualClock;

pub use self::claims::*;
pub use self::completion::*;
pub use self::dropped::*;
pub use self::fencing::*;
pub use self::forgetting::*;
pub use self::races::*;
pub use self::time::*;
pub use self::transactional::*;
pub use self::units::*;
use crate::{IdempotencyStore, TransactionalStore};

/// A store without records, made for one case.
pub trait Harness: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn IdempotencyStore>;

    /// The same records through another handle, with connections of its own if the store has any.
    fn second(&self) -> Arc<dyn IdempotencyStore>;

    /// The clock by which both judge leases and expiry. It stands at any time after 1970 and before
    /// 2100, in whole microseconds.
    fn clock(&self) -> &ManualClock;

    /// Whether the store deletes what has expired by itself, so that `purge_expired` says 0.
    fn collects_garbage(&self) -> bool {
        false
    }
}

/// A store without records and a place for effects in the same database, made for one case.
pub trait TransactionalHarness: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn TransactionalStore>;

    /// The same records through another handle: one that another request of the same process has.
    fn second(&self) -> Arc<dyn TransactionalStore>;

    /// The clock by which both judge leases and expiry.
    fn clock(&self) -> &ManualClock;

    /// Does what a handler does: takes the transaction out of the extensions of its request, writes
    /// one effect of this name, and gives the transaction back.
    fn write(&self, extensions: &Extensions, effect: u64) -> impl Future<Output = ()> + Send;

    /// Takes the transaction out of the extensions and keeps it until the value is dropped.
    fn keep(&self, extensions: &Extensions) -> Box<dyn Any + Send>;

    /// How many effects of this name are committed.
    fn effects(&self, effect: u64) -> impl Future<Output = u64> + Send;

    /// Whether a unit of work keeps all other writers of the database waiting. Then nobody can be
    /// faster, and the cases about that are skipped.
    fn excludes_writers(&self) -> bool {
        false
    }
}

/// A time for the clock of a harness, with microseconds in it.
#[must_use]
pub fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_800_000_000_123_457)
}
