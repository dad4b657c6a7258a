use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Shop, Store},
    products::assert_is_uuid_v7,
};

on_both_databases! {
    probes
    request_ids
    every_type_leads_to_its_documentation
    head_is_get_without_a_body
    security_headers_are_on_every_answer
    pages_of_other_origins_are_refused_unless_they_are_named
    every_origin_is_allowed_when_that_is_said
    logs_are_json_when_that_is_said
    logs_are_readable_by_default
}

/// One of each kind of answer.
async fn one_of_each(shop: &Shop) -> Vec<Answer> {
    let over = vec![b' '; 2 * 1024 * 1024];
    let over = shop.request(Method::POST, "/v1/orders").body(over);
    let over = over.header("content-type", "application/json");
    vec![
        shop.post(
            "/v1/products",
            &json!({"name": "Mug", "price_cents": 1, "stock": 1}),
        )
        .await,
        shop.get("/v1/orders").await,
        shop.get("/livez").await,
        shop.get("/nothing").await,
        shop.act("/livez").await,
        Answer::of(over).await,
        Answer::of(shop.request(Method::POST, "/v1/orders").body("{}")).await,
        shop.post("/v1/orders", &json!({})).await,
        Answer::of(shop.request(Method::HEAD, "/nothing")).await,
    ]
}

async fn probes(store: Store) {
    let shop = store.start().await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(shop.get(path).await.expect(200), json!({"status": "ok"}));
    }
}

async fn request_ids(store: Store) {
    let shop = store.start().await;
    let longest = "a".repeat(128);
    for good in ["a", "A-z_0.9", &longest] {
        for path in ["/livez", "/nothing"] {
            let request = shop.request(Method::GET, path).header("x-request-id", good);
            assert_eq!(Answer::of(request).await.header("x-request-id"), good);
        }
    }
    let long = "a".repeat(129);
    for bad in ["", "a b", "ä", "a\tb", "<script>", &long] {
        let request = shop
            .request(Method::GET, "/nothing")
            .header("x-request-id", bad.as_bytes());
        let answer = Answer::of(request).await;
        assert_is_uuid_v7(answer.header("x-request-id"));
        answer.problem(404, "");
    }
    let request = shop.request(Method::GET, "/livez");
    let twice = request
        .header("x-request-id", "a")
        .header("x-request-id", "b");
    assert_is_uuid_v7(Answer::of(twice).await.header("x-request-id"));

    let mut ids = HashSet::new();
    for answer in one_of_each(&shop).await {
        assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
        assert_is_uuid_v7(answer.header("x-request-id"));
        assert!(ids.insert(answer.header("x-request-id").to_owned()));
    }
}

async fn every_type_leads_to_its_documentation(store: Store) {
    let shop = store.start().await;
    let problem = shop
        .post("/v1/orders", &json!({}))
        .await
        .problem(422, "validation");
    let url = crate::harness::text(&problem["type"]);
    let page = shop.request(Method::GET, &url).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.text().await.unwrap().contains("JSON Pointer"));
    shop.get("/problems/nothing").await.problem(404, "");
}

async fn head_is_get_without_a_body(store: Store) {
    let shop = store.start().await;
    let product = format!("/v1/products/{}", shop.product(1).await);
    for path in [&product, "/v1/orders", "/livez"] {
        let get = Answer::of(shop.request(Method::GET, path)).await;
        let head = Answer::of(shop.request(Method::HEAD, path)).await;
        assert_eq!((head.status, &head.body), (get.status, &Value::Null));
        for name in ["content-type", "content-length"] {
            assert_eq!(head.header(name), get.header(name), "{path}");
        }
    }
    let missing = Answer::of(shop.request(Method::HEAD, "/nothing")).await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.header("content-type"), "application/problem+json");
}

async fn security_headers_are_on_every_answer(store: Store) {
    let shop = store.start().await;
    for answer in one_of_each(&shop).await {
        for (name, value) in [
            ("cache-control", "no-store"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("x-permitted-cross-domain-policies", "none"),
        ] {
            assert_eq!(answer.header(name), value, "{}", answer.status);
        }
        assert!(answer.headers.contains_key("permissions-policy"));
        assert_eq!(answer.header("strict-transport-security"), "");
        assert_eq!(answer.header("server"), "");
    }
}

async fn preflight(shop: &Shop, origin: &str) -> Answer {
    let request = shop
        .request(Method::OPTIONS, "/v1/orders")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type,x-demo-customer",
        );
    Answer::of(request).await
}

