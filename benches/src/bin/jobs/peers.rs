//! One file for each.

pub mod apalis;
pub mod awa;
pub mod bullmq;
pub mod graphile;
pub mod purlin;
pub mod raw_postgres;
pub mod raw_redis;
pub mod raw_sqlite;
pub mod sidekiq;
pub mod underway;

/// As `purlin_benches::servers::pool`, for those who want an older sqlx.
async fn pool_08(url: &str, connections: u32) -> sqlx_08::PgPool {
    sqlx_08::postgres::PgPoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .acquire_timeout(std::time::Duration::from_secs(60))
        .connect(url)
        .await
        .expect("the server takes connections")
}
