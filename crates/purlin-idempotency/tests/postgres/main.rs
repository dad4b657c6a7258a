//! `PostgresStore` on a real Postgres.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

mod bouncer;
mod concurrency;
mod copies;
mod dropped;
mod faults;
mod harness;
mod histories;
mod inbox;
mod joined;
mod plans;
mod round_trips;
mod schema;
#[path = "../shared/short_histories.rs"]
mod short_histories;
mod units;
mod wire;
