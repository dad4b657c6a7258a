//! Every store against the suite that is published for all of them.

#![cfg_attr(feature = "sqlite", expect(clippy::unwrap_used, reason = "a helper that fails fails its test"))]

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;
