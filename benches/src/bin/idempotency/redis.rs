//! Redis: against the bare commands on one multiplexed connection.

use std::{sync::Arc, time::Duration};

use purlin_benches::load::{Load, table};
use purlin_idempotency::store::{Claim, Claimed, Completion, Fenced};
use purlin_idempotency::{
    Fingerprint, IdempotencyLayer, IdempotencyStore as _, Leased, RecordId, RedisStore, Scope,
};
use purlin_store::redis::{RedisConfig, RedisHandle};
use redis::{Cmd, aio::MultiplexedConnection};

use crate::{
    FIRST, REPLAY,
    apps::{self, ANSWER, App, Key, REQUEST, Work},
    servers::{Command, Redis},
};

/// As long as a claim with its fingerprint is.
const CLAIM: [u8; 96] = [7; 96];
const LEASE_MS: u64 = 30_000;
const RETENTION_MS: u64 = 86_400_000;
const COMPARE_AND_SET: &str = "
    local now = redis.call('GET', KEYS[1])
    if now ~= ARGV[1] then return now end
    return redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])";

pub async fn run(redis: &Redis) {
    println!("\n{}.", redis.describe());
    let loads = first(redis).await;
    let more = [(
        "commands of one request; the server's time for them",
        commands(redis, &loads).await,
    )];
    table("First request, Redis", &[1, 64], &loads, FIRST, &more).await;
    println!(
        "\nThe store of axum-idempotent for Redis needs Redis 7.4, for the expiry of hash fields."
    );
    let loads = replay(redis).await;
    let more = [(
        "commands of one request; the server's time for them",
        commands(redis, &loads).await,
    )];
    table("Replay, Redis", &[1, 64], &loads, REPLAY, &more).await;
    apps::tell_conflicts();
}

pub fn layer(redis: &Redis) -> IdempotencyLayer<Leased> {
    IdempotencyLayer::leased(RedisStore::new(handle(redis))).single_tenant()
}

fn handle(redis: &Redis) -> RedisHandle {
    RedisConfig::node(redis.url()).open().expect("is a URL")
}

/// The peer's, connected.
pub async fn idempotent_store(redis: &Redis) -> idempotent::valkey::ValkeyStore {
    let store = idempotent::valkey::ValkeyStore::with_url(redis.url()).prefix("bench");
    store.try_build().await.expect("connects")
}

/// What `RedisStore` sends, with arguments of the same sizes, by the driver alone.
struct Scripts {
    connection: MultiplexedConnection,
    claim: String,
    complete: String,
}

impl Scripts {
    async fn load(redis: &Redis) -> Self {
        macro_rules! lua {
            ($name:literal) => {
                include_str!(concat!(
                    "../../../../crates/purlin-idempotency/src/store/redis/",
                    $name,
                    ".lua"
                ))
            };
        }
        let now = "local function now()
            local time = redis.call('TIME')
            return time[1] * 1000000 + time[2]
        end\n";
        let claim = [now, lua!("claim"), lua!("record"), lua!("claim_found")];
        let complete = [
            now,
            lua!("complete"),
            lua!("record"),
            lua!("complete_other"),
        ];
        Self {
            connection: redis.connection.clone(),
            claim: redis.load(&claim.concat()).await,
            complete: redis.load(&complete.concat()).await,
        }
    }

    async fn run(&self, app: impl App) {
        let key = Key::fresh();
        let record = key.record();
        let mut connection = self.connection.clone();
        let begin = [&b"\x01\0\x01\0\0\0\0\0\0\0\x01"[..], &[7; 16]].concat();
        let mut claim = script(&self.claim);
        claim.arg(&record).arg("").arg(LEASE_MS * 1_000);
        claim.arg(RETENTION_MS * 1_000).arg(RETENTION_MS);
        claim.arg(&begin).arg(&[7_u8; 41][..]).arg(0);
        let claimed = claim.query_async(&mut connection).await;
        assert_eq!(claimed, Ok(1));
        let answered = app.send(Some(key), REQUEST.clone()).await;
        let head = [&b"\x01\x01\x01"[..], &begin[3..], &[127; 57]].concat();
        let mut complete = script(&self.complete);
        complete
            .arg(&record)
            .arg("")
            .arg(&begin[3..])
            .arg(RETENTION_MS);
        complete.arg([&head[..], &answered.body].concat());
        let completed = complete.query_async(&mut connection).await;
        assert_eq!(completed, Ok(1));
    }
}

/// The two calls of the store around the handler, without the layer.
async fn store(store: &RedisStore, app: impl App) {
    let key = Key::fresh();
    let id = RecordId::new("bench", &Scope::principal("bench"), &key.parsed());
    let fingerprint = Fingerprint::from_bytes(&[7; 41]).expect("is one");
    let claim = Claim::new(id, Duration::from_millis(LEASE_MS)).with_fingerprint(Some(fingerprint));
    let Ok(Claimed::Acquired(lease)) = store.claim(&claim).await else {
        panic!("nobody else has it")
    };
    let answered = app.send(Some(key), REQUEST.clone()).await;
    let retention = Duration::from_millis(RETENTION_MS);
    let completion = Completion::new(fingerprint, answered.body, retention);
    let completed = store.complete(&lease, &completion).await;
    assert_eq!(completed.expect("completes"), Fenced::Applied);
}

