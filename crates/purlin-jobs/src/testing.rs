//! For tests of what enqueues and runs jobs, and for tests of stores (feature `testing`).

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
