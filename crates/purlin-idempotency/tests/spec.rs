//! draft-ietf-httpapi-idempotency-key-header, one test per rule for servers, by its section.

mod common;

use std::{sync::Arc, time::Duration};

use common::{Handler, full, layer, post, reply, request, send};
use http::{Method, StatusCode};
use purlin_idempotency::{KeySyntax, Rejection};
use tokio::sync::Notify;

const UUID: &str = "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"";

/// Section 2.1: "Item Structured Header. Its value MUST be a String."
#[tokio::test]
async fn section_2_1_the_value_is_a_string() {
    let (strict, handler) = (
        layer().with_key_syntax(KeySyntax::Strict),
        Handler::counting(),
    );
    assert_eq!(
        send(&strict, &handler, post(UUID)).await.status,
        StatusCode::CREATED
    );
    for other in [
        "8e03978e",
        "7",
        "?1",
        ":aGk=:",
        "(\"a\" \"b\")",
        "@1700000000",
    ] {
        let reply = send(&strict, &handler, post(other)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{other}");
    }
    // DIFFERENCE: bare keys, which most clients send, are taken too unless strings are demanded.
    let lenient = layer();
    assert_eq!(
        send(&lenient, &handler, post("8e03978e")).await.status,
        StatusCode::CREATED
    );
}

/// Section 2.2: keys "MUST NOT be reused with another request with a different request payload".
#[tokio::test]
async fn section_2_2_a_key_belongs_to_one_payload() {
    let (layer, handler) = (layer(), Handler::counting());
    send(&layer, &handler, post(UUID)).await;
    let other = send(&layer, &handler, post(UUID).map(|_| full("{\"a\":1}"))).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(handler.calls(), 1);
}

/// Section 2.3: "The resource MAY enforce time-based idempotency keys"; expired, a key is new.
#[tokio::test]
async fn section_2_3_keys_expire() {
    let (layer, handler) = (layer().with_retention(Duration::ZERO), Handler::counting());
    for number in ["1", "2"] {
        assert_eq!(send(&layer, &handler, post(UUID)).await.text(), number);
    }
}

/// Section 2.6, first request: "the resource SHOULD process the request normally".
#[tokio::test]
async fn section_2_6_a_first_request_is_processed() {
    let (layer, handler) = (layer(), Handler::counting());
    for method in [Method::POST, Method::PATCH] {
        let first = send(
            &layer,
            &handler,
            request(method.clone(), Some(method.as_str()), "{}"),
        );
        let first = first.await;
        assert_eq!(
            (first.status, first.is_replay()),
            (StatusCode::CREATED, false)
        );
    }
    assert_eq!(handler.calls(), 2);
}

/// Section 2.6, duplicate: "SHOULD respond with the result of the previously completed operation,
/// success or an error".
#[tokio::test]
async fn section_2_6_a_retry_gets_the_result_be_it_an_error() {
    for status in [
        StatusCode::CREATED,
        StatusCode::CONFLICT,
        StatusCode::PAYMENT_REQUIRED,
    ] {
        let handler = Handler::saying(move |call| reply(status, call.to_string()));
        let layer = layer();
        for _ in 0..3 {
            let reply = send(&layer, &handler, post(UUID)).await;
            assert_eq!((reply.status, reply.text()), (status, "1"));
        }
    }
}

/// Section 2.6, concurrent: "SHOULD respond with a resource conflict error".
/// Section 2.7: 409, "the client does not need to modify the request".
#[tokio::test]
async fn section_2_6_a_concurrent_request_is_a_conflict() {
    let begun = Arc::new(Notify::new());
    let inside = Arc::clone(&begun);
    let handler = Handler::new(move |_, _| {
        inside.notify_one();
        std::future::pending()
    });
    let (here, counted) = (layer(), handler.clone());
    let first = here.clone();
    let first = tokio::spawn(async move { send(&first, &counted, post(UUID)).await });
    begun.notified().await;
    let reply = send(&here, &handler, post(UUID)).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert!(matches!(reply.rejection, Some(Rejection::InFlight { .. })));
    assert!(reply.headers.contains_key("retry-after"));
    first.abort();
}

/// Section 2.7: a key that is required and missing SHOULD be 400.
#[tokio::test]
async fn section_2_7_a_missing_key_is_400() {
    let (layer, handler) = (layer().with_required_key(), Handler::counting());
    let reply = send(&layer, &handler, request(Method::POST, None, "{}")).await;
    assert_eq!(
        (reply.status, handler.calls()),
        (StatusCode::BAD_REQUEST, 0)
    );
    assert_eq!(reply.problem(), "idempotency-key-missing");
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(problem["title"], "Idempotency-Key is missing");
}

/// Section 2.7: "with a Link header that points to the relevant documentation", and problem details.
#[tokio::test]
async fn section_2_7_errors_say_where_they_are_described() {
    let (layer, handler) = (layer(), Handler::counting());
    send(&layer, &handler, post(UUID)).await;
    for request in [post(""), post(UUID).map(|_| full("other"))] {
        let reply = send(&layer, &handler, request).await;
        let slug = reply.problem();
        let link = format!("</problems/{slug}>; rel=\"describedby\"");
        assert_eq!(reply.headers["link"], *link);
    }
}

/// Section 5: "SHOULD … always validate the key", and look it up with attributes of the client.
#[tokio::test]
async fn section_5_keys_are_validated_and_belong_to_a_client() {
    let handler = Handler::counting();
    let store = purlin_idempotency::MemoryStore::new();
    let layer = purlin_idempotency::IdempotencyLayer::leased(store).scope(|request| {
        let user = request.headers.get("x-user")?.to_str().ok()?;
        Some(purlin_idempotency::Scope::principal(user))
    });
    let by = |user: &'static str| {
        let mut request = post("1");
        let user = http::HeaderValue::from_static(user);
        request.headers_mut().insert("x-user", user);
        request
    };
    assert_eq!(send(&layer, &handler, by("ann")).await.text(), "1");
    assert_eq!(send(&layer, &handler, by("ben")).await.text(), "2");
    assert_eq!(
        send(&layer, &handler, post("1")).await.status,
        StatusCode::FORBIDDEN
    );
}
