use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use purlin_store::{StoreError, StoreErrorKind};

/// A future whose panics are results. Nothing of it is looked at after one, so that what it left half
/// done is seen by nobody. A panic while it is dropped is swallowed.
pub(super) struct CatchPanic<F>(Option<Pin<Box<F>>>);

impl<F: Future> CatchPanic<F> {
    pub(super) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future> Future for CatchPanic<F> {
    /// `Err` with what the panic says.
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending;
        };
        let output = match caught(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        self.drop_future();
        Poll::Ready(output)
    }
}

impl<F> CatchPanic<F> {
    fn drop_future(&mut self) {
        let future = self.0.take();
        // The panic hook has told of it.
        let _ = caught(|| drop(future));
    }
}

impl<F> Drop for CatchPanic<F> {
    fn drop(&mut self) {
        self.drop_future();
    }
}

/// What a store answers to a call; one that panics is an error like others.
pub(super) async fn answered<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let answer = CatchPanic::new(call).await;
    answer.unwrap_or_else(|panic| {
        let error = StoreError::new(StoreErrorKind::Unavailable, "store", operation);
        Err(error.with_source(panic))
    })
}

/// What a call returns, or what its panic says.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| message(panic.as_ref()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("something that is no text").to_owned()
}
