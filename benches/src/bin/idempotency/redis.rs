//! Redis: against the bare commands on one multiplexed connection.

use purlin_benches::load::{Load, table};
use purlin_idempotency::{IdempotencyLayer, Leased, RedisStore};
use purlin_store::redis::RedisConfig;
use redis::AsyncCommands as _;

use crate::{
    FIRST, REPLAY,
    apps::{self, ANSWER, App as _, Key, REQUEST, Work},
    servers::{Command, Redis},
};

/// As long as a claim with its fingerprint is.
const CLAIM: [u8; 96] = [7; 96];
const LEASE_MS: u64 = 30_000;
const RETENTION_MS: u64 = 86_400_000;

pub async fn run(redis: &Redis) {
    println!("\n{}.", redis.describe());
    let loads = first(redis).await;
    let more = [(
        "commands of one request; the server's time for them",
        commands(redis, &loads).await,
    )];
    table("First request, Redis", &[1, 64], &loads, FIRST, &more).await;
    let loads = replay(redis).await;
    let more = [(
        "commands of one request; the server's time for them",
        commands(redis, &loads).await,
    )];
    table("Replay, Redis", &[1, 64], &loads, REPLAY, &more).await;
    apps::tell_conflicts();
}

pub fn layer(redis: &Redis) -> IdempotencyLayer<Leased> {
    let handle = RedisConfig::node(redis.url()).open().expect("is a URL");
    IdempotencyLayer::leased(RedisStore::new(handle)).single_tenant()
}

/// The peer's, connected.
pub async fn idempotent_store(redis: &Redis) -> idempotent::valkey::ValkeyStore {
    let store = idempotent::valkey::ValkeyStore::with_url(redis.url()).prefix("bench");
    store.try_build().await.expect("connects")
}

async fn first(redis: &Redis) -> Vec<Load> {
    let (connection, app) = (redis.connection.clone(), apps::no_layer(Work::default()));
    vec![
        Load::new("`SET NX GET PX`, the handler, `SET PX`", move || {
            let (mut connection, app) = (connection.clone(), app.clone());
            async move {
                let key = Key::fresh();
                let name = key.record();
                let mut claim = redis::cmd("SET");
                claim.arg(&name).arg(&CLAIM[..]).arg("NX").arg("GET");
                claim.arg("PX").arg(LEASE_MS);
                let before: Option<Vec<u8>> =
                    claim.query_async(&mut connection).await.expect("claims");
                assert!(before.is_none());
                let answered = app.send(Some(key), REQUEST.clone()).await;
                let mut complete = redis::cmd("SET");
                complete
                    .arg(&name)
                    .arg(&answered.body[..])
                    .arg("PX")
                    .arg(RETENTION_MS);
                complete
                    .exec_async(&mut connection)
                    .await
                    .expect("completes");
            }
        }),
        apps::first(
            "purlin, `RedisStore`",
            apps::purlin(&layer(redis), Work::default()),
        ),
        apps::first(
            apps::IDEMPOTENT_REDIS,
            apps::idempotent(idempotent_store(redis).await, Work::default()),
        ),
    ]
}

async fn replay(redis: &Redis) -> Vec<Load> {
    let connection = redis.connection.clone();
    let name = Key::fresh().record();
    let mut set = connection.clone();
    let uncached = layer(redis).with_replay_cache_bytes(0);
    let _: () = set.set(&name, &ANSWER[..]).await.expect("is set");
    vec![
        Load::new("`GET` of the answer", move || {
            let (mut connection, name) = (connection.clone(), name.clone());
            async move {
                let answer: Vec<u8> = connection.get(&name).await.expect("is there");
                assert_eq!(answer, ANSWER);
            }
        }),
        apps::replay(
            "purlin, `RedisStore`",
            apps::purlin(&uncached, Work::default()),
        )
        .await,
        apps::replay(
            "purlin, in-process cache",
            apps::purlin(&layer(redis), Work::default()),
        )
        .await,
        apps::replay(
            apps::IDEMPOTENT_REDIS,
            apps::idempotent(idempotent_store(redis).await, Work::default()),
        )
        .await,
    ]
}

/// What the server executes for one request: the commands that came, in brackets those that
/// scripts made of them, and how long it took for all.
async fn commands(redis: &Redis, loads: &[Load]) -> Vec<String> {
    const REQUESTS: u64 = 1_000;
    let mut cells = Vec::new();
    for load in loads {
        load.repeat(REQUESTS).await;
        redis.forget_statistics();
        load.repeat(REQUESTS).await;
        let commands = redis.commands();
        let scripted = commands.iter().any(Command::is_script);
        let (came, made): (Vec<_>, Vec<_>) = commands
            .iter()
            .partition(|command| !scripted || command.is_script());
        let micros: u64 = came.iter().map(|command| command.micros).sum();
        let list = |commands: &[&Command]| {
            let one = |command: &&Command| {
                format!(
                    "{} {}",
                    command.calls as f64 / REQUESTS as f64,
                    command.name
                )
            };
            commands.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let mut cell = if came.is_empty() {
            "0".to_owned()
        } else {
            list(&came)
        };
        if scripted {
            cell += &format!(" ({})", list(&made));
        }
        if !came.is_empty() {
            cell += &format!("; {:.1} µs", micros as f64 / REQUESTS as f64);
        }
        cells.push(cell);
    }
    cells
}