/// A claim unless the key is there, the handler, and the completion of its answer.
async fn raw(
    connection: &MultiplexedConnection,
    app: impl App,
    mut claim: Cmd,
    complete: impl FnOnce(&str, &[u8]) -> Cmd,
) {
    let key = Key::fresh();
    let mut connection = connection.clone();
    let record = key.record();
    claim.arg(&record).arg(&CLAIM[..]);
    claim.arg("PX").arg(LEASE_MS).arg("NX").arg("GET");
    let before: Option<Vec<u8>> = claim.query_async(&mut connection).await.expect("claims");
    assert!(before.is_none());
    let answered = app.send(Some(key), REQUEST.clone()).await;
    let completed = complete(&record, &answered.body)
        .query_async(&mut connection)
        .await;
    assert_eq!(completed, Ok("OK".to_owned()));
}

async fn first(redis: &Redis) -> Vec<Load> {
    let app = apps::no_layer(Work::default());
    let (connection, handler) = (redis.connection.clone(), app.clone());
    let commands = move || {
        let (connection, app) = (connection.clone(), handler.clone());
        let complete = |record: &str, body: &[u8]| {
            let mut set = redis::cmd("SET");
            set.arg(record).arg(body).arg("PX").arg(RETENTION_MS);
            set
        };
        async move { raw(&connection, app, redis::cmd("SET"), complete).await }
    };
    let complete = redis.load(COMPARE_AND_SET).await;
    let connection = redis.connection.clone();
    let fenced = move || {
        let (connection, app, complete) = (connection.clone(), app.clone(), complete.clone());
        let complete = move |record: &str, body: &[u8]| {
            let mut set = script(&complete);
            set.arg(record).arg(&CLAIM[..]).arg(body).arg(RETENTION_MS);
            set
        };
        async move { raw(&connection, app, redis::cmd("SET"), complete).await }
    };
    let own = Arc::new(Scripts::load(redis).await);
    let handler = apps::no_layer(Work::default());
    let scripts = move || {
        let (own, app) = (own.clone(), handler.clone());
        async move { own.run(app).await }
    };
    let handler = apps::no_layer(Work::default());
    let unwrapped = RedisStore::new(handle(redis));
    let by_itself = move || {
        let (unwrapped, app) = (unwrapped.clone(), handler.clone());
        async move { store(&unwrapped, app).await }
    };
    let peer = idempotent_store(redis).await;
    vec![
        Load::new(
            "the two scripts of `RedisStore`, by the driver alone",
            scripts,
        ),
        Load::new("purlin, `RedisStore` without the layer", by_itself),
        Load::new(
            "`SET PX NX GET`, the handler, a script that compares and sets",
            fenced,
        ),
        Load::new(
            "the same with a bare `SET PX`, which fences nothing",
            commands,
        ),
        apps::first(
            "purlin, `RedisStore`",
            apps::purlin(&layer(redis), Work::default()),
        ),
        apps::first(
            apps::IDEMPOTENT_REDIS,
            apps::idempotent(peer, Work::default()),
        ),
    ]
}

async fn replay(redis: &Redis) -> Vec<Load> {
    let name = Key::fresh().record();
    let mut set = redis::cmd("SET");
    set.arg(&name).arg(&ANSWER[..]);
    let done = set.exec_async(&mut redis.connection.clone()).await;
    done.expect("is set");
    let hash = redis.load("return redis.call('GET', KEYS[1])").await;
    let get = |text, command: Cmd| {
        let connection = redis.connection.clone();
        Load::new(text, move || {
            let (mut connection, command) = (connection.clone(), command.clone());
            async move {
                let answer = command.query_async(&mut connection).await;
                assert_eq!(answer, Ok(ANSWER.to_vec()));
            }
        })
    };
    let (uncached, cached) = (layer(redis).with_replay_cache_bytes(0), layer(redis));
    let (uncached, cached) = (
        apps::purlin(&uncached, Work::default()),
        apps::purlin(&cached, Work::default()),
    );
    let peer = apps::idempotent(idempotent_store(redis).await, Work::default());
    vec![
        get(
            "`GET` of the answer",
            redis::cmd("GET").arg(&name).to_owned(),
        ),
        get("the same in a script", script(&hash).arg(&name).to_owned()),
        apps::replay("purlin, `RedisStore`", uncached).await,
        apps::replay("purlin, in-process cache", cached).await,
        apps::replay(apps::IDEMPOTENT_REDIS, peer).await,
    ]
}

/// A script that is loaded, with one key.
fn script(hash: &str) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(hash).arg(1);
    command
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
