//! `PostgresStore` on a real Postgres.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

mod bouncer;
mod harness;
mod joined;
mod low_water;
mod notes;
mod plans;
mod schedules;
mod schema;
mod wakeups;
mod wal;
mod working;
