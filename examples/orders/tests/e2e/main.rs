//! The built program as a process of its own, over HTTP, on SQLite and on Postgres.
//!
//! Postgres is the server named by `PURLIN_TEST_POSTGRES_URL`; each test has a database of its own.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

/// Each test once on each kind of database.
macro_rules! on_both_databases {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::harness::Store::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let Some(store) = crate::harness::Store::postgres() else { return };
                super::$test(store).await;
            })*
        }
    };
}

mod bad_input;
mod fake_provider;
mod faults;
mod harness;
mod idempotency;
mod operations;
mod orders;
mod payment_faults;
mod payments;
mod products;
mod receipts;
mod reconciliation;
mod shutdown;
mod start;
mod webhooks;
