//! `RedisStore` on a real Redis.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

mod cluster;
mod faults;
mod harness;
mod layout;
mod round_trips;
mod servers;
mod speed;
mod wakeups;