async fn pages_of_other_origins_are_refused_unless_they_are_named(store: Store) {
    let shop = store.start().await;
    let answer = preflight(&shop, "https://shop.example.com").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    answer.problem(405, "");
    drop(shop);

    let origins = "https://shop.example.com,http://localhost:8080";
    let shop = store.start_with(&[("ORDERS_CORS_ORIGINS", origins)]).await;
    for named in ["https://shop.example.com", "http://localhost:8080"] {
        let answer = preflight(&shop, named).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), named);
        assert!(
            answer
                .header("access-control-allow-headers")
                .contains("x-demo-customer")
        );
        // The page can read a refusal, and its id.
        let request = shop
            .request(Method::GET, "/nothing")
            .header("origin", named);
        let refused = Answer::of(request).await;
        assert_eq!(refused.header("access-control-allow-origin"), named);
        assert!(
            refused
                .header("access-control-expose-headers")
                .contains("x-request-id")
        );
        assert!(refused.header("vary").contains("origin"));
        refused.problem(404, "");
    }
    let other = preflight(&shop, "https://evil.example.com").await;
    assert_eq!(other.header("access-control-allow-origin"), "");
}

async fn every_origin_is_allowed_when_that_is_said(store: Store) {
    let shop = store.start_with(&[("ORDERS_CORS_ORIGINS", "*")]).await;
    let answer = preflight(&shop, "https://any.example.com").await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

async fn logs_are_json_when_that_is_said(store: Store) {
    let mut shop = store
        .start_with(&[
            ("ORDERS_LOG", "json"),
            ("RUST_LOG", "debug"),
            ("ORDERS_ADR", "typo"),
        ])
        .await;
    let request = shop.request(Method::GET, "/v1/products/x?token=s3cr3t");
    Answer::of(request.header("x-request-id", "seen-in-logs"))
        .await
        .problem(404, "");
    shop.signal("TERM");
    assert!(shop.wait().await.success());
    let log = std::fs::read_to_string(store.log()).unwrap();
    assert!(!log.contains("s3cr3t"), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let typo = lines.iter().find(|line| line["level"] == "WARN").unwrap();
    assert_eq!(typo["message"], "ORDERS_ADR is set, and means nothing here");
    let answered: Vec<_> = lines
        .iter()
        .filter(|line| {
            line["message"] == "answered" && line["span"]["request_id"] == "seen-in-logs"
        })
        .collect();
    let [line] = answered[..] else {
        panic!("one line per request: {log}")
    };
    assert_eq!(
        (&line["status"], &line["level"]),
        (&json!(404), &json!("INFO"))
    );
    assert_eq!(
        (&line["span"]["method"], &line["span"]["path"]),
        (&json!("GET"), &json!("/v1/products/x"))
    );
    assert!(line["latency_us"].is_u64());
}

async fn logs_are_readable_by_default(store: Store) {
    let mut shop = store.start().await;
    let banner = shop.banner().await.join("\n");
    assert!(banner.contains("callers are NOT authenticated"), "{banner}");
    let request = shop
        .request(Method::GET, "/nothing")
        .header("x-request-id", "seen-in-logs");
    Answer::of(request).await.problem(404, "");
    shop.signal("TERM");
    assert!(shop.wait().await.success());
    let log = std::fs::read_to_string(store.log()).unwrap();
    assert!(log.contains("callers are not authenticated"), "{log}");
    assert!(!log.contains('\x1b'), "no colours in a file");
    let of_request: Vec<_> = log
        .lines()
        .filter(|line| line.contains("seen-in-logs"))
        .collect();
    assert_eq!(of_request.len(), 1, "{log}");
    for part in [
        "method=GET",
        "path=\"/nothing\"",
        "status=404",
        "latency_us=",
    ] {
        assert!(of_request[0].contains(part), "{log}");
    }
}
