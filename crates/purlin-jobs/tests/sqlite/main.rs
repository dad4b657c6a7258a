//! The store in an SQLite file: real files, other processes, and the ends that they come to.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod apart;
mod cancelled;
mod harness;
mod joined;
mod other_process;
mod schedules;
mod schema;
mod speed;
mod statements;
mod wakeups;
