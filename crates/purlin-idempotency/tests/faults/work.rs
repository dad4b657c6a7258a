//! The service under test: the layer around a handler that writes its effect in two halves.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use purlin_idempotency::{
    Answer, DrainError, Execution, IdempotencyLayer, IdempotencyStore, InFlight, LeaseLost,
    RequestBody, RequestTransaction, ResponseBody, TransactionalStore,
};
use purlin_problem::BoxError;
use purlin_store::{
    StoreError,
    redis::{KeySpace, RedisHandle, driver::cmd},
    sqlite::begin_immediate,
};
use sqlx::{AssertSqlSafe, Postgres, Sqlite};
use tower::{Layer as _, service_fn, util::BoxCloneSyncService};

use crate::{
    LEASE_TTL, PATIENCE,
    ground::Open,
    stops::{Point, Stopping, Stops},
    tell,
};

/// Which guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Transactional,
    Leased,
    /// A lease that the handler completes in its own transaction.
    CompleteIn,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) mode: Mode,
    pub(crate) lease_lost: LeaseLost,
    pub(crate) lease_ttl: Duration,
    pub(crate) in_flight: InFlight,
    pub(crate) store_timeout: Duration,
    pub(crate) max_execution: Duration,
}

impl Setup {
    pub(crate) fn new(mode: Mode, lease_lost: LeaseLost) -> Self {
        Self {
            mode,
            lease_lost,
            lease_ttl: LEASE_TTL,
            in_flight: InFlight::Reject,
            store_timeout: PATIENCE,
            max_execution: PATIENCE,
        }
    }
}

pub(crate) type Served<B> =
    BoxCloneSyncService<Request<B>, Response<ResponseBody<Full<Bytes>>>, Infallible>;

/// A service and how it ends.
pub(crate) struct Serving<B> {
    pub(crate) service: Served<B>,
    /// Waits for what is being worked on.
    pub(crate) drain: BoxFuture<'static, Result<(), DrainError>>,
}

pub(crate) fn serve<B>(open: &Open, setup: Setup, stops: Arc<Stops>) -> Serving<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let work = Work {
        open: open.clone(),
        mode: setup.mode,
        stops,
    };
    match (open, setup.mode) {
        (Open::Postgres { store, .. }, Mode::Transactional) => {
            transactional(store.clone(), setup, work)
        }
        (Open::Sqlite { store, .. }, Mode::Transactional) => {
            transactional(store.clone(), setup, work)
        }
        (Open::Postgres { store, .. }, _) => leased(store.clone(), setup, work),
        (Open::Sqlite { store, .. }, _) => leased(store.clone(), setup, work),
        (Open::Redis { store, .. }, _) => leased(store.clone(), setup, work),
    }
}

fn transactional<B>(store: impl TransactionalStore, setup: Setup, work: Work) -> Serving<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let stops = Arc::clone(&work.stops);
    let layer = IdempotencyLayer::transactional(Stopping { store, stops }).single_tenant();
    wrap(layer, setup, work)
}

fn leased<B>(store: impl IdempotencyStore, setup: Setup, work: Work) -> Serving<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let stops = Arc::clone(&work.stops);
    let layer = IdempotencyLayer::leased(Stopping { store, stops })
        .single_tenant()
        .with_lease_ttl(setup.lease_ttl)
        .with_lease_lost(setup.lease_lost);
    wrap(layer, setup, work)
}

fn wrap<M, B>(layer: IdempotencyLayer<M>, setup: Setup, work: Work) -> Serving<B>
where
    M: 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let layer = layer
        .with_in_flight(setup.in_flight)
        .with_store_timeout(setup.store_timeout)
        .with_max_execution(setup.max_execution);
    let handler = service_fn(move |request| work.clone().run(request));
    Serving {
        service: BoxCloneSyncService::new(layer.layer(handler)),
        drain: Box::pin(async move { layer.drain(PATIENCE).await }),
    }
}

/// A handler that writes its effect in two halves.
#[derive(Clone, Debug)]
struct Work {
    open: Open,
    mode: Mode,
    stops: Arc<Stops>,
}

