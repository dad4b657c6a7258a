//! The database is away, silent, or busy, while the program runs.

use std::time::{Duration, Instant};

use purlin_testkit::{FaultProxy, TestDatabase};
use reqwest::Method;
use serde_json::json;
use sqlx::{
    Connection as _, Executor as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions,
};

use crate::{
    harness::{Answer, Store, text},
    products::assert_works,
};

/// The longest that a client waits for a refusal.
const SOON: Duration = Duration::from_secs(8);

on_both_databases! { a_row_that_stays_locked_is_a_503_and_nothing_is_taken }

async fn a_row_that_stays_locked_is_a_503_and_nothing_is_taken(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(5).await;
    let order = json!({"items": [{"product_id": mug, "quantity": 1}]});
    let (mut postgres, mut sqlite) = (None, None);
    if let Some(url) = store.url() {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection
            .execute("begin; select * from products for update")
            .await
            .unwrap();
        postgres = Some(connection);
    } else {
        let options = SqliteConnectOptions::new().filename(store.folder().join("orders.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        connection.execute("begin immediate").await.unwrap();
        sqlite = Some(connection);
    }
    let begun = Instant::now();
    let refused = shop.post("/v1/orders", &order).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(refused.header("retry-after"), "1");
    refused.problem(503, "database-unavailable");
    // Readers do not wait.
    assert_eq!(shop.stock(&mug).await, 5);
    assert_eq!(shop.get("/readyz").await.status, 200);
    if let Some(mut connection) = postgres {
        connection.execute("rollback").await.unwrap();
    }
    if let Some(mut connection) = sqlite {
        connection.execute("rollback").await.unwrap();
    }
    shop.post("/v1/orders", &order).await.expect(201);
    assert_eq!(shop.stock(&mug).await, 4);
}

/// Behind a proxy that the test can break.
async fn behind_proxy() -> Option<(TestDatabase, FaultProxy, Store, String)> {
    let database = TestDatabase::create()?;
    let proxy = FaultProxy::before(&database.url()).await;
    let url = proxy.url(&database.url());
    Some((database, proxy, Store::sqlite(), url))
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_goes_away_and_comes_back() {
    let Some((_database, mut proxy, store, url)) = behind_proxy().await else {
        return;
    };
    let shop = store.start_with(&[("DATABASE_URL", &url)]).await;
    assert_works(&shop).await;
    proxy.refuse().await;
    proxy.cut();
    let body = json!({"name": "Mug", "price_cents": 1, "stock": 1});
    for request in [
        shop.request(Method::GET, "/v1/products"),
        shop.request(Method::POST, "/v1/products").json(&body),
    ] {
        let begun = Instant::now();
        let refused = Answer::of(request).await;
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert_eq!(refused.header("retry-after"), "1");
        let problem = refused.problem(503, "database-unavailable");
        assert_eq!(problem.get("detail"), None, "nothing of the driver is told");
    }
    let not_ready = shop.get("/readyz").await;
    assert_eq!(not_ready.header("retry-after"), "1");
    not_ready.problem(503, "not-ready");
    shop.get("/livez").await.expect(200);
    proxy.accept().await;
    assert_works(&shop).await;
    shop.get("/readyz").await.expect(200);
    let log = std::fs::read_to_string(store.log()).unwrap();
    assert!(
        log.contains("create product"),
        "the log says what failed: {log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_falls_silent() {
    let Some((_database, proxy, store, url)) = behind_proxy().await else {
        return;
    };
    let shop = store.start_with(&[("DATABASE_URL", &url)]).await;
    assert_works(&shop).await;
    proxy.swallow();
    let begun = Instant::now();
    let (list, ready) = tokio::join!(shop.get("/v1/products"), shop.get("/readyz"));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    list.problem(503, "database-unavailable");
    ready.problem(503, "not-ready");
    shop.get("/livez").await.expect(200);
    // What was swallowed is lost for good: those connections are cut, as a firewall would.
    proxy.pass();
    proxy.cut();
    assert_works(&shop).await;
}

/// Two transactions that wait for each other: Postgres ends ours, which is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_ends_a_deadlock() {
    let Some(store) = Store::postgres() else {
        return;
    };
    let url = store.url().expect("it is Postgres");
    let shop = store.start().await;
    let mut ids = [shop.product(5).await, shop.product(5).await];
    ids.sort();
    let [low, high] = ids;
    let lock = |id: &str| format!("select * from products where id = '{id}' for update");
    let mut other = PgConnection::connect(&url).await.unwrap();
    // So that it is not the other one that is ended.
    other
        .execute("set deadlock_timeout = '1min'")
        .await
        .unwrap();
    other.execute("begin").await.unwrap();
    other
        .execute(sqlx::AssertSqlSafe(lock(&high)))
        .await
        .unwrap();
    let order = json!({"items": [
        {"product_id": low, "quantity": 1}, {"product_id": high, "quantity": 1},
    ]});
    let ours = shop.post("/v1/orders", &order);
    let theirs = async {
        let mut watcher = PgConnection::connect(&url).await.unwrap();
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(waiting)
            .fetch_one(&mut watcher)
            .await
            .unwrap()
            == 0
        {}
        other
            .execute(sqlx::AssertSqlSafe(lock(&low)))
            .await
            .unwrap();
        other.execute("commit").await.unwrap();
    };
    let (answer, ()) = tokio::join!(ours, theirs);
    assert_eq!(text(&answer.expect(201)["status"]), "pending");
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    while sqlx::query_scalar::<_, i64>(deadlocks)
        .fetch_one(&mut watcher)
        .await
        .unwrap()
        == 0
    {}
    assert_eq!((shop.stock(&low).await, shop.stock(&high).await), (4, 4));
}
