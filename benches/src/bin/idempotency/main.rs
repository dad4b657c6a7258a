//! purlin-idempotency beside its peers, beside no layer, and beside the bare commands of its
//! stores.

mod apps;
mod keyless;
mod memory;
mod postgres;
mod redis;
mod sqlite;
mod storm;

use std::time::Duration;

use purlin_benches::{load::Rounds, machine, servers, version};

/// Each first request leaves a record behind.
const FIRST: Rounds = Rounds {
    max_calls: 2_000,
    ..REPLAY
};

const REPLAY: Rounds = Rounds {
    rounds: 31,
    round: Duration::from_millis(40),
    max_calls: 1_000_000,
};

/// Parts that are named as arguments, or all.
#[tokio::main]
async fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    machine();
    println!("{}.", versions());
    if wanted("keyless") {
        keyless::run();
    }
    if wanted("memory") {
        memory::run().await;
    }
    let mut redis = None;
    if wanted("redis") || wanted("storm") {
        redis = servers::Redis::start().await;
    }
    if let (Some(redis), true) = (&redis, wanted("redis")) {
        redis::run(redis).await;
    }
    let mut postgres = None;
    if wanted("postgres") || wanted("storm") {
        postgres = servers::Postgres::start().await;
    }
    if let (Some(postgres), true) = (&postgres, wanted("postgres")) {
        postgres::run(postgres).await;
    }
    if wanted("sqlite") {
        sqlite::run().await;
    }
    if wanted("storm") {
        storm::run(redis.as_ref(), postgres.as_ref()).await;
    }
}

fn versions() -> String {
    let names = [
        "axum-idempotent",
        "idempotent",
        "redis",
        "ruts",
        "sqlx",
        "tokio",
    ];
    names.map(version).join(", ")
}
