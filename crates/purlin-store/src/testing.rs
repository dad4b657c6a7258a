//! For tests of stores and of what is built on them (feature `testing`).

mod drop_at_await;
mod manual_clock;

pub use drop_at_await::{Dropped, drop_at_every_await};
pub use manual_clock::ManualClock;
