use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use purlin_problem::{Problem, ProblemType};
use serde::Serialize;
use tokio::sync::watch;

use crate::{database::Database, http::App};

/// How long the database may take to answer a probe, which has a time limit itself (1 s by default
/// on Kubernetes).
const PING_LIMIT: Duration = Duration::from_millis(900);

pub(super) static NOT_READY: ProblemType = ProblemType::slug(
    StatusCode::SERVICE_UNAVAILABLE,
    "not-ready",
    "The service is not ready",
)
.with_description("This instance should not get requests now. `detail` says what it waits for.");

/// What the probes ask.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    database: Database,
    draining: watch::Receiver<bool>,
}

impl Health {
    /// `draining` turns to true once the service no longer wants requests.
    pub(crate) fn new(database: Database, draining: watch::Receiver<bool>) -> Self {
        Self { database, draining }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Status {
    status: &'static str,
}

const OK: axum::Json<Status> = axum::Json(Status { status: "ok" });

/// Whether the process should be left alone. It asks nobody else: to start this process again
/// would not mend the database.
pub(super) async fn live() -> axum::Json<Status> {
    OK
}

/// Whether requests should be sent here.
pub(super) async fn ready(State(app): State<App>) -> Result<axum::Json<Status>, Problem> {
    let health = &app.health;
    let not_ready = || Problem::new(&NOT_READY).with_retry_after(Duration::from_secs(1));
    if *health.draining.borrow() {
        return Err(not_ready().with_detail("the service is stopping"));
    }
    match health.database.ping(PING_LIMIT).await {
        Ok(()) => Ok(OK),
        Err(error) => Err(not_ready()
            .with_detail("the database does not answer")
            .with_source(error)),
    }
}
