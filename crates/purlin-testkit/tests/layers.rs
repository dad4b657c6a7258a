//! The layer checks pass good layers and fail broken ones.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use purlin_testkit::layer::{assert_ready_kept, assert_state_shared};
use tower_layer::Layer;
use tower_service::Service;

/// Counts the calls and answers with the count; broken in one of three ways.
#[derive(Clone)]
struct Count {
    calls: Arc<AtomicUsize>,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    StateMadeInLayer,
    StateNotInClone,
    CallsAClone,
}

struct CountLayer(Count);

impl CountLayer {
    fn new(fault: Fault) -> Self {
        Self(Count {
            calls: Arc::default(),
            fault,
        })
    }
}

impl Clone for CountLayer {
    fn clone(&self) -> Self {
        match self.0.fault {
            Fault::StateNotInClone => Self::new(self.0.fault),
            _ => Self(self.0.clone()),
        }
    }
}

impl<S> Layer<S> for CountLayer {
    type Service = CountService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let count = match self.0.fault {
            Fault::StateMadeInLayer => Count {
                calls: Arc::default(),
                fault: self.0.fault,
            },
            _ => self.0.clone(),
        };
        CountService { count, inner }
    }
}

#[derive(Clone)]
struct CountService<S> {
    count: Count,
    inner: S,
}

impl<S> Service<()> for CountService<S>
where
    S: Service<(), Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = usize;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<usize, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let count = self.count.calls.fetch_add(1, Ordering::SeqCst);
        let clone = self.inner.clone();
        let mut inner = match self.count.fault {
            Fault::CallsAClone => clone,
            _ => std::mem::replace(&mut self.inner, clone),
        };
        Box::pin(async move {
            inner.call(()).await?;
            Ok(count)
        })
    }
}

#[derive(Clone)]
struct Inner;

impl Service<()> for Inner {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

async fn check_state(fault: Fault) {
    assert_state_shared(
        || CountLayer::new(fault),
        || Inner,
        |mut service| async move {
            poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
            service.call(()).await.unwrap()
        },
    )
    .await;
}

#[tokio::test]
async fn shared_state_passes() {
    check_state(Fault::None).await;
}

#[tokio::test]
#[should_panic(expected = "two calls of layer() do not share their state")]
async fn state_made_in_layer_fails() {
    check_state(Fault::StateMadeInLayer).await;
}

#[tokio::test]
#[should_panic(expected = "a clone of the layer does not share the state")]
async fn state_not_in_the_clone_fails() {
    check_state(Fault::StateNotInClone).await;
}

#[tokio::test]
#[should_panic(expected = "the probe must come out differently")]
async fn a_probe_that_cannot_tell_fails() {
    assert_state_shared(|| CountLayer::new(Fault::None), || Inner, |_| async {}).await;
}

#[tokio::test]
async fn the_ready_service_passes() {
    assert_ready_kept(&CountLayer::new(Fault::None), Inner, || ()).await;
}

#[tokio::test]
#[should_panic(expected = "called without having been polled ready")]
async fn a_clone_of_the_ready_service_fails() {
    assert_ready_kept(&CountLayer::new(Fault::CallsAClone), Inner, || ()).await;
}
