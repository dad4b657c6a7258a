//! `RedisStore` on a real Redis.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

mod cluster;
mod concurrency;
mod dropped;
mod faults;
mod harness;
mod histories;
mod layout;
mod lifetime;
mod round_trips;
#[path = "../shared/short_histories.rs"]
mod short_histories;
