//! Checks that every tower layer must pass, because of what servers do with layers.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

/// Checks that services made by several calls of [`Layer::layer`], and by clones of the layer,
/// share their state: routers call it once per route or per connection.
///
/// `probe` does one thing to a service and says what came of it; done twice to *one* service it must
/// come out differently (a limit of one request: passed, then refused), or it could not tell
/// shared state from none. `new_layer` makes a layer with fresh state, `new_inner` the service
/// inside.
///
/// # Panics
///
/// When the state is not shared, or `probe` cannot tell.
pub async fn assert_state_shared<L, S, T, Fut>(
    new_layer: impl Fn() -> L,
    new_inner: impl Fn() -> S,
    probe: impl Fn(L::Service) -> Fut,
) where
    L: Layer<S> + Clone,
    L::Service: Clone,
    Fut: Future<Output = T>,
    T: PartialEq + Debug,
{
    let one = new_layer().layer(new_inner());
    let expected = (probe(one.clone()).await, probe(one).await);
    assert_ne!(
        expected.0, expected.1,
        "the probe must come out differently the second time on one service"
    );

    let layer = new_layer();
    let (first, second) = (layer.layer(new_inner()), layer.layer(new_inner()));
    let apart = (probe(first).await, probe(second).await);
    assert_eq!(
        apart, expected,
        "two calls of layer() do not share their state"
    );

    let layer = new_layer();
    let clone = layer.clone();
    let (first, second) = (layer.layer(new_inner()), clone.layer(new_inner()));
    let apart = (probe(first).await, probe(second).await);
    assert_eq!(
        apart, expected,
        "a clone of the layer does not share the state"
    );
}

/// Checks that `layer` calls the very service that it polled ready, and not a clone of it, which
/// may be anything but ready (documentation of `tower_service::Service`, "Be careful when cloning
/// inner services"). `request` must be one that reaches the inner service.
///
/// # Panics
///
/// When an inner service is called that was not polled ready, or none is called.
pub async fn assert_ready_kept<L, S, R>(layer: &L, inner: S, request: impl Fn() -> R)
where
    L: Layer<MustBeReady<S>>,
    L::Service: Service<R> + Clone,
    <L::Service as Service<R>>::Error: Debug,
{
    let inner = MustBeReady::new(inner);
    let calls = inner.calls.clone();
    let mut service = layer.layer(inner);
    // Twice on one service, then on a clone that was made after a call.
    for _ in 0..2 {
        call(&mut service, request()).await;
    }
    let mut clone = service.clone();
    call(&mut clone, request()).await;
    call(&mut service, request()).await;
    let calls = calls.load(Ordering::SeqCst);
    assert_eq!(
        calls, 4,
        "the request of this check must reach the inner service each time"
    );
}

async fn call<S: Service<R>, R>(service: &mut S, request: R)
where
    S::Error: Debug,
{
    let ready = poll_fn(|cx| service.poll_ready(cx)).await;
    ready.expect("the service of this check gets ready");
    service
        .call(request)
        .await
        .map(drop)
        .expect("the request of this check does not fail");
}

/// A service that panics when it is called without having been polled ready before, on this very
/// instance: a clone starts out not ready.
#[derive(Debug)]
pub struct MustBeReady<S> {
    inner: S,
    ready: bool,
    calls: Arc<AtomicUsize>,
}

impl<S> MustBeReady<S> {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            ready: false,
            calls: Arc::default(),
        }
    }
}

impl<S: Clone> Clone for MustBeReady<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            ready: false,
            calls: self.calls.clone(),
        }
    }
}

impl<S: Service<R>, R> Service<R> for MustBeReady<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let ready = self.inner.poll_ready(cx);
        self.ready = matches!(ready, Poll::Ready(Ok(())));
        ready
    }

    fn call(&mut self, request: R) -> S::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without having been polled ready"
        );
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.call(request)
    }
}
