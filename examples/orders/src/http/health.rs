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

    async fn check(&self) -> Result<(), Problem> {
        let not_ready = || Problem::new(&NOT_READY).with_retry_after(Duration::from_secs(1));
        if *self.draining.borrow() {
            return Err(not_ready().with_detail("the service is stopping"));
        }
        self.database.ping(PING_LIMIT).await.map_err(|error| {
            not_ready()
                .with_detail("the database does not answer")
                .with_source(error)
        })
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
    app.health.check().await?;
    Ok(OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::DatabaseUrl;

    #[tokio::test]
    async fn a_service_that_stops_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.db");
        let database = Database::open(&DatabaseUrl::Sqlite { path }).await.unwrap();
        let (stop, draining) = watch::channel(false);
        let health = Health::new(database, draining);
        assert!(health.check().await.is_ok());
        stop.send_replace(true);
        let problem = health.check().await.unwrap_err();
        assert!(std::ptr::eq(problem.problem_type(), &raw const NOT_READY));
    }
}
