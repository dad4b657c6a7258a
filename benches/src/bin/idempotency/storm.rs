//! A storm: a thousand copies of one request at once, whose handler takes 20 ms.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use purlin_benches::load;
use purlin_idempotency::{IdempotencyLayer, InFlight, Leased, MemoryStore, PostgresStore};
use purlin_testkit::TestFile;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    apps::{self, App, Key, REQUEST, Work},
    postgres, redis,
    servers::{CONNECTIONS, Postgres, Redis},
    sqlite,
};

const COPIES: usize = 1_000;
const STORMS: usize = 7;
const WORK: Duration = Duration::from_millis(20);

pub async fn run(redis: Option<&Redis>, postgres: Option<&Postgres>) {
    println!("\n| {COPIES} copies at once | executions | answers | p50 | p99 | connections held |");
    println!("|---|--:|---|--:|--:|--:|");
    let leased = || IdempotencyLayer::leased(MemoryStore::new()).single_tenant();
    measure(apps::NO_LAYER, None, |work| apps::no_layer(work)).await;
    measure("purlin, `MemoryStore`", None, |work| {
        apps::purlin(&leased(), work)
    })
    .await;
    let waiting = leased().with_in_flight(InFlight::Wait {
        timeout: Duration::from_secs(5),
    });
    measure("purlin, `MemoryStore`, waiting", None, |work| {
        apps::purlin(&waiting, work)
    })
    .await;
    measure(apps::IDEMPOTENT_MEMORY, None, apps::idempotent_memory).await;
    measure(apps::AXUM_IDEMPOTENT, None, |work| {
        apps::axum_idempotent(true, work)
    })
    .await;
    if let Some(server) = redis {
        let layer = redis::layer(server);
        measure("purlin, `RedisStore`", None, |work| {
            apps::purlin(&layer, work)
        })
        .await;
        let store = redis::idempotent_store(server).await;
        measure(apps::IDEMPOTENT_REDIS, None, |work| {
            apps::idempotent(store.clone(), work)
        })
        .await;
    }
    let file = TestFile::new();
    let (_, store) = sqlite::open(&file).await;
    let layer = IdempotencyLayer::leased(store.clone()).single_tenant();
    measure("purlin, `SqliteStore`, lease", None, |work| {
        apps::purlin(&layer, work)
    })
    .await;
    let layer = IdempotencyLayer::transactional(store).single_tenant();
    measure("purlin, `SqliteStore`, transactional", None, |work| {
        apps::purlin(&layer, work)
    })
    .await;
    if let Some(server) = postgres {
        let (pool, held) = watched(server).await;
        let store = PostgresStore::new(pool);
        store.migrate().await.expect("migrates");
        let layer: IdempotencyLayer<Leased> = postgres::leased(&store);
        measure("purlin, `PostgresStore`, lease", Some(&held), |work| {
            apps::purlin(&layer, work)
        })
        .await;
        let layer = postgres::transactional(&store);
        let name = "purlin, `PostgresStore`, transactional";
        measure(name, Some(&held), |work| apps::purlin(&layer, work)).await;
    }
}

/// Several storms, each of another key.
async fn measure<A: App>(name: &str, held: Option<&Held>, app: impl FnOnce(Work) -> A) {
    let work = Work {
        takes: WORK,
        ..Work::default()
    };
    let app = app(work.clone());
    // Connections, threads and statements are there before the first one.
    storm(&app).await;
    if let Some(held) = held {
        held.most.store(0, Ordering::SeqCst);
    }
    let mut executions = 0;
    let (mut statuses, mut times) = (BTreeMap::new(), Vec::new());
    for _ in 0..STORMS {
        work.executions.store(0, Ordering::SeqCst);
        for (status, took) in storm(&app).await {
            *statuses.entry(status).or_insert(0_u32) += 1;
            times.push(took.as_secs_f64());
        }
        executions = executions.max(work.executions.load(Ordering::SeqCst));
    }
    times.sort_by(f64::total_cmp);
    let percentile = |percent: usize| load::time(times[times.len() * percent / 100]);
    let answers: Vec<_> = statuses
        .iter()
        .map(|(status, count)| {
            let average = (f64::from(*count) * 10.0 / STORMS as f64).round() / 10.0;
            format!("{average} × {status}")
        })
        .collect();
    println!(
        "| {name} | {executions} | {} | {} | {} | {} |",
        answers.join(", "),
        percentile(50),
        percentile(99),
        held.map_or_else(String::new, |held| held
            .most
            .load(Ordering::SeqCst)
            .to_string()),
    );
}

async fn storm(app: &impl App) -> Vec<(u16, Duration)> {
    let key = Key::fresh();
    let (begin, begins) = watch::channel(false);
    let mut copies = JoinSet::new();
    for _ in 0..COPIES {
        let (app, mut begins) = (app.clone(), begins.clone());
        copies.spawn(async move {
            begins.wait_for(|begun| *begun).await.expect("begins");
            let begun = Instant::now();
            let answered = app.send(Some(key), REQUEST.clone()).await;
            (answered.status.as_u16(), begun.elapsed())
        });
    }
    // All of them wait by then, or nearly so.
    tokio::task::yield_now().await;
    begin.send_replace(true);
    copies.join_all().await
}

/// How many connections of a pool are lent at once.
#[derive(Clone, Default)]
struct Held {
    now: Arc<AtomicI64>,
    most: Arc<AtomicI64>,
}

impl Held {
    fn lent(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }
}

async fn watched(postgres: &Postgres) -> (PgPool, Held) {
    let held = Held::default();
    let (opened, lent, back) = (held.clone(), held.clone(), held.clone());
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(60))
        // A new connection is lent without the next hook.
        .after_connect(move |_, _| {
            opened.lent();
            Box::pin(async { Ok(()) })
        })
        .before_acquire(move |_, _| {
            lent.lent();
            Box::pin(async { Ok(true) })
        })
        .after_release(move |_, _| {
            back.now.fetch_sub(1, Ordering::SeqCst);
            Box::pin(async { Ok(true) })
        })
        // One that connects now is given back without a hook.
        .connect_lazy(&postgres.url());
    (pool.expect("is a URL"), held)
}
