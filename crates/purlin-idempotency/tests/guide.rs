//! The guide's code: what `docs/idempotency.md` shows is compiled here word for word, and run.

// The guide is laid out for reading.
#![cfg_attr(rustfmt, rustfmt_skip)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use purlin_idempotency::{
    Answer, Execution, IdempotencyLayer, Inbox, LeaseLost, PostgresStore, Received,
    RequestTransaction, Scope,
};
use purlin_problem::{Problem, ResultExt as _};
use purlin_store::StoreError;
use purlin_testkit::TestDatabase;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool, Postgres};
use tower::ServiceExt as _;

#[derive(Clone)]
struct UserId(String);

#[derive(Deserialize)]
struct NewOrder {
    item: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Payment {
    cents: i64,
}

struct Message {
    id: String,
}

/// A provider that takes idempotency keys itself.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<Vec<String>>>);

impl Provider {
    async fn charge(&self, payment: &Payment, key: &str) -> Result<Payment, std::io::Error> {
        let mut keys = self.0.lock().unwrap();
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
        Ok(payment.clone())
    }
}

async fn insert_order(tx: &mut PgConnection, new: &NewOrder) -> Result<i64, sqlx::Error> {
    let sql = "insert into orders (item) values ($1) returning id";
    sqlx::query_scalar(sql).bind(&new.item).fetch_one(tx).await
}

async fn insert_job(tx: &mut PgConnection, kind: &str, id: i64) -> Result<(), sqlx::Error> {
    let sql = "insert into jobs (kind, order_id) values ($1, $2)";
    sqlx::query(sql).bind(kind).bind(id).execute(tx).await.map(drop)
}

async fn book(tx: &mut PgConnection, charge: &Payment) -> Result<(), sqlx::Error> {
    let sql = "insert into bookings (cents) values ($1)";
    sqlx::query(sql).bind(charge.cents).execute(tx).await.map(drop)
}

async fn book_message(tx: &mut PgConnection, _: &Message) -> Result<(), sqlx::Error> {
    book(tx, &Payment { cents: 1 }).await
}

async fn place(mut tx: RequestTransaction<Postgres>, Json(new): Json<NewOrder>) -> Result<Response, Problem> {
    let id = insert_order(&mut tx, &new).await.internal()?;
    // The job that will send the receipt: another table, the same commit.
    insert_job(&mut tx, "receipt", id).await.internal()?;
    Ok((StatusCode::CREATED, Json(id)).into_response())
}

fn orders(store: PostgresStore) -> Router {
    let idempotency = IdempotencyLayer::transactional(store)
        .scope(|request| Some(Scope::principal(&*request.extensions.get::<UserId>()?.0)))
        .with_required_key();
    Router::new().route("/orders", post(place)).route_layer(idempotency)
}

async fn pay(
    execution: Execution,
    State(provider): State<Provider>,
    Json(payment): Json<Payment>,
) -> Result<Response, Problem> {
    // The same key in every attempt: the provider charges once.
    let charge = provider.charge(&payment, &execution.child_key("charge")).await.internal()?;
    Ok((StatusCode::CREATED, Json(charge)).into_response())
}

fn payments(store: PostgresStore, provider: Provider) -> Router {
    let idempotency = IdempotencyLayer::leased(store)
        .scope(|request| Some(Scope::principal(&*request.extensions.get::<UserId>()?.0)))
        .with_lease_lost(LeaseLost::Reexecute);
    Router::new().route("/payments", post(pay)).route_layer(idempotency).with_state(provider)
}

async fn pay_and_book(
    execution: Execution,
    State((store, pool, provider)): State<(PostgresStore, PgPool, Provider)>,
    Json(payment): Json<Payment>,
) -> Result<Response, Problem> {
    let charge = provider.charge(&payment, &execution.child_key("charge")).await.internal()?;
    let answer = Answer::json(StatusCode::CREATED, &charge).internal()?;
    let mut tx = pool.begin().await.internal()?;
    book(&mut tx, &charge).await.internal()?;
    execution.complete_in(&store, &mut *tx, &answer).await.internal()?; // refused if the lease was lost
    tx.commit().await.internal()?;
    Ok(http::Response::from(answer).map(Body::from))
}

async fn on_paid(store: &PostgresStore, pool: &PgPool, message: &Message) -> Result<(), StoreError> {
    let inbox = Inbox::new("ledger");
    let mut tx = pool.begin().await?;
    if store.receive_in(&mut tx, &inbox, message.id.as_bytes()).await? == Received::First {
        book_message(&mut tx, message).await?;
    }
    Ok(tx.commit().await?) // and only then acknowledge it
}

struct Db {
    pool: PgPool,
    store: PostgresStore,
    _database: TestDatabase,
}

async fn db() -> Option<Db> {
    let database = TestDatabase::create()?;
    let pool = PgPool::connect(&database.url()).await.unwrap();
    let tables = "create table orders (id bigserial, item text); \
                  create table jobs (kind text, order_id bigint); \
                  create table bookings (cents bigint)";
    sqlx::raw_sql(tables).execute(&pool).await.unwrap();
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.unwrap();
    Some(Db { pool, store, _database: database })
}

impl Db {
    async fn count(&self, table: &'static str) -> i64 {
        let sql = format!("select count(*) from {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.pool).await.unwrap()
    }
}

async fn send(app: &Router, path: &str, body: &str) -> (StatusCode, bool, String) {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .header("idempotency-key", "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"")
        .extension(UserId("u7".to_owned()))
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let replayed = response.headers().contains_key("idempotent-replayed");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, replayed, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn an_order_its_job_and_its_record_are_one() {
    let Some(db) = db().await else { return };
    let app = orders(db.store.clone());
    let first = send(&app, "/orders", r#"{"item":"tea"}"#).await;
    let retry = send(&app, "/orders", r#"{"item":"tea"}"#).await;
    assert_eq!(first, (StatusCode::CREATED, false, "1".to_owned()));
    assert_eq!(retry, (StatusCode::CREATED, true, "1".to_owned()));
    let other = send(&app, "/orders", r#"{"item":"gin"}"#).await;
    assert_eq!(other.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!((db.count("orders").await, db.count("jobs").await), (1, 1));
    let keyless = Request::post("/orders").body(Body::empty()).unwrap();
    let response = app.oneshot(keyless).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_payment_is_charged_once() {
    let Some(db) = db().await else { return };
    let provider = Provider::default();
    let app = payments(db.store.clone(), provider.clone());
    let first = send(&app, "/payments", r#"{"cents":5}"#).await;
    let retry = send(&app, "/payments", r#"{"cents":5}"#).await;
    assert_eq!(first, (StatusCode::CREATED, false, r#"{"cents":5}"#.to_owned()));
    assert_eq!(retry, (StatusCode::CREATED, true, r#"{"cents":5}"#.to_owned()));
    assert_eq!(provider.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_booking_and_its_completion_are_one() {
    let Some(db) = db().await else { return };
    let provider = Provider::default();
    let layer = IdempotencyLayer::leased(db.store.clone()).single_tenant();
    let app = Router::new()
        .route("/bookings", post(pay_and_book))
        .route_layer(layer.with_replay_cache_bytes(0))
        .with_state((db.store.clone(), db.pool.clone(), provider));
    let first = send(&app, "/bookings", r#"{"cents":5}"#).await;
    let retry = send(&app, "/bookings", r#"{"cents":5}"#).await;
    assert_eq!(first, (StatusCode::CREATED, false, r#"{"cents":5}"#.to_owned()));
    assert_eq!(retry, (StatusCode::CREATED, true, r#"{"cents":5}"#.to_owned()));
    assert_eq!(db.count("bookings").await, 1);
}

#[tokio::test]
async fn a_message_is_booked_once() {
    let Some(db) = db().await else { return };
    let message = Message { id: "m-1".to_owned() };
    for _ in 0..2 {
        on_paid(&db.store, &db.pool, &message).await.unwrap();
    }
    assert_eq!(db.count("bookings").await, 1);
}

#[test]
fn the_guide_shows_nothing_else() {
    let guide = include_str!("../../../docs/idempotency.md");
    let code = include_str!("guide.rs");
    let mut blocks = 0;
    for block in guide.split("```rust\n").skip(1) {
        let block = block.split("```").next().unwrap();
        assert!(code.contains(block), "the guide has code that is not compiled:\n{block}");
        blocks += 1;
    }
    assert!(blocks > 3);
}
