//! Every store against the suite that is published for all of them, and against the memory store in
//! histories that nobody has thought of.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod memory;
mod model;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
