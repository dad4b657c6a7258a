//! Redis as a store: one node, sentinels or a cluster behind one handle (feature `redis`).

mod config;
mod connection;
mod error;
mod handle;
mod keys;
mod scan;
mod script;

pub use config::RedisConfig;
pub use deadpool_redis::redis as driver;
pub use handle::RedisHandle;
pub use keys::KeySpace;
pub use scan::Scan;
pub use script::{Invocation, Script};
