//! What the tests of this workspace stand on: real servers, servers that a test may break, a proxy
//! that breaks connections, and checks that every tower layer must pass.
//!
//! Nothing here knows a type of the crates it tests. Tests that need it live in `tests/`.
//!
//! # Which servers
//!
//! `PURLIN_TEST_POSTGRES_URL` and `PURLIN_TEST_REDIS_URL` name running servers on which each test
//! gets a place of its own ([`TestDatabase`], [`TestSchema`], [`TestRedis`]). Private servers
//! ([`PostgresServer`], [`PgBouncer`], [`RedisServer`], [`RedisCluster`], [`RedisSentinel`]) are started from the
//! binaries of this machine and belong to one test, which may stop, freeze, kill and restart them.
//!
//! Where a server is missing the constructor returns `None` after writing to stderr what was
//! skipped, and the test returns; with `PURLIN_TEST_REQUIRE=1` it panics instead.

mod database;
mod keys;
pub mod layer;
mod proxy;
mod server;
mod skip;
mod sqlite;

pub use database::{TestDatabase, TestSchema};
pub use keys::TestRedis;
pub use proxy::FaultProxy;
pub use server::cluster::RedisCluster;
pub use server::pgbouncer::PgBouncer;
pub use server::postgres::PostgresServer;
pub use server::redis::RedisServer;
pub use server::sentinel::RedisSentinel;
pub use skip::skip;
pub use sqlite::TestFile;
