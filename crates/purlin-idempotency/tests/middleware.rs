//! The layer by oneshot, on the memory store: each rule for requests and answers.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use purlin_idempotency::{IdempotencyLayer, Leased, MemoryStore, RequestBody, ResponseBody};
use tower::{Layer as _, ServiceExt as _, service_fn};

type Body = Full<Bytes>;

/// Counts how often it is called and answers with that.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn layer() -> IdempotencyLayer<Leased> {
    IdempotencyLayer::leased(MemoryStore::new()).single_tenant()
}

async fn send<M>(
    layer: &IdempotencyLayer<M>,
    counter: &Counter,
    request: Request<Body>,
) -> (StatusCode, HeaderMap, Bytes) {
    let counter = counter.clone();
    let service = service_fn(move |_: Request<RequestBody<Body>>| {
        let count = counter.0.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            let mut response = Response::new(Body::from(format!("{count}")));
            *response.status_mut() = StatusCode::CREATED;
            Ok::<_, Infallible>(response)
        }
    });
    let response: Response<ResponseBody<Body>> = layer
        .layer(service)
        .oneshot(request)
        .await
        .expect("infallible");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("infallible").to_bytes();
    (head.status, head.headers, body)
}

fn post(key: &str) -> Request<Body> {
    Request::builder()
        .method(Method::POST)
        .uri("/orders?x=1")
        .header("idempotency-key", key)
        .body(Body::from("{}"))
        .expect("is a request")
}

#[tokio::test]
async fn a_retry_gets_the_first_answer() {
    let (layer, counter) = (layer(), Counter::default());
    let first = send(&layer, &counter, post("k")).await;
    assert_eq!((first.0, &first.2[..]), (StatusCode::CREATED, &b"1"[..]));
    assert!(!first.1.contains_key("idempotent-replayed"));
    for layer in [layer.clone(), layer.with_replay_cache_bytes(0)] {
        let second = send(&layer, &counter, post("\"k\"")).await;
        assert_eq!((second.0, &second.2), (first.0, &first.2));
        assert_eq!(second.1["idempotent-replayed"], "true");
    }
    assert_eq!(counter.count(), 1);
}
