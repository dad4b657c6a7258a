//! The services that are compared: the same handler, alone and behind each layer.

use std::{
    convert::Infallible,
    fmt::Debug,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum_idempotent::{IdempotentLayer, IdempotentOptions};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use purlin_benches::load::Load;
use ruts::{CookieOptions, SessionLayer, store::moka::MokaStore};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_cookies::CookieManagerLayer;

pub const NO_LAYER: &str = "no layer";
pub const IDEMPOTENT_MEMORY: &str = "idempotent, `MemoryStore`";
pub const IDEMPOTENT_REDIS: &str = "idempotent, `ValkeyStore`";
pub const AXUM_IDEMPOTENT: &str = "axum-idempotent, moka";

/// 200 bytes of a request, and 300 of an answer.
pub static REQUEST: Bytes = Bytes::from_static(&padded::<200>());
pub static ANSWER: Bytes = Bytes::from_static(&padded::<300>());

/// A JSON document of this length.
const fn padded<const BYTES: usize>() -> [u8; BYTES] {
    let mut document = [b'x'; BYTES];
    let head = b"{\"id\":12345,\"state\":\"placed\",\"note\":\"";
    let mut at = 0;
    while at < head.len() {
        document[at] = head[at];
        at += 1;
    }
    document[BYTES - 2] = b'"';
    document[BYTES - 1] = b'}';
    document
}

/// What the client sees.
pub struct Answered {
    pub status: StatusCode,
    pub replayed: bool,
    pub body: Bytes,
}

/// The number of a key, from which the header and the session are made.
#[derive(Clone, Copy)]
pub struct Key(u64);

impl Key {
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// As a key of Redis, as long as a digest in hexadecimal digits.
    pub fn parsed(self) -> purlin_idempotency::Key {
        let syntax = purlin_idempotency::KeySyntax::default();
        purlin_idempotency::Key::parse(self.record().as_bytes(), syntax).expect("is one")
    }

    pub fn record(self) -> String {
        format!("bench:raw:{:064x}", self.0)
    }

    fn header(self) -> HeaderValue {
        let uuid = format!("8e03978e-40d5-43e8-bc93-{:012x}", self.0);
        HeaderValue::try_from(uuid).expect("is a header value")
    }

    /// A session of its own for each key: 22 characters of base64.
    fn session(self) -> HeaderValue {
        let cookie = format!("session={:020x}AA", self.0);
        HeaderValue::try_from(cookie).expect("is a header value")
    }
}

/// A service of whatever type.
pub trait App: Clone + Send + Sync + 'static {
    fn send(&self, key: Option<Key>, body: Bytes) -> impl Future<Output = Answered> + Send;
}

/// One whose bodies are `Full<Bytes>`.
#[derive(Clone)]
pub struct Plain<S>(pub S);

/// One of axum, with a session for each key.
#[derive(Clone)]
pub struct Axum<S>(pub S);

impl<S, R> App for Plain<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Debug,
    R: Body<Data = Bytes> + Send,
    R::Error: Debug,
{
    async fn send(&self, key: Option<Key>, body: Bytes) -> Answered {
        send(&self.0, request(key, Full::new(body))).await
    }
}

impl<S, R> App for Axum<S>
where
    S: Service<Request<axum::body::Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Debug,
    R: Body<Data = Bytes> + Send,
    R::Error: Debug,
{
    async fn send(&self, key: Option<Key>, body: Bytes) -> Answered {
        let mut request = request(key, body.into());
        if let Some(key) = key {
            request.headers_mut().insert(header::COOKIE, key.session());
        }
        send(&self.0, request).await
    }
}

async fn send<S, B, R>(service: &S, request: Request<B>) -> Answered
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Debug,
    R: Body<Data = Bytes>,
    R::Error: Debug,
{
    let response = service.clone().oneshot(request).await.expect("answers");
    let (head, body) = response.into_parts();
    let replayed = head.headers.contains_key("idempotent-replayed")
        || head.headers.contains_key("idempotency-replayed");
    Answered {
        status: head.status,
        replayed,
        body: body.collect().await.expect("has a body").to_bytes(),
    }
}

