//! `PostgresStore` on a real Postgres.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

mod harness;
mod plans;
