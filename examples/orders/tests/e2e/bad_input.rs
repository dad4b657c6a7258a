use std::time::Duration;

use futures_util::stream;
use reqwest::{Body, Method};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    harness::{Answer, PATIENCE, Store},
    products::assert_works,
};

const MIB: usize = 1024 * 1024;

on_both_databases! {
    json_that_is_none
    content_types
    bodies_over_the_limit
    bodies_at_the_limit
    unknown_routes
    ids_that_are_none
    methods_that_are_not_allowed
    customers_that_are_none
    bytes_that_are_no_http
    a_body_that_does_not_come
}

async fn json_that_is_none(store: Store) {
    let shop = store.start().await;
    for body in ["", "{", "nonsense"] {
        for path in ["/v1/products", "/v1/orders"] {
            let request = shop
                .request(Method::POST, path)
                .header("content-type", "application/json")
                .body(body.to_owned());
            Answer::of(request).await.problem(400, "");
        }
    }
    let half_a_character = shop
        .request(Method::POST, "/v1/products")
        .header("content-type", "application/json")
        .body("{\"name\": \"\\ud800\", \"price_cents\": 1, \"stock\": 1}");
    // Well-formed JSON (RFC 8259 §8.2), but no text.
    let refused = Answer::of(half_a_character).await.violations();
    assert_eq!(refused, [("invalid".to_owned(), "#/name".to_owned())]);
    let not_utf8 = shop
        .request(Method::POST, "/v1/products")
        .header("content-type", "application/json")
        .body(b"{\"name\": \"\xff\", \"price_cents\": 1, \"stock\": 1}".to_vec());
    Answer::of(not_utf8).await.problem(400, "");
    let twice = shop
        .request(Method::POST, "/v1/products")
        .header("content-type", "application/json")
        .body("{\"name\": \"a\", \"price_cents\": 1, \"stock\": 1, \"stock\": 2}");
    let refused = Answer::of(twice).await.violations();
    assert_eq!(refused, [("duplicate".to_owned(), "#/stock".to_owned())]);
    let deep = shop
        .request(Method::POST, "/v1/products")
        .header("content-type", "application/json")
        .body("[".repeat(1_000_000));
    assert!(Answer::of(deep).await.status.is_client_error());
    assert_works(&shop).await;
}

async fn content_types(store: Store) {
    let shop = store.start().await;
    let body = json!({"name": "Mug", "price_cents": 1, "stock": 1}).to_string();
    for wrong in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("json"),
    ] {
        let mut request = shop
            .request(Method::POST, "/v1/products")
            .body(body.clone());
        if let Some(wrong) = wrong {
            request = request.header("content-type", wrong);
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.header("accept"), "application/json");
        answer.problem(415, "");
    }
    for right in [
        "application/json; charset=utf-8",
        "application/vnd.shop+json",
    ] {
        let request = shop
            .request(Method::POST, "/v1/products")
            .body(body.clone());
        Answer::of(request.header("content-type", right))
            .await
            .expect(201);
    }
}

