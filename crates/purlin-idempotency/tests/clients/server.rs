//! A server whose handler waits for the test, and that says what becomes of it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use purlin_idempotency::{
    Event, Execution, IdempotencyLayer, IdempotencyStore as _, Leased, MemoryStore, Observer,
    RecordId, RequestBody, ResponseBody,
    store::{Existing, State},
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, Semaphore, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tower::{BoxError, Layer as _, Service, ServiceExt as _, service_fn, timeout::Timeout};

/// What takes longer than this hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the test is told, in this order by whoever sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The handler has read the request and waits.
    Begun,
    /// The server has dropped the future of the request before it was ready: the client is gone.
    HungUp,
    /// The layer says that it carries the work on.
    Detached,
    /// The handler was dropped while it waited.
    HandlerDropped,
    /// The handler has come to its end.
    Completed,
    /// The layer has refused something.
    Refused,
}

#[derive(Debug)]
struct Scene {
    seen: mpsc::UnboundedSender<Seen>,
    go_on: Semaphore,
    effects: AtomicUsize,
    id: std::sync::Mutex<Option<RecordId>>,
}

impl Scene {
    fn tell(&self, seen: Seen) {
        // A test that has ended does not listen any more.
        let _ = self.seen.send(seen);
    }
}

#[derive(Debug)]
struct Watching(Arc<Scene>);

impl Observer for Watching {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::Detached => self.0.tell(Seen::Detached),
            Event::Rejected { .. } => self.0.tell(Seen::Refused),
            _ => {}
        }
    }
}

/// Tells that it was dropped, unless it was disarmed.
struct Guard {
    scene: Arc<Scene>,
    dropped: Option<Seen>,
}

impl Guard {
    fn disarm(mut self) {
        self.dropped = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(seen) = self.dropped {
            self.scene.tell(seen);
        }
    }
}

pub(crate) struct Options {
    pub(crate) streamed: bool,
    /// Of a timeout layer outside of the idempotency layer.
    pub(crate) outer_timeout: Duration,
    pub(crate) answer_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            streamed: false,
            outer_timeout: Duration::MAX,
            answer_bytes: 0,
        }
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    scene: Arc<Scene>,
    seen: Mutex<mpsc::UnboundedReceiver<Seen>>,
    layer: IdempotencyLayer<Leased>,
    store: MemoryStore,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    pub(crate) async fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let scene = Arc::new(Scene {
            seen: sender,
            go_on: Semaphore::new(0),
            effects: AtomicUsize::new(0),
            id: std::sync::Mutex::default(),
        });
        let store = MemoryStore::new();
        let layer = IdempotencyLayer::leased(store.clone())
            .single_tenant()
            // What is replayed comes out of the store.
            .with_replay_cache_bytes(0)
            .with_observer(Watching(Arc::clone(&scene)));
        let layer = if options.streamed {
            layer.with_streamed_requests()
        } else {
            layer
        };
        let accepting = tokio::spawn(accept(listener, layer.clone(), Arc::clone(&scene), options));
        let seen = Mutex::new(seen);
        Self {
            address,
            scene,
            seen,
            layer,
            store,
            accepting,
        }
    }

    pub(crate) async fn next(&self) -> Seen {
        let mut seen = self.seen.lock().await;
        let next = timeout(PATIENCE, seen.recv()).await;
        next.expect("something happens").expect("the server lives")
    }

    /// What is seen until one of `last`, which is included.
    pub(crate) async fn until(&self, last: &[Seen]) -> Vec<Seen> {
        let mut all = Vec::new();
        loop {
            let seen = self.next().await;
            all.push(seen);
            if last.contains(&seen) {
                return all;
            }
        }
    }

    /// What was seen and not asked for.
    pub(crate) async fn rest(&self) -> Vec<Seen> {
        let mut seen = self.seen.lock().await;
        std::iter::from_fn(|| seen.try_recv().ok()).collect()
    }

    /// Lets one handler go on.
    pub(crate) fn go_on(&self) {
        self.scene.go_on.add_permits(1);
    }

    pub(crate) fn effects(&self) -> usize {
        self.scene.effects.load(Ordering::SeqCst)
    }

    /// When nothing is being worked on any more.
    pub(crate) async fn drained(&self) {
        self.layer.drain(PATIENCE).await.unwrap();
    }

    /// The record of the last request that was executed under a key.
    pub(crate) async fn record(&self) -> Option<Existing> {
        let id = *self.scene.id.lock().unwrap();
        self.store.get(&id?).await.unwrap()
    }

    pub(crate) async fn is_completed(&self) -> bool {
        let record = self.record().await;
        record.is_some_and(|record| matches!(record.state, State::Completed { .. }))
    }
}

async fn accept(
    listener: TcpListener,
    layer: IdempotencyLayer<Leased>,
    scene: Arc<Scene>,
    options: Options,
) {
    let (time, answer_bytes) = (options.outer_timeout, options.answer_bytes);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let handler = {
            let scene = Arc::clone(&scene);
            service_fn(move |request| handle(Arc::clone(&scene), request, answer_bytes))
        };
        let watched = watch(layer.layer(handler), Arc::clone(&scene));
        let service = with_timeout(Timeout::new(watched, time));
        tokio::spawn(async move {
            let service = TowerToHyperService::new(service);
            let server = auto::Builder::new(TokioExecutor::new());
            // A client that is gone is an error of its connection.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Answer = Response<ResponseBody<Full<Bytes>>>;

/// Answers 504 when the time is over.
fn with_timeout<S>(
    inner: S,
) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ 'static
where
    S: Service<Request<Incoming>, Response = Answer, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    service_fn(move |request| {
        let answer = inner.clone().oneshot(request);
        async move {
            Ok(answer.await.unwrap_or_else(|_| {
                let mut response = Response::new(ResponseBody::default());
                *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
                response
            }))
        }
    })
}

/// Says when the future of a request is dropped before it is ready, which is how a server takes leave
/// of a client.
fn watch<S>(
    inner: S,
    scene: Arc<Scene>,
) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ 'static
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    service_fn(move |request| {
        let guard = Guard {
            scene: Arc::clone(&scene),
            dropped: Some(Seen::HungUp),
        };
        let answer = inner.clone().oneshot(request);
        async move {
            let answer = answer.await;
            guard.disarm();
            answer
        }
    })
}

async fn handle(
    scene: Arc<Scene>,
    request: Request<RequestBody<Incoming>>,
    answer_bytes: usize,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(execution) = Execution::of(request.extensions()) {
        *scene.id.lock().unwrap() = Some(execution.record_id());
    }
    let guard = Guard {
        scene: Arc::clone(&scene),
        dropped: Some(Seen::HandlerDropped),
    };
    let read = request.into_body().collect().await;
    let mut response = Response::new(Full::default());
    if read.is_err() {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    } else {
        scene.tell(Seen::Begun);
        scene.go_on.acquire().await.unwrap().forget();
        let count = scene.effects.fetch_add(1, Ordering::SeqCst) + 1;
        *response.status_mut() = StatusCode::CREATED;
        *response.body_mut() = Full::from(format!("effect {count}{}", ".".repeat(answer_bytes)));
    }
    guard.disarm();
    scene.tell(Seen::Completed);
    Ok(response)
}
