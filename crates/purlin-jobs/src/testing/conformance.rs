//! One suite that every store passes: the contract of [`JobStore`](crate::JobStore) and [`JobAdmin`],
//! that of [`TransactionalJobStore`], and those of [`ScheduleStore`](crate::store::ScheduleStore),
//! [`NoteStore`](crate::store::NoteStore) and [`LimitStore`](crate::LimitStore), a case for each of their clauses.
//!
//! [`store_conformance!`](crate::store_conformance) and
//! [`transactional_store_conformance!`](crate::transactional_store_conformance), and for stores that keep
//! schedules, notes or groups [`schedule_conformance!`](crate::schedule_conformance),
//! [`note_store_conformance!`](crate::note_store_conformance),
//! [`transactional_note_store_conformance!`](crate::transactional_note_store_conformance),
//! [`limit_store_conformance!`](crate::limit_store_conformance) and
//! [`transactional_limit_store_conformance!`](crate::transactional_limit_store_conformance), make a `#[tokio::test]`
//! of each case, so that a case which is added later is run as well. They need `tokio` with the
//! features `macros` and `rt-multi-thread` where they are used. Each case is a function too, and panics
//! when the store is wrong.
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
mod flows;
mod groups;
mod groups_of_flows;
mod notes;
mod races;
mod schedule;
mod schedules;
mod settle;
mod signals;
mod transactional;
mod unique;
mod wakeups;
mod workers;

use std::future::Future;
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use purlin_store::testing::ManualClock;

pub use self::admin::*;
pub use self::cancel::*;
pub use self::claims::*;
pub use self::dropped::*;
pub use self::enqueue::*;
pub use self::fencing::*;
pub use self::flows::*;
pub use self::groups::*;
pub use self::groups_of_flows::*;
pub use self::notes::*;
pub use self::races::*;
pub use self::schedule::*;
pub use self::schedules::*;
pub use self::settle::*;
pub use self::signals::*;
pub use self::transactional::*;
pub use self::unique::*;
pub use self::wakeups::*;
pub use self::workers::*;
use crate::{JobAdmin, TransactionalJobStore};

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

/// A harness whose store can join a transaction of its caller's.
pub trait TransactionalHarness: Harness {
    /// What the calls that join are given: a connection of sqlx.
    type Connection: Send;

    /// A transaction on one. On SQLite it is one that may write from its beginning (`BEGIN IMMEDIATE`).
    type Transaction: DerefMut<Target = Self::Connection> + Send;

    /// The store.
    type Store: TransactionalJobStore<Self::Connection>;

    /// The same as [`store`](Harness::store).
    fn transactional_store(&self) -> &Self::Store;

    /// Begins one, on a connection of its own.
    fn begin(&self) -> impl Future<Output = Self::Transaction> + Send;

    /// Commits one.
    fn commit(&self, transaction: Self::Transaction) -> impl Future<Output = ()> + Send;

    /// Rolls one back.
    fn roll_back(&self, transaction: Self::Transaction) -> impl Future<Output = ()> + Send;

    /// Whether every writer waits for the end of a transaction that writes, as on SQLite.
    fn waits_for_transactions(&self) -> bool {
        false
    }
}

/// A time for the clock of a harness, with microseconds in it.
#[must_use]
pub fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_800_000_000_123_457)
}
