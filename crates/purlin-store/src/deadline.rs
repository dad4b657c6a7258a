use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::{Instant, Sleep, sleep_until};

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
/// Of limits inside one another only the one that ends first sets a timer, so a layer that limits a
/// store which limits itself pays for one.
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
        let end = begun + limit.min(FAR);
        let timer = unconstrained(sleep_until(end));
        Until { end, future, timer }.await
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

/// A sum with an instant that does not overflow.
const FAR: Duration = Duration::from_secs(365 * 86_400);

thread_local! {
    /// When the first of the limits ends in which this thread polls something.
    static ENDS: Cell<Option<Instant>> = const { Cell::new(None) };
}

pin_project! {
    /// What `future` gives, or `None` at the end.
    ///
    /// To set a timer wakes the runtime's driver, so one that an outer limit makes needless is not set.
    /// That is asked at each poll, since a future may be moved out of the outer limit between two.
    struct Until<F> {
        end: Instant,
        #[pin]
        future: F,
        // A future that uses up the task's budget must not keep the timer from being looked at.
        #[pin]
        timer: Unconstrained<Sleep>,
    }
}

impl<F: Future> Future for Until<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (end, outer) = (*this.end, ENDS.get());
        let within = Within::new(outer.map_or(end, |outer| outer.min(end)));
        let polled = this.future.poll(cx);
        drop(within);
        match polled {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if outer.is_some_and(|outer| outer <= end) => Poll::Pending,
            Poll::Pending => this.timer.poll(cx).map(|()| None),
        }
    }
}

/// Puts back what was there, also when what is polled panics.
struct Within(Option<Instant>);

impl Within {
    fn new(ends: Instant) -> Self {
        Self(ENDS.replace(Some(ends)))
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        ENDS.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = Result<(), StoreError>;

    /// Which limit ended a call that never ends, and after how long.
    async fn ended(outer: u64, inner: u64) -> (String, Duration) {
        let begun = Instant::now();
        let never = std::future::pending::<Answer>();
        let inner = deadline("redis", "inner", Duration::from_secs(inner), never);
        let done = deadline("redis", "outer", Duration::from_secs(outer), inner).await;
        (done.expect_err("never").to_string(), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_that_ends_first_ends_the_call() {
        for (outer, inner, named) in [(1, 3, "outer"), (3, 1, "inner"), (2, 2, "outer")] {
            let (error, took) = ended(outer, inner).await;
            assert!(error.contains(named), "{outer} {inner}: {error}");
            assert_eq!(took.as_secs(), outer.min(inner), "{outer} {inner}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_when_its_future_has_left_the_outer_one() {
        let never = std::future::pending::<Answer>();
        let mut inner = Box::pin(deadline("redis", "inner", Duration::from_secs(3), never));
        let outer = deadline("redis", "outer", Duration::from_secs(1), inner.as_mut()).await;
        assert!(outer.expect_err("never").to_string().contains("outer"));
        assert!(
            inner
                .await
                .expect_err("never")
                .to_string()
                .contains("inner")
        );
    }

    #[tokio::test]
    async fn a_limit_ends_what_always_uses_up_its_budget() {
        let busy = async {
            loop {
                tokio::task::coop::consume_budget().await;
            }
        };
        let limit = Duration::from_millis(5);
        let done = deadline::<(), StoreError>("redis", "busy", limit, busy).await;
        assert_eq!(done.expect_err("never").kind(), StoreErrorKind::Timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_leaves_no_limit_behind() {
        let panics = deadline("redis", "panics", Duration::from_secs(1), async {
            if ENDS.get().is_some() {
                panic!("in a limit");
            }
            Ok::<_, StoreError>(())
        });
        assert!(tokio::spawn(panics).await.expect_err("panics").is_panic());
        assert_eq!(ENDS.get(), None);
    }

    #[tokio::test]
    async fn a_limit_of_zero_asks_nothing() {
        let asked = Cell::new(false);
        let call = async {
            asked.set(true);
            Ok::<_, StoreError>(())
        };
        let error = deadline("redis", "claim", Duration::ZERO, call).await;
        assert_eq!(error.expect_err("too late").kind(), StoreErrorKind::Timeout);
        assert!(!asked.get());
    }
}
