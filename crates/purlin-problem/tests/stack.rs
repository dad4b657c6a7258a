//! The layer in the stacks it is used in: behind a real server, and among the layers of tower-http.

mod common;

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use bytes::Bytes;
use common::{Logs, json, unique_object};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use purlin_problem::{ExtName, Problem, ProblemBody, ProblemLayer, ProblemType, UriRef};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::CorsLayer,
    request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    timeout::TimeoutLayer,
    trace::TraceLayer,
};

static OUT_OF_STOCK: ProblemType =
    ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock");

fn out_of_stock() -> Problem {
    Problem::new(&OUT_OF_STOCK).with_ext(ExtName::new("left"), &2)
}

/// What a server answers on a connection of its own: the head, and all that follows it.
async fn raw(app: Router, method: &str, path: &str) -> (u16, HeaderMap, Bytes) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nx-request-id: req-1\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read");
    server.abort();
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).expect("ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next().expect("a status line")[9..12]
        .parse()
        .expect("a status");
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or((line.trim_end_matches(':'), ""));
        let name: http::HeaderName = name.parse().expect("a name");
        headers.append(name, value.parse().expect("a value"));
    }
    (status, headers, answer.split_off(end + 4).into())
}

#[tokio::test]
async fn head_says_of_a_problem_what_get_says() {
    let app = || {
        let text = || async { (StatusCode::CONFLICT, "the cart is empty") };
        Router::new()
            .route("/typed", get(|| async { out_of_stock() }))
            .route("/text", get(text))
            .route("/status", get(|| async { StatusCode::FORBIDDEN }))
            .route("/post", post(|| async {}))
    };
    let inside = app().layer(ProblemLayer::new());
    let outside = Router::new().fallback_service(
        ServiceBuilder::new()
            .map_response(|response: Response<ProblemBody<Body>>| response.map(Body::new))
            .layer(ProblemLayer::new())
            .service(app()),
    );
    for (place, app) in [("inside", inside), ("outside", outside)] {
        for path in ["/typed", "/text", "/status", "/post", "/nowhere"] {
            let (status, get, body) = raw(app.clone(), "GET", path).await;
            let (head_status, mut head, nothing) = raw(app.clone(), "HEAD", path).await;
            assert_eq!(head_status, status, "{place} {path}");
            assert!(nothing.is_empty(), "{place} {path}: {nothing:?}");
            assert_eq!(unique_object(&body)["request_id"], "req-1");
            assert_eq!(get["content-length"], body.len().to_string().as_str());
            // It may be left out where the inner service has dropped the body, but not be wrong.
            if let Some(length) = head.remove("content-length") {
                assert_eq!(length, get["content-length"], "{place} {path}");
            }
            for (name, value) in &get {
                if name != "content-length" && name != "date" {
                    assert_eq!(head.get(name), Some(value), "{place} {path} {name}");
                }
            }
        }
    }
}

#[derive(Clone)]
struct FixedId;
impl MakeRequestId for FixedId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        Some(RequestId::new("made-7".parse().expect("a value")))
    }
}

#[tokio::test]
async fn the_layers_of_tower_http_may_stand_on_either_side() {
    let (logs, _guard) = Logs::start();
    // Without axum, which would box the bodies: those of the layer must fit by themselves.
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(SetRequestIdLayer::x_request_id(FixedId))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(CorsLayer::permissive())
        .layer(CompressionLayer::new())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(600),
        ))
        .layer(ProblemLayer::new())
        .layer(CorsLayer::permissive())
        .layer(CatchPanicLayer::new())
        .service(service_fn(
            async |request: Request<Full<Bytes>>| match request.uri().path() {
                "/panic" => panic!("hunter2"),
                "/typed" => Ok::<_, Infallible>(out_of_stock().into_http().map(Full::new)),
                _ => Ok(Response::new(Full::from("fine"))),
            },
        ));
    for (path, status) in [("/panic", 500), ("/typed", 409)] {
        let request = Request::get(path)
            .header("origin", "https://shop.example")
            .body(Full::default())
            .expect("a request");
        let response = service.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["x-request-id"], "made-7");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let body = response.into_body().collect().await.expect("a body");
        let body = unique_object(&body.to_bytes());
        assert_eq!(body["request_id"], "made-7");
        assert_eq!(body["status"], status);
        assert!(!body.to_string().contains("hunter2"));
    }
    let ours = |line: &&String| line.contains(" purlin_problem: ");
    assert_eq!(logs.lines().iter().filter(ours).count(), 2);

    let request = Request::get("/typed")
        .header("accept-encoding", "gzip")
        .body(Full::default())
        .expect("a request");
    let response = service.oneshot(request).await.expect("infallible");
    assert_eq!(response.headers()["content-encoding"], "gzip");
}

#[tokio::test]
async fn nested_layers_agree() {
    let base = |text| ProblemLayer::new().with_base(UriRef::from_static(text));
    let app = Router::new()
        .route("/typed", get(|| async { out_of_stock() }))
        .layer(base("https://inner.example/p").with_xml())
        .layer(base("https://outer.example/p").with_xml());
    let (_, headers, body) = raw(app, "GET", "/typed").await;
    assert_eq!(json(&body)["type"], "https://inner.example/p/out-of-stock");
    assert_eq!(headers.get_all("vary").iter().count(), 1, "{headers:?}");
}

#[tokio::test]
async fn an_upgrade_passes() {
    let app = Router::new()
        .route(
            "/ws",
            get(|| async {
                let head = [("connection", "upgrade"), ("upgrade", "echo")];
                (StatusCode::SWITCHING_PROTOCOLS, head)
            }),
        )
        .layer(ProblemLayer::new());
    let (status, headers, body) = raw(app, "GET", "/ws").await;
    assert_eq!((status, body.len()), (101, 0));
    assert_eq!(headers["upgrade"], "echo");
}
