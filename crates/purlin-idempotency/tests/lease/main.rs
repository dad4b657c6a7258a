//! Leases: heartbeats, losses, a store that fails or stands still, clients that leave.

#[path = "../common/mod.rs"]
mod common;

mod copies;
mod detached;
mod events;
mod lost;
mod store_down;
mod unruly;
