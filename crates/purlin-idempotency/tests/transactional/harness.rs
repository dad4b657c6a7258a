//! A database of either kind, a handler that does as it is told, and the layer between them.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::body::Body;
use http::{Extensions, HeaderMap, Request, Response, StatusCode, request::Parts};
use http_body_util::BodyExt as _;
use purlin_idempotency::{
    Answer, CompleteError, Execution, IdempotencyLayer, Leased, PostgresStore, RequestBody,
    RequestTransaction, SqliteStore, Transactional,
};
use purlin_store::sqlite::{SqliteConfig, begin_immediate};
use purlin_testkit::{TestDatabase, TestFile};
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use tokio::sync::Notify;
use tower::{Layer as _, ServiceExt as _, service_fn};

/// An effect without its parent cannot be committed, and is only found out then.
const TABLES: [&str; 2] = [
    "create table parents (id bigint primary key)",
    "create table effects (parent bigint references parents (id) deferrable initially deferred)",
];

#[derive(Debug)]
pub(crate) enum Db {
    Sqlite {
        pool: SqlitePool,
        store: SqliteStore,
        file: TestFile,
    },
    Postgres {
        pool: PgPool,
        store: PostgresStore,
        database: TestDatabase,
    },
}

impl Db {
    pub(crate) async fn sqlite() -> Option<Self> {
        let file = TestFile::new();
        let pool = SqliteConfig::new(file.path()).connect().await.unwrap();
        for table in TABLES {
            sqlx::query(table).execute(&pool).await.unwrap();
        }
        let store = SqliteStore::new(pool.clone());
        store.migrate().await.unwrap();
        Some(Self::Sqlite { pool, store, file })
    }

    pub(crate) async fn postgres() -> Option<Self> {
        let database = TestDatabase::create()?;
        let pool = PgPool::connect(&database.url()).await.unwrap();
        for table in TABLES {
            sqlx::query(table).execute(&pool).await.unwrap();
        }
        let store = PostgresStore::new(pool.clone());
        store.migrate().await.unwrap();
        Some(Self::Postgres {
            pool,
            store,
            database,
        })
    }

    /// Without answers in memory, so that each retry asks the store.
    pub(crate) fn transactional(&self) -> IdempotencyLayer<Transactional> {
        let layer = match self {
            Self::Sqlite { store, .. } => IdempotencyLayer::transactional(store.clone()),
            Self::Postgres { store, .. } => IdempotencyLayer::transactional(store.clone()),
        };
        layer.single_tenant().with_replay_cache_bytes(0)
    }

    pub(crate) fn leased(&self) -> IdempotencyLayer<Leased> {
        let layer = match self {
            Self::Sqlite { store, .. } => IdempotencyLayer::leased(store.clone()),
            Self::Postgres { store, .. } => IdempotencyLayer::leased(store.clone()),
        };
        layer.single_tenant().with_replay_cache_bytes(0)
    }

    /// How many connections of the pool somebody has.
    pub(crate) fn connections_in_use(&self) -> usize {
        let (all, idle) = match self {
            Self::Sqlite { pool, .. } => (pool.size(), pool.num_idle()),
            Self::Postgres { pool, .. } => (pool.size(), pool.num_idle()),
        };
        usize::try_from(all).unwrap() - idle
    }

    /// Lets whoever asks for a record wait until what comes back is dropped.
    pub(crate) async fn hold(&self) -> Hold {
        match self {
            Self::Sqlite { file, .. } => {
                let pool = SqliteConfig::new(file.path()).connect().await.unwrap();
                Hold::Sqlite(begin_immediate(&pool).await.unwrap())
            }
            Self::Postgres { database, .. } => {
                let pool = PgPool::connect(&database.url()).await.unwrap();
                let mut tx = pool.begin().await.unwrap();
                let lock = "lock table purlin_idempotency_records in access exclusive mode";
                sqlx::query(lock).execute(&mut *tx).await.unwrap();
                Hold::Postgres(tx)
            }
        }
    }

