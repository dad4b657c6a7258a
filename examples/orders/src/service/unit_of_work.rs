use std::time::Duration;

use purlin_store::{StoreError, StoreErrorKind};
use tokio::time::{Instant, timeout};

use crate::{database::Database, service::Error};

/// How often a unit of work is tried that lost against another one.
const ATTEMPTS: u32 = 3;

/// How long one call of a service may take, all attempts included: shorter than a request may
/// take, so that the client reads what happened.
const LIMIT: Duration = Duration::from_secs(6);

/// Runs a whole unit of work, from begin to commit: again if it lost against a concurrent one,
/// and never longer than [`LIMIT`].
///
/// # Cancel safety
///
/// Dropped early, the unit of work is dropped too, and so rolled back, unless its commit was under
/// way.
pub(super) async fn run<T, F>(
    database: &Database,
    operation: &'static str,
    attempt: impl Fn() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let begun = Instant::now();
    let attempts = async {
        for _ in 1..ATTEMPTS {
            match attempt().await {
                Err(error) if error.is_conflict() => {
                    tracing::debug!(operation, "lost against a concurrent change");
                }
                done => return done,
            }
        }
        attempt().await
    };
    let done = timeout(LIMIT, attempts).await.unwrap_or_else(|_elapsed| {
        Err(StoreError::new(StoreErrorKind::Timeout, database.name(), "wait").into())
    });
    done.map_err(|error| error.during(database.name(), operation, begun.elapsed()))
}