// One message, which PgBouncer gives to one session.
macro_rules! write {
    ($executor:expr, $table:expr, $part:expr, $attempt:expr) => {{
        let (table, attempt) = ($table, $attempt);
        let sql = format!(
            "insert into {table} (part, attempt) values ({}, {attempt})",
            $part
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute($executor).await?
    }};
}

macro_rules! write_both {
    ($work:expr, $executor:expr, $table:expr, $attempt:expr) => {
        write!($executor, $table, 1, $attempt);
        $work.between_writes().await;
        write!($executor, $table, 2, $attempt);
        $work.stops.at(Point::Written).await;
    };
}

macro_rules! complete_in {
    ($work:expr, $transaction:expr, $store:expr, $table:expr, $execution:expr) => {{
        let mut transaction = $transaction;
        write_both!($work, &mut *transaction, $table, $execution.attempt());
        let answer = answer($execution.attempt());
        let completed = $execution.complete_in($store, &mut *transaction, &answer);
        completed.await?;
        $work.stops.at(Point::Joined).await;
        transaction.commit().await?;
        $work.stops.at(Point::Completed).await;
        answer
    }};
}

async fn append(
    redis: &RedisHandle,
    effects: &KeySpace,
    part: i64,
    attempt: u64,
) -> Result<(), StoreError> {
    let mut append = cmd("RPUSH");
    append.arg(effects.key(&part.to_string())).arg(attempt);
    redis.query("append", &append).await
}

fn answer(attempt: u64) -> Answer {
    let body = format!("attempt {attempt} of process {}", std::process::id());
    let response = Response::builder().status(StatusCode::CREATED);
    Answer::from(response.body(Bytes::from(body)).unwrap())
}

impl Work {
    async fn run<B>(
        self,
        request: Request<RequestBody<B>>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(match self.try_run(request).await {
            Ok(answer) => Response::from(answer).map(Full::from),
            Err(error) => {
                tell(&format!("failed {error:?}"));
                let mut response = Response::new(Full::from(error.to_string()));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        })
    }

    async fn between_writes(&self) {
        self.stops.at(Point::BetweenWrites).await;
        self.stops.at(Point::Draining).await;
    }

    async fn try_run<B>(&self, request: Request<RequestBody<B>>) -> Result<Answer, BoxError> {
        let extensions = request.extensions();
        let execution = Execution::of(extensions).unwrap();
        let attempt = execution.attempt();
        tell(&format!("executing {attempt}"));
        self.stops.at(Point::InHandler).await;
        self.stops.until_over(Point::Extended).await;
        match (&self.open, self.mode) {
            (Open::Postgres { effects, .. }, Mode::Transactional) => {
                let mut transaction = RequestTransaction::<Postgres>::take(extensions).unwrap();
                write_both!(self, &mut *transaction, effects, attempt);
            }
            (Open::Postgres { pool, effects, .. }, Mode::Leased) => {
                write_both!(self, pool, effects, attempt);
            }
            (
                Open::Postgres {
                    pool,
                    store,
                    effects,
                },
                Mode::CompleteIn,
            ) => {
                let transaction = pool.begin().await?;
                return Ok(complete_in!(self, transaction, store, effects, execution));
            }
            (Open::Sqlite { .. }, Mode::Transactional) => {
                let mut transaction = RequestTransaction::<Sqlite>::take(extensions).unwrap();
                write_both!(self, &mut *transaction, "effects", attempt);
            }
            (Open::Sqlite { pool, .. }, Mode::Leased) => {
                write_both!(self, pool, "effects", attempt);
            }
            (Open::Redis { redis, effects, .. }, _) => {
                append(redis, effects, 1, attempt).await?;
                self.between_writes().await;
                append(redis, effects, 2, attempt).await?;
                self.stops.at(Point::Written).await;
            }
            (Open::Sqlite { pool, store }, Mode::CompleteIn) => {
                let transaction = begin_immediate(pool).await?;
                return Ok(complete_in!(self, transaction, store, "effects", execution));
            }
        }
        Ok(answer(attempt))
    }
}