    pub(crate) async fn effects(&self) -> i64 {
        const COUNT: &str = "select count(*) from effects";
        let count = match self {
            Self::Sqlite { pool, .. } => sqlx::query_scalar(COUNT).fetch_one(pool).await,
            Self::Postgres { pool, .. } => sqlx::query_scalar(COUNT).fetch_one(pool).await,
        };
        count.unwrap()
    }

    /// Completes the lease in a transaction of its own, which has an effect too.
    pub(crate) async fn complete_in(
        &self,
        execution: &Execution,
        answer: &Answer,
        commit: bool,
    ) -> Result<(), CompleteError> {
        match self {
            Self::Sqlite { pool, store, .. } => {
                let mut tx = begin_immediate(pool).await?;
                sqlx::query(EFFECT).execute(&mut *tx).await.unwrap();
                execution.complete_in(store, &mut *tx, answer).await?;
                if commit {
                    tx.commit().await.unwrap();
                }
            }
            Self::Postgres { pool, store, .. } => {
                let mut tx = pool.begin().await.unwrap();
                sqlx::query(EFFECT).execute(&mut *tx).await.unwrap();
                execution.complete_in(store, &mut *tx, answer).await?;
                if commit {
                    tx.commit().await.unwrap();
                }
            }
        }
        Ok(())
    }
}

#[expect(dead_code, reason = "it is held")]
pub(crate) enum Hold {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

const EFFECT: &str = "insert into effects (parent) values (null)";
const ORPHAN: &str = "insert into effects (parent) values (7)";

/// The transaction of a request, on either database.
pub(crate) enum Shared {
    Sqlite(RequestTransaction<Sqlite>),
    Postgres(RequestTransaction<Postgres>),
}

impl Shared {
    pub(crate) fn take(parts: &Parts) -> Self {
        Self::try_take(parts).unwrap()
    }

    pub(crate) fn try_take(parts: &Parts) -> Option<Self> {
        Self::try_take_of(&parts.extensions)
    }

    pub(crate) fn try_take_of(extensions: &Extensions) -> Option<Self> {
        let sqlite = RequestTransaction::take(extensions).map(Self::Sqlite);
        sqlite.or_else(|| RequestTransaction::take(extensions).map(Self::Postgres))
    }

    pub(crate) async fn effect(&mut self) {
        self.run(EFFECT).await;
    }

    pub(crate) async fn orphan(&mut self) {
        self.run(ORPHAN).await;
    }

    async fn run(&mut self, sql: &'static str) {
        match self {
            Self::Sqlite(c) => sqlx::query(sql).execute(&mut **c).await.map(drop),
            Self::Postgres(c) => sqlx::query(sql).execute(&mut **c).await.map(drop),
        }
        .unwrap();
    }
}

/// What the handlers of one test share.
#[derive(Clone, Default)]
pub(crate) struct Stage {
    pub(crate) runs: Arc<AtomicUsize>,
    pub(crate) entered: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
    pub(crate) kept: Arc<Mutex<Option<(Shared, Extensions)>>>,
}

impl Stage {
    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

pub(crate) type Reply = (StatusCode, HeaderMap, String);

/// Sends a request with the key `k` and this body through the layer to the handler.
pub(crate) async fn send<M, H, F>(
    layer: &IdempotencyLayer<M>,
    stage: &Stage,
    body: &'static str,
    handler: H,
) -> Reply
where
    H: Fn(Stage, Parts) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let stage = stage.clone();
    let service = service_fn(move |request: Request<RequestBody<Body>>| {
        stage.runs.fetch_add(1, Ordering::SeqCst);
        let answer = handler(stage.clone(), request.into_parts().0);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let request = Request::post("/effects")
        .header("idempotency-key", "k")
        .body(Body::from(body))
        .unwrap();
    let response = layer.layer(service).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (head.status, head.headers, body)
}

pub(crate) fn answer(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}

/// The problem that a reply is.
#[track_caller]
pub(crate) fn problem(reply: &Reply) -> (u16, String) {
    let document: serde_json::Value = serde_json::from_str(&reply.2).expect("it is a problem");
    let slug = document["type"].as_str().unwrap().rsplit('/').next();
    (reply.0.as_u16(), slug.unwrap().to_owned())
}
