//! The server that is killed: this test binary, run again.

use std::{convert::Infallible, io::BufRead as _, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use purlin_idempotency::{
    Answer, Execution, IdempotencyLayer, LeaseLost, RequestBody, RequestTransaction,
};
use purlin_problem::BoxError;
use purlin_store::sqlite::begin_immediate;
use sqlx::{AssertSqlSafe, Postgres, Sqlite};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt as _, service_fn};

use crate::{
    LEASE_TTL, PATIENCE,
    ground::{Open, Place},
    say,
    stops::{Point, Stopping, Stops},
};

/// Which guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Transactional,
    Leased,
    /// A lease that the handler completes in its own transaction.
    CompleteIn,
}

/// What a process is told.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) place: Place,
    pub(crate) mode: Mode,
    pub(crate) lease_lost: LeaseLost,
    pub(crate) lease_ttl: Duration,
    pub(crate) stop: Option<Point>,
}

pub(crate) const VARIABLE: &str = "PURLIN_IDEMPOTENCY_CHILD";

impl Orders {
    pub(crate) fn new(place: &Place, mode: Mode, lease_lost: LeaseLost) -> Self {
        Self {
            place: place.clone(),
            mode,
            lease_lost,
            lease_ttl: LEASE_TTL,
            stop: None,
        }
    }

    pub(crate) fn stopping(mut self, point: Point) -> Self {
        self.stop = Some(point);
        self
    }

    pub(crate) fn to_env(&self) -> String {
        let stop = self.stop.map_or_else(String::new, |stop| stop.to_string());
        let millis = self.lease_ttl.as_millis();
        let Self {
            mode, lease_lost, ..
        } = self;
        format!(
            "{mode:?} {lease_lost:?} {millis} {stop} {}",
            self.place.to_env()
        )
    }

    fn from_env(text: &str) -> Self {
        let [mode, lease_lost, millis, stop, place] = text.splitn(5, ' ').collect::<Vec<_>>()[..]
        else {
            panic!("no orders: {text}");
        };
        Self {
            place: Place::from_env(place),
            mode: match mode {
                "Transactional" => Mode::Transactional,
                "Leased" => Mode::Leased,
                "CompleteIn" => Mode::CompleteIn,
                _ => panic!("not a mode: {mode}"),
            },
            lease_lost: match lease_lost {
                "Indeterminate" => LeaseLost::Indeterminate,
                "Reexecute" => LeaseLost::Reexecute,
                _ => panic!("not a policy: {lease_lost}"),
            },
            lease_ttl: Duration::from_millis(millis.parse().unwrap()),
            stop: (!stop.is_empty()).then(|| stop.parse().unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run and killed by other tests, in processes of its own"]
async fn serving_child() {
    let Ok(orders) = std::env::var(VARIABLE) else {
        return;
    };
    let orders = Orders::from_env(&orders);
    let stops = Stops::new(orders.stop);
    let in_thread = Arc::clone(&stops);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            assert_eq!(line.unwrap(), "go on");
            in_thread.go_on();
        }
        // The test is gone.
        std::process::exit(1);
    });
    let open = orders.place.open(3).await;
    let work = Work {
        open: open.clone(),
        mode: orders.mode,
        stops: Arc::clone(&stops),
    };
    let lease_ttl = orders.lease_ttl;
    macro_rules! serve {
        ($store:expr) => {{
            let store = Stopping {
                store: $store,
                stops: Arc::clone(&stops),
            };
            if orders.mode == Mode::Transactional {
                let layer = IdempotencyLayer::transactional(store).single_tenant();
                serve(layer.with_store_timeout(PATIENCE), work).await
            } else {
                let layer = IdempotencyLayer::leased(store)
                    .single_tenant()
                    .with_lease_ttl(lease_ttl)
                    .with_lease_lost(orders.lease_lost);
                serve(layer.with_store_timeout(PATIENCE), work).await
            }
        }};
    }
    match open {
        Open::Postgres { store, .. } => serve!(store),
        Open::Sqlite { store, .. } => serve!(store),
    }
}

async fn serve<M>(layer: IdempotencyLayer<M>, work: Work) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    say(&format!("listening {}", listener.local_addr().unwrap()));
    let stops = Arc::clone(&work.stops);
    let service = layer.layer(service_fn(move |request| work.clone().run(request)));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (service, stops) = (service.clone(), Arc::clone(&stops));
        let service = service_fn(move |request: Request<Incoming>| {
            let (service, stops) = (service.clone(), Arc::clone(&stops));
            async move {
                let response = service.oneshot(request).await;
                stops.at(Point::BeforeAnswer).await;
                response
            }
        });
        tokio::spawn(serve_one(stream, service));
    }
}

async fn serve_one<S, B>(stream: tokio::net::TcpStream, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let service = TowerToHyperService::new(service);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = connection.await;
}

/// A handler that writes its effect in two halves.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) open: Open,
    pub(crate) mode: Mode,
    pub(crate) stops: Arc<Stops>,
}

macro_rules! write {
    ($executor:expr, $table:expr, $part:expr, $attempt:expr) => {{
        let sql = format!("insert into {} (part, attempt) values ($1, $2)", $table);
        let query = sqlx::query(AssertSqlSafe(sql)).bind($part as i64);
        query.bind($attempt as i64).execute($executor).await?
    }};
}

macro_rules! write_both {
    ($work:expr, $executor:expr, $table:expr, $attempt:expr) => {
        write!($executor, $table, 1, $attempt);
        $work.stops.at(Point::BetweenWrites).await;
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

fn answer(attempt: u64) -> Answer {
    let body = format!("attempt {attempt} of process {}", std::process::id());
    let response = Response::builder().status(StatusCode::CREATED);
    Answer::from(response.body(Bytes::from(body)).unwrap())
}

impl Work {
    pub(crate) async fn run<B>(
        self,
        request: Request<RequestBody<B>>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(match self.try_run(request).await {
            Ok(answer) => Response::from(answer).map(Full::from),
            Err(error) => {
                say(&format!("failed {error:?}"));
                let mut response = Response::new(Full::from(error.to_string()));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        })
    }

    async fn try_run<B>(&self, request: Request<RequestBody<B>>) -> Result<Answer, BoxError> {
        let extensions = request.extensions();
        let execution = Execution::of(extensions).unwrap();
        let attempt = execution.attempt();
        say(&format!("executing {attempt}"));
        self.stops.at(Point::InHandler).await;
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
            (Open::Sqlite { pool, store }, Mode::CompleteIn) => {
                let transaction = begin_immediate(pool).await?;
                return Ok(complete_in!(self, transaction, store, "effects", execution));
            }
        }
        Ok(answer(attempt))
    }
}
