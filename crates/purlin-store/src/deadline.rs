use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::{StoreError, StoreErrorKind};

/// Waits that are configured end here, after almost 25 days: Postgres and SQLite count them in `i32`
/// milliseconds, and a sum of an `Instant` and `Duration::MAX`, as sqlx makes it, panics.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) const LONGEST_WAIT: Duration = Duration::from_millis(i32::MAX as u64);

/// Runs one call to a store and gives up after `limit`.
///
/// The error says which store and which operation it was and how long it was tried; an error that
/// knows the first two already keeps them. The driver's own errors convert, so `?` works inside.
///
/// ```
/// # use std::time::Duration;
/// use purlin_store::{StoreError, StoreErrorKind, deadline};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let never = std::future::pending::<Result<(), StoreError>>();
/// let error = deadline("redis", "claim", Duration::from_millis(5), never).await.unwrap_err();
///
/// assert_eq!(error.kind(), StoreErrorKind::Timeout);
/// assert!(error.to_string().starts_with("redis: claim: no answer in time after"));
/// # }
/// ```
///
/// A limit of zero has passed before anything is asked: the future is not polled at all.
///
/// # Errors
///
/// [`StoreErrorKind::Timeout`] when `limit` passes first; otherwise whatever `future` fails with.
///
/// # Panics
///
/// When polled outside a tokio runtime whose timer is enabled.
///
/// # Cancel safety
///
/// When the limit passes, or when the caller drops this future, `future` is dropped where it
/// stands. The store may have been told already, so a write may take effect after the error was
/// returned: after a timeout the caller knows nothing, and must make its writes so that either
/// outcome is fine (a fencing token, an insert that a second attempt finds).
pub async fn deadline<T, E>(
    store: &'static str,
    operation: &'static str,
    limit: Duration,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, StoreError>
where
    E: Into<StoreError>,
{
    let begun = Instant::now();
    // A timer fires within a millisecond, in which a fast store would answer now and then.
    let done = if limit.is_zero() {
        None
    } else {
        tokio::time::timeout(limit, future).await.ok()
    };
    let error = match done {
        Some(Ok(value)) => return Ok(value),
        Some(Err(error)) => error.into(),
        None => StoreError::of_kind(StoreErrorKind::Timeout),
    };
    Err(error
        .during(store, operation)
        .with_tried_for(begun.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limit_of_zero_asks_nothing() {
        let asked = std::cell::Cell::new(false);
        let call = async {
            asked.set(true);
            Ok::<_, StoreError>(())
        };
        let error = deadline("redis", "claim", Duration::ZERO, call).await;
        assert_eq!(error.expect_err("too late").kind(), StoreErrorKind::Timeout);
        assert!(!asked.get());
    }
}
