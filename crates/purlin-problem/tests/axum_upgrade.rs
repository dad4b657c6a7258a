//! The rejections of axum's `Multipart` and `WebSocketUpgrade`.
#![expect(clippy::unwrap_used, reason = "a helper of a test is a test")]

mod common;

use axum::{
    Router,
    body::Body,
    extract::{
        DefaultBodyLimit, Multipart,
        multipart::MultipartRejection,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    routing::any,
};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use purlin_problem::Problem;
use serde_json::Value;
use tower::ServiceExt as _;

async fn read(form: Result<Multipart, MultipartRejection>) -> Result<(), Problem> {
    let mut form = form?;
    while let Some(field) = form.next_field().await? {
        field.bytes().await?;
    }
    Ok(())
}

async fn upgrade(socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>) -> Problem {
    match socket {
        Ok(_) => panic!("a oneshot has no connection to upgrade"),
        Err(rejection) => rejection.into(),
    }
}

async fn send(request: Request<Body>) -> (Response<()>, Value) {
    let app = Router::new()
        .route("/form", any(read))
        .route("/socket", any(upgrade))
        .layer(DefaultBodyLimit::max(1000));
    let (head, body) = app.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let document = if head.status.is_success() {
        Value::Null
    } else {
        common::unique_object(&body)
    };
    (Response::from_parts(head, ()), document)
}

fn form(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/form")
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}

#[tokio::test]
async fn forms_in_parts() {
    const TYPE: &str = "multipart/form-data; boundary=X";
    let part = |text: &str| {
        format!("--X\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n{text}\r\n--X--\r\n")
    };
    assert_eq!(send(form(TYPE, part("fine"))).await.0.status(), 200);
    for (request, status) in [
        (form("application/json", "{}"), 400),
        (form("multipart/form-data", "{}"), 400),
        (form(TYPE, part("secret")[..40].to_owned()), 400),
        (form(TYPE, "--Y secret"), 400),
        (form(TYPE, part(&"secret".repeat(500))), 413),
    ] {
        let (head, document) = send(request).await;
        assert_eq!(head.status(), status, "{document}");
        assert_eq!(document["status"], status);
        assert!(!document.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn handshakes() {
    let handshake = || {
        Request::get("/socket")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    let (head, document) = send(handshake().body(Body::empty()).unwrap()).await;
    assert_eq!(head.status(), 426);
    assert_eq!(head.headers()["upgrade"], "websocket");
    assert_eq!(document["title"], "Upgrade Required");

    let (head, _) = send(handshake().method("POST").body(Body::empty()).unwrap()).await;
    assert_eq!(head.status(), 405);
    assert_eq!(head.headers()["allow"], "GET");

    for missing in [
        "connection",
        "upgrade",
        "sec-websocket-version",
        "sec-websocket-key",
    ] {
        let mut request = handshake().body(Body::empty()).unwrap();
        request.headers_mut().remove(missing);
        let (head, document) = send(request).await;
        assert_eq!(head.status(), 400, "{missing}");
        let detail = document["detail"].as_str().unwrap().to_ascii_lowercase();
        assert!(detail.contains(missing), "{detail}");
    }
}
