//! SQLite: as Postgres, with one writer at a time.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use purlin_benches::load::{Load, table};
use purlin_idempotency::{IdempotencyLayer, RequestBody, RequestTransaction, SqliteStore};
use purlin_store::sqlite::{SqliteConfig, begin_immediate};
use purlin_testkit::TestFile;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tower::{Layer as _, service_fn};

use crate::{
    FIRST, REPLAY,
    apps::{self, App, Plain},
};

type Body = Full<Bytes>;

pub async fn run() {
    let file = TestFile::new();
    let (pool, store) = open(&file).await;
    let table_of_orders = "create table orders (id integer primary key, document blob not null)";
    sqlx::raw_sql(table_of_orders)
        .execute(&pool)
        .await
        .expect("is made");
    println!("\nSQLite, synchronous = FULL, WAL.");
    let title = "First request that inserts one row, SQLite";
    table(title, &[1, 16], &first(&pool, &store), FIRST, &[]).await;
    let loads = replay(&pool, &store).await;
    table("Replay, SQLite", &[1, 16], &loads, REPLAY, &[]).await;
    apps::tell_conflicts();
    pool.close().await;
}

pub async fn open(file: &TestFile) -> (SqlitePool, SqliteStore) {
    let pool = SqliteConfig::new(file.path()).connect().await;
    let pool = pool.expect("opens");
    let store = SqliteStore::new(pool.clone());
    store.migrate().await.expect("migrates");
    (pool, store)
}

fn first(pool: &SqlitePool, store: &SqliteStore) -> Vec<Load> {
    let own = pool.clone();
    let alone = Plain(service_fn(move |request: Request<Body>| {
        place(own.clone(), request)
    }));
    vec![
        apps::first("no layer, `BEGIN IMMEDIATE`, `INSERT`, `COMMIT`", alone),
        apps::first("purlin, transactional", transactional(store, true)),
        apps::first("purlin, lease", leased(store, pool, true)),
    ]
}

async fn insert(connection: &mut SqliteConnection, document: &[u8]) {
    let sql = "insert into orders (document) values ($1)";
    let query = sqlx::query(sql).bind(document).execute(connection);
    query.await.expect("inserts");
}

async fn place<B>(pool: SqlitePool, request: Request<B>) -> Result<Response<Body>, Infallible>
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let document = request
        .into_body()
        .collect()
        .await
        .expect("is read")
        .to_bytes();
    let mut transaction = begin_immediate(&pool).await.expect("begins");
    insert(&mut transaction, &document).await;
    transaction.commit().await.expect("commits");
    Ok(apps::created())
}

fn leased(store: &SqliteStore, pool: &SqlitePool, cached: bool) -> impl App {
    let mut layer = IdempotencyLayer::leased(store.clone()).single_tenant();
    if !cached {
        layer = layer.with_replay_cache_bytes(0);
    }
    let pool = pool.clone();
    let service = move |request: Request<RequestBody<Body>>| place(pool.clone(), request);
    Plain(layer.layer(service_fn(service)))
}

fn transactional(store: &SqliteStore, cached: bool) -> impl App {
    let mut layer = IdempotencyLayer::transactional(store.clone()).single_tenant();
    if !cached {
        layer = layer.with_replay_cache_bytes(0);
    }
    let service = |request: Request<RequestBody<Body>>| async {
        let transaction = RequestTransaction::<Sqlite>::take(request.extensions());
        let document = request
            .into_body()
            .collect()
            .await
            .expect("is read")
            .to_bytes();
        insert(&mut transaction.expect("is there"), &document).await;
        Ok::<Response<Body>, Infallible>(apps::created())
    };
    Plain(layer.layer(service_fn(service)))
}

async fn replay(pool: &SqlitePool, store: &SqliteStore) -> Vec<Load> {
    let by_lease = apps::replay("purlin, lease", leased(store, pool, false)).await;
    // The newest record is the one that the line above has made.
    let newest = "select id from purlin_idempotency order by rowid desc limit 1";
    let id: Vec<u8> = sqlx::query_scalar(newest)
        .fetch_one(pool)
        .await
        .expect("is there");
    let connections = pool.clone();
    let select = Load::new("`SELECT` of the answer by primary key", move || {
        let (pool, id) = (connections.clone(), id.clone());
        async move {
            let sql = "select answer from purlin_idempotency where id = $1";
            let answer = sqlx::query_scalar::<_, Vec<u8>>(sql).bind(&id);
            let answer = answer.fetch_one(&pool).await.expect("is there");
            assert!(answer.ends_with(&apps::ANSWER));
        }
    });
    let by_transaction = apps::replay("purlin, transactional", transactional(store, false)).await;
    vec![select, by_lease, by_transaction]
}
