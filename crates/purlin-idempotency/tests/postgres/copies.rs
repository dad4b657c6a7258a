//! What copies of one request that arrive at one process together say on the wire.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use purlin_idempotency::{IdempotencyLayer, PostgresStore, RequestBody};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::harness::{Db, pool};
use crate::wire::Wire;

const COPIES: usize = 100;
const CONNECTIONS: u32 = 8;

/// A pool that is listened to, and a store on it.
struct Process {
    db: Db,
    wire: Wire,
    pool: PgPool,
    store: PostgresStore,
}

impl Process {
    async fn start() -> Option<Self> {
        let db = Db::create().await?;
        let url = db.database.url();
        let upstream = url.split(['@', '/']).nth(3)?.to_owned();
        let wire = Wire::before(&upstream).await;
        let pool = pool(&wire.url(&url), CONNECTIONS).await;
        let store = PostgresStore::new(pool.clone());
        Some(Self {
            db,
            wire,
            pool,
            store,
        })
    }

    /// How many statements were run since the last call, and whatever else was said.
    async fn said(&self) -> (usize, String) {
        // All are back.
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(self.pool.acquire().await.unwrap());
        }
        let said = self.wire.take();
        (said.statements, said.queries.join(", ").to_lowercase())
    }
}

/// Sends a request to a handler that tells that it is at work, and then waits to be let go.
async fn send<M>(layer: IdempotencyLayer<M>, key: &'static str, stage: Arc<Stage>) -> StatusCode {
    let service = service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
        let stage = Arc::clone(&stage);
        async move {
            stage.entered.notify_one();
            stage.go_on.notified().await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    });
    let request = Request::post("/")
        .header("idempotency-key", key)
        .body(Full::default())
        .unwrap();
    layer
        .layer(service)
        .oneshot(request)
        .await
        .unwrap()
        .status()
}

#[derive(Default)]
struct Stage {
    entered: Notify,
    go_on: Notify,
}

/// What the copies are told. The handler is let go when all the others know.
async fn storm<M: 'static>(layer: &IdempotencyLayer<M>, key: &'static str) -> Vec<StatusCode> {
    let stage = Arc::new(Stage::default());
    let mut copies = JoinSet::new();
    for _ in 0..COPIES {
        copies.spawn(send(layer.clone(), key, Arc::clone(&stage)));
    }
    let mut told = Vec::new();
    while let Some(copy) = copies.join_next().await {
        told.push(copy.unwrap());
        if copies.len() == 1 {
            stage.go_on.notify_one();
        }
    }
    told
}

/// `of_first` is what a request says that is executed.
async fn one_asks_for_all<M: 'static>(
    process: &Process,
    layer: impl Fn(PostgresStore) -> IdempotencyLayer<M>,
    of_first: (usize, &str),
) {
    // Each replay asks the store.
    let here = layer(process.store.clone()).with_replay_cache_bytes(0);
    process.said().await;
    let mut told = storm(&here, "here").await;
    assert_eq!(told.pop(), Some(StatusCode::OK));
    assert_eq!(told, [StatusCode::CONFLICT; COPIES - 1]);
    let (statements, queries) = process.said().await;
    assert_eq!((statements, &*queries), of_first);

    let told = storm(&here, "here").await;
    assert_eq!(told, [StatusCode::OK; COPIES]);
    let (statements, _) = process.said().await;
    assert!(statements <= 4, "{statements} for {COPIES} replays");

    let stage = Arc::new(Stage::default());
    let elsewhere = layer(process.db.store.clone());
    let at_work = tokio::spawn(send(elsewhere, "elsewhere", Arc::clone(&stage)));
    stage.entered.notified().await;
    let told = storm(&here, "elsewhere").await;
    assert_eq!(told, [StatusCode::CONFLICT; COPIES]);
    let (statements, _) = process.said().await;
    assert!(statements <= 4, "{statements} for {COPIES} in flight");
    stage.go_on.notify_one();
    assert_eq!(at_work.await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn under_a_lease_one_asks_for_all() {
    let Some(process) = Process::start().await else {
        return;
    };
    let layer = |store| IdempotencyLayer::leased(store).single_tenant();
    one_asks_for_all(&process, layer, (2, "")).await;
}

#[tokio::test]
async fn in_a_transaction_one_asks_for_all() {
    let Some(process) = Process::start().await else {
        return;
    };
    let layer = |store| IdempotencyLayer::transactional(store).single_tenant();
    one_asks_for_all(&process, layer, (2, "begin, commit")).await;
}
