//! axum: rejections, extractors and fallbacks, by the answers that they give.

mod common;

use std::{collections::HashMap, convert::Infallible, fmt};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        DefaultBodyLimit, Extension, FromRequest, FromRequestParts, MatchedPath, NestedPath,
        RawForm, RawPathParams, Request,
    },
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use purlin_problem::{
    Problem, ProblemLayer, ProblemReport,
    extract::{Form, Json, Path, Query},
    fallback,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// What every refusal has in common: media type, one object with unique names, the status twice.
async fn refusal(response: Response) -> (StatusCode, HeaderMap, Value) {
    let (head, body) = response.into_parts();
    assert_eq!(
        head.headers[header::CONTENT_TYPE],
        "application/problem+json"
    );
    let bytes = body.collect().await.unwrap().to_bytes();
    let document = common::unique_object(&bytes);
    assert_eq!(document["status"], head.status.as_u16());
    (head.status, head.headers, document)
}

async fn send(app: Router, request: Request) -> (StatusCode, HeaderMap, Value) {
    refusal(app.oneshot(request).await.unwrap()).await
}

fn post_json(body: impl Into<Body>) -> Request {
    Request::post("/")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}

fn get_uri(uri: &str) -> Request {
    Request::get(uri).body(Body::empty()).unwrap()
}

/// The refusal of a JSON body that is to be a `T`.
async fn refuse<T>(body: impl Into<Body>) -> (StatusCode, HeaderMap, Value)
where
    T: serde::de::DeserializeOwned + Send + 'static,
{
    let app = Router::new().route("/", post(|_: Json<T>| async {}));
    send(app, post_json(body)).await
}

/// The one violation of a body that is well-formed.
async fn violation<T>(body: impl fmt::Display) -> Value
where
    T: serde::de::DeserializeOwned + Send + 'static,
{
    let (status, _, document) = refuse::<T>(body.to_string()).await;
    assert_eq!(status, 422, "{document}");
    assert_eq!(document["type"], "/problems/validation");
    let errors = document["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1);
    errors[0].clone()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[serde(rename = "orderItems")]
    _items: Vec<Item>,
    #[serde(default, rename = "a/b~c")]
    _odd: Option<u8>,
    #[serde(default, rename = "größe €")]
    _unicode: Option<bool>,
    #[serde(default, rename = "kind")]
    _kind: Option<Kind>,
    #[serde(default, rename = "payment")]
    _payment: Option<Payment>,
    #[serde(default, rename = "stock")]
    _stock: HashMap<String, Item>,
    #[serde(default, rename = "counts")]
    _counts: HashMap<u32, u32>,
    #[serde(default, rename = "pair")]
    _pair: Option<(u8, String)>,
    #[serde(default, rename = "secret")]
    _secret: Option<Picky>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    #[serde(rename = "sku")]
    _sku: String,
    #[serde(rename = "quantity")]
    _quantity: u8,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Gift,
    Sale,
}

/// Externally tagged.
#[derive(Debug, Deserialize)]
enum Payment {
    #[serde(rename = "card")]
    Card {
        #[serde(rename = "number")]
        _number: u32,
    },
    #[serde(rename = "points")]
    Points(#[expect(dead_code, reason = "only read")] u32),
}

/// Refuses everything, and says what it was.
#[derive(Debug)]
struct Picky;

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(serde::de::Error::custom(format!(
            "invalid value: {text}, expected {text}"
        )))
    }
}

#[tokio::test]
async fn pointers_and_codes() {
    let item = json!({"sku": "a", "quantity": 1});
    let order = |name: &str, value: Value| {
        let mut order = json!({"orderItems": [item.clone()]});
        order[name] = value;
        order
    };
    let cases = [
        (json!({}), Some("#/orderItems"), "missing", "is required"),
        (
            order("orderItems", json!({})),
            Some("#/orderItems"),
            "type",
            "must be an array",
        ),
        (
            order("orderItems", json!([item, {"sku": 5, "quantity": 1}])),
            Some("#/orderItems/1/sku"),
            "type",
            "must be a string",
        ),
        (
            order("orderItems", json!([item, {"sku": "a"}])),
            Some("#/orderItems/1/quantity"),
            "missing",
            "is required",
        ),
        (
            order("orderItems", json!([{"sku": "a", "quantity": 256}])),
            Some("#/orderItems/0/quantity"),
            "range",
            "must be an integer from 0 to 255",
        ),
        (
            order("orderItems", json!([{"sku": "a", "quantity": -1}])),
            Some("#/orderItems/0/quantity"),
            "range",
            "must be an integer from 0 to 255",
        ),
        (
            order("orderItems", json!([{"sku": "a", "quantity": 1.5}])),
            Some("#/orderItems/0/quantity"),
            "type",
            "must be an integer from 0 to 255",
        ),
        (
            order("orderItems", json!([{"sku": "a", "quantity": null}])),
            Some("#/orderItems/0/quantity"),
            "type",
            "must be an integer from 0 to 255",
        ),
        (
            order("orderItems", json!(["a"])),
            Some("#/orderItems/0"),
            "type",
            "must be an object",
        ),
        (
            order("a/b~c", json!("x")),
            Some("#/a~1b~0c"),
            "type",
            "must be an integer from 0 to 255",
        ),
        (
            order("größe €", json!("x")),
            Some("#/gr%C3%B6%C3%9Fe%20%E2%82%AC"),
            "type",
            "must be true or false",
        ),
        (
            order("Größe/~", json!(1)),
            Some("#/Gr%C3%B6%C3%9Fe~1~0"),
            "unknown",
            "is not known",
        ),
        (
            order("kind", json!("SECRET")),
            Some("#/kind"),
            "variant",
            "is not one of the allowed values",
        ),
        // serde_json calls this malformed.
        (
            order("kind", json!(5)),
            Some("#/kind"),
            "invalid",
            "does not have the expected form",
        ),
        (
            order("payment", json!({"card": {"number": "x"}})),
            Some("#/payment/card/number"),
            "type",
            "must be an integer from 0 to 4294967295",
        ),
        (
            order("payment", json!({"card": {}})),
            Some("#/payment/card/number"),
            "missing",
            "is required",
        ),
        (
            order("payment", json!({"points": true})),
            Some("#/payment/points"),
            "type",
            "must be an integer from 0 to 4294967295",
        ),
        (
            order(
                "stock",
                json!({"x/y": {"sku": "a", "quantity": 1, "more": 1}}),
            ),
            Some("#/stock/x~1y/more"),
            "unknown",
            "is not known",
        ),
        (
            order("counts", json!({"one": 1})),
            Some("#/counts"),
            "invalid",
            "does not have the expected form",
        ),
        (
            order("pair", json!([1])),
            Some("#/pair"),
            "length",
            "does not have the right number of items",
        ),
        (
            order("secret", json!("hunter2")),
            Some("#/secret"),
            "invalid",
            "is not valid",
        ),
        (json!(["a"]), None, "invalid", ""),
        (json!("SECRET"), Some("#"), "type", "must be an object"),
        (json!(null), Some("#"), "type", "must be an object"),
    ];
    for (body, pointer, code, detail) in cases {
        if body == json!(["a"]) {
            // A struct may be written as an array; then serde knows items, no members.
            assert_eq!(violation::<Order>(&body).await["pointer"], "#/0");
            continue;
        }
        let error = violation::<Order>(&body).await;
        assert_eq!(error["pointer"].as_str(), pointer, "{body}: {error}");
        assert_eq!(error["code"], code, "{body}: {error}");
        assert_eq!(error["detail"], detail, "{body}: {error}");
    }
}