pub fn request<B>(key: Option<Key>, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static("/v1/orders?dry=0");
    let headers = request.headers_mut();
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-request-id", "0188cc4a-9d2c-7e0a-8000-000000000000"),
        ("accept", "*/*"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(key) = key {
        headers.insert("idempotency-key", key.header());
    }
    request
}

/// What the handlers have done, and how long they take for it.
#[derive(Clone, Default)]
pub struct Work {
    pub executions: Arc<AtomicU64>,
    pub takes: Duration,
}

/// The handler: reads the request and answers with 201.
pub fn handler<B, R>(
    work: Work,
) -> impl Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Debug + Send,
    R: From<Bytes> + 'static,
{
    service_fn(move |request: Request<B>| {
        let work = work.clone();
        async move {
            let body = request.into_body().collect().await;
            std::hint::black_box(body.expect("is read").to_bytes());
            work.executions.fetch_add(1, Ordering::Relaxed);
            if !work.takes.is_zero() {
                tokio::time::sleep(work.takes).await;
            }
            Ok(created())
        }
    })
}

pub fn created<R: From<Bytes>>() -> Response<R> {
    let mut response = Response::new(R::from(ANSWER.clone()));
    *response.status_mut() = StatusCode::CREATED;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

pub fn no_layer(work: Work) -> impl App {
    Plain(handler::<_, Full<Bytes>>(work))
}

pub fn purlin<M: 'static>(
    layer: &purlin_idempotency::IdempotencyLayer<M>,
    work: Work,
) -> impl App + use<M> {
    Plain(layer.layer(handler::<_, Full<Bytes>>(work)))
}

pub fn idempotent<S>(store: S, work: Work) -> impl App
where
    S: idempotent::IdempotencyStore + Clone,
{
    let layer = idempotent::middleware::IdempotencyLayer::new(store);
    Plain(layer.layer(handler::<_, Full<Bytes>>(work)))
}

/// Its memory store keeps a task, of the runtime on which it is made.
pub fn idempotent_memory(work: Work) -> impl App {
    let store = idempotent::memory::MemoryStore::builder().try_build();
    idempotent(store.expect("makes a store"), work)
}

/// By the key, which is its faster mode and compares nothing; or by a hash of the whole request.
pub fn axum_idempotent(by_key: bool, work: Work) -> impl App {
    Axum(axum_idempotent_service(by_key, work))
}

pub fn axum_idempotent_service(
    by_key: bool,
    work: Work,
) -> impl Service<
    Request<axum::body::Body>,
    Response = Response<axum::body::Body>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    let mut options = IdempotentOptions::default().expire_after(3_600);
    if by_key {
        options = options.use_idempotency_key_header(None, false);
    }
    let service = handler::<axum::body::Body, axum::body::Body>(work);
    let service = IdempotentLayer::<MokaStore>::new(options).layer(service);
    let cookie = CookieOptions::build()
        .name("session")
        .max_age(3_600)
        .path("/");
    let sessions = SessionLayer::new(Arc::new(MokaStore::builder().build()));
    let service = sessions.with_cookie_options(cookie).layer(service);
    CookieManagerLayer::new().layer(service)
}

/// Each call is the first request of a key.
pub fn first(name: &str, app: impl App) -> Load {
    Load::new(name, move || {
        let app = app.clone();
        async move {
            let answered = app.send(Some(Key::fresh()), REQUEST.clone()).await;
            check(&answered, false);
        }
    })
}

/// Each call but the one made here is a retry.
pub async fn replay(name: &str, app: impl App) -> Load {
    let key = Key::fresh();
    check(&app.send(Some(key), REQUEST.clone()).await, false);
    Load::new(name, move || {
        let app = app.clone();
        async move {
            let answered = app.send(Some(key), REQUEST.clone()).await;
            if answered.status == StatusCode::CONFLICT {
                CONFLICTS.fetch_add(1, Ordering::Relaxed);
            } else {
                check(&answered, true);
            }
        }
    })
}

/// Retries that got 409, although the first request was answered long before. One too many: it is
/// told, so that nobody takes the time of a refusal for that of a replay.
static CONFLICTS: AtomicU64 = AtomicU64::new(0);

/// How many there were since the last question, said in words if there were any.
pub fn tell_conflicts() {
    let conflicts = CONFLICTS.swap(0, Ordering::Relaxed);
    if conflicts > 0 {
        println!("\n**{conflicts} of these retries were refused with 409.**");
    }
}

fn check(answered: &Answered, replayed: bool) {
    assert_eq!(answered.status, StatusCode::CREATED);
    assert_eq!(answered.body, ANSWER);
    assert_eq!(answered.replayed, replayed);
}
