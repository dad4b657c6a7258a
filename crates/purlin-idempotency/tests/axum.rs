//! The extractor in an axum router.

use axum::{Router, body::Body, routing::post};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use purlin_idempotency::{Execution, IdempotencyLayer, MemoryStore, OnStoreError};
use purlin_problem::Problem;
use tower::ServiceExt as _;

async fn required(execution: Execution) -> String {
    execution.child_key("a")
}

async fn optional(execution: Option<Execution>) -> String {
    execution.map_or_else(String::new, |execution| execution.attempt().to_string())
}

fn protected(router: Router, store: MemoryStore) -> Router {
    let layer = IdempotencyLayer::leased(store).single_tenant();
    router.layer(layer.with_on_store_error(OnStoreError::Reject))
}

async fn send(router: &Router, path: &str, key: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::post(path);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Body::empty()).expect("is a request");
    let response = router.clone().oneshot(request).await.expect("infallible");
    let status = response.status();
    let body = response.into_body().collect().await.expect("is whole");
    let body = String::from_utf8(body.to_bytes().to_vec()).expect("UTF-8");
    (status, body)
}

fn router() -> Router {
    Router::new()
        .route("/required", post(required))
        .route("/optional", post(optional))
}

#[tokio::test]
async fn a_handler_may_take_the_execution() {
    let router = protected(router(), MemoryStore::new());
    let (status, child) = send(&router, "/required", Some("k")).await;
    assert_eq!((status, child.len()), (StatusCode::OK, 36));
    assert_eq!(send(&router, "/required", Some("k")).await.1, child);
    assert_eq!(send(&router, "/optional", Some("l")).await.1, "1");
    assert_eq!(
        send(&router, "/optional", None).await,
        (StatusCode::OK, String::new())
    );
}

#[tokio::test]
async fn without_a_key_a_handler_that_needs_one_is_not_called() {
    let router = protected(router(), MemoryStore::new());
    let (status, problem) = send(&router, "/required", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(problem.contains("idempotency-key-missing"), "{problem}");
}

#[tokio::test]
async fn a_key_without_a_layer_is_our_mistake_and_not_the_clients() {
    let (status, _) = send(&router(), "/required", Some("k")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let (status, _) = send(&router(), "/optional", Some("k")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn problems_of_handlers_pass_through_the_layer() {
    async fn busy(_: Execution) -> Problem {
        Problem::new(&purlin_problem::blank::TOO_MANY_REQUESTS)
    }
    let router = protected(Router::new().route("/", post(busy)), MemoryStore::new());
    for _ in 0..2 {
        let (status, _) = send(&router, "/", Some("k")).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    }
}