async fn bodies_over_the_limit(store: Store) {
    let shop = store.start().await;
    for bytes in [MIB + 1, 8 * MIB] {
        for path in ["/v1/products", "/v1/orders"] {
            let announced = shop
                .request(Method::POST, path)
                .header("content-type", "application/json")
                .body(vec![b' '; bytes]);
            Answer::of(announced).await.problem(413, "");
            let chunk = || Ok::<_, std::io::Error>(vec![b' '; 64 * 1024]);
            let chunks = std::iter::repeat_with(chunk).take(bytes / (64 * 1024) + 1);
            let chunked = shop
                .request(Method::POST, path)
                .header("content-type", "application/json")
                .body(Body::wrap_stream(stream::iter(chunks)));
            Answer::of(chunked).await.problem(413, "");
        }
    }
    // Who only announces it and waits is answered at once, and not asked for the rest.
    let mut stream = shop.connect().await;
    let head = format!(
        "POST /v1/products HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        100 * MIB
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(!answer.contains("100 Continue"), "{answer}");
    assert_works(&shop).await;
}

async fn bodies_at_the_limit(store: Store) {
    let shop = store.start().await;
    let mut body = json!({"name": "Mug", "price_cents": 1, "stock": 1}).to_string();
    body.extend(std::iter::repeat_n(' ', MIB - body.len()));
    let request = shop.request(Method::POST, "/v1/products").body(body);
    let request = request.header("content-type", "application/json");
    Answer::of(request).await.expect(201);
}

async fn unknown_routes(store: Store) {
    let shop = store.start().await;
    for path in [
        "/",
        "/v1",
        "/v1/products/",
        "/v1/nothing",
        "/V1/products",
        "/v1/products/a/b",
        "/%ff",
    ] {
        shop.get(path).await.problem(404, "");
        shop.post(path, &json!({})).await.problem(404, "");
    }
}

async fn ids_that_are_none(store: Store) {
    let shop = store.start().await;
    let id = shop.product(1).await;
    for bad in [
        "1",
        "not-a-uuid",
        &id.replace('-', ""),
        &format!("%7B{id}%7D"),
        "%ff",
        "%00",
    ] {
        shop.get(&format!("/v1/products/{bad}"))
            .await
            .problem(404, "");
        shop.patch(&format!("/v1/products/{bad}"), &json!({}))
            .await
            .problem(404, "");
        shop.get(&format!("/v1/orders/{bad}"))
            .await
            .problem(404, "");
        shop.act(&format!("/v1/orders/{bad}/cancel"))
            .await
            .problem(404, "");
    }
    let upper = id.to_ascii_uppercase();
    shop.get(&format!("/v1/products/{upper}")).await.expect(200);
    // An id of another kind of thing.
    shop.get(&format!("/v1/orders/{id}"))
        .await
        .problem(404, "order-not-found");
}

async fn methods_that_are_not_allowed(store: Store) {
    let shop = store.start().await;
    let id = shop.product(1).await;
    let product = format!("/v1/products/{id}");
    let cancel = format!("/v1/orders/{id}/cancel");
    for (method, path, allow) in [
        (Method::DELETE, "/v1/products", "GET,HEAD,POST"),
        (Method::PUT, &product, "GET,HEAD,PATCH"),
        (Method::PATCH, "/v1/orders", "GET,HEAD,POST"),
        (Method::GET, &cancel, "POST"),
        (Method::POST, "/livez", "GET,HEAD"),
        (Method::OPTIONS, "/v1/orders", "GET,HEAD,POST"),
        (Method::from_bytes(b"BREW").unwrap(), "/readyz", "GET,HEAD"),
    ] {
        let answer = Answer::of(shop.request(method, path)).await;
        assert_eq!(answer.header("allow"), allow);
        answer.problem(405, "");
    }
}

async fn customers_that_are_none(store: Store) {
    let shop = store.start().await;
    let long = "a".repeat(65);
    for bad in ["", " ", "a b", "ä", "a,b", "a/b", &long] {
        let request = shop.request(Method::GET, "/v1/orders");
        let request = request.header("x-demo-customer", bad.as_bytes());
        let problem = Answer::of(request).await.problem(400, "invalid-header");
        assert_eq!(problem["errors"][0]["header"], "x-demo-customer");
        assert!(problem["errors"][0]["detail"].is_string());
    }
    let request = shop.request(Method::GET, "/v1/orders");
    let twice = request
        .header("x-demo-customer", "a")
        .header("x-demo-customer", "b");
    Answer::of(twice).await.problem(400, "invalid-header");
    let longest = shop
        .request(Method::GET, "/v1/orders")
        .header("x-demo-customer", &long[..64]);
    Answer::of(longest).await.expect(200);
}

/// What hyper refuses before there is a request.
async fn bytes_that_are_no_http(store: Store) {
    let shop = store.start().await;
    let huge_header = format!(
        "GET / HTTP/1.1\r\nhost: shop\r\nx: {}\r\n\r\n",
        "a".repeat(2 * MIB)
    );
    for bytes in [
        "\x16\x03\x01\x02\x00",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /v1/orders HTTP/1.1\r\nhost: shop\r\ncontent-length: -1\r\n\r\n",
        &huge_header,
    ] {
        let mut stream = shop.connect().await;
        // It may hang up before it has read all of it.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection is ended");
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    assert_works(&shop).await;
}

async fn a_body_that_does_not_come(store: Store) {
    let shop = store.start().await;
    let begun = std::time::Instant::now();
    let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = shop
        .request(Method::POST, "/v1/products")
        .header("content-type", "application/json")
        .body(Body::wrap_stream(never));
    Answer::of(request).await.problem(504, "timeout");
    assert!(begun.elapsed() < Duration::from_secs(15));
}
