//! axum: every rejection, the extractors and the fallbacks, by the answers that they give.

mod common;

use std::convert::Infallible;

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, MatchedPath, NestedPath, RawForm, RawPathParams, Request},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use purlin_problem::{
    Problem, ProblemReport,
    extract::{Form, Json, Path, Query},
    fallback,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

/// What every refusal has in common: media type, one object with unique names, the status twice.
async fn refusal(response: Response) -> (StatusCode, HeaderMap, Value) {
    let (head, body) = response.into_parts();
    assert_eq!(
        head.headers[header::CONTENT_TYPE],
        "application/problem+json"
    );
    assert_eq!(head.headers[header::CACHE_CONTROL], "no-store");
    let bytes = body.collect().await.expect("a body").to_bytes();
    let document = common::unique_object(&bytes);
    assert_eq!(document["status"], head.status.as_u16());
    (head.status, head.headers, document)
}

async fn send(app: Router, request: Request) -> (StatusCode, HeaderMap, Value) {
    let Ok(response) = app.oneshot(request).await;
    refusal(response).await
}

fn get_uri(uri: &str) -> Request {
    Request::get(uri).body(Body::empty()).expect("a request")
}

fn post_as(content_type: &str, body: impl Into<Body>) -> Request {
    Request::post("/")
        .header(header::CONTENT_TYPE, content_type)
        .body(body.into())
        .expect("a request")
}

/// A body of `count` parts of 64 KiB, of unknown length.
fn stream(count: usize) -> Body {
    Body::from_stream(futures_util::stream::iter(
        (0..count).map(|_| Ok::<_, Infallible>(Bytes::from(vec![b' '; 64 * 1024]))),
    ))
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(rename = "page-size")]
    size: u8,
    #[serde(default)]
    deep: bool,
    #[serde(default)]
    ratio: Option<f32>,
}

#[tokio::test]
async fn extractors_take_what_axums_take() {
    let app = Router::new()
        .route(
            "/json",
            post(|Json(page): Json<Page>| async move { Json(page) }),
        )
        .route(
            "/form",
            post(|Form(page): Form<Page>| async move { Form(page) })
                .get(|page: Form<Page>| async move { page.size.to_string() }),
        )
        .route(
            "/query",
            get(|page: Query<Page>| async move { page.size.to_string() }),
        )
        .route(
            "/path/{a}/{b}",
            get(|Path((a, b)): Path<(u8, String)>| async move { format!("{a} {b}") }),
        )
        .route(
            "/optional",
            post(|page: Option<Json<Page>>| async move { page.is_some().to_string() })
                .get(|path: Option<Path<u8>>| async move { path.is_some().to_string() }),
        );
    let text = async |request: Request| {
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let body = |uri: &str, content_type: &str, body: &'static str| {
        let mut request = post_as(content_type, body);
        *request.uri_mut() = uri.parse().unwrap();
        request
    };
    for content_type in [
        JSON,
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.orders+json",
    ] {
        assert_eq!(
            text(body("/json", content_type, r#" {"page-size": 7} "#)).await,
            r#"{"page-size":7,"deep":false,"ratio":null}"#
        );
    }
    let answer = text(body("/form", FORM, "page-size=7&deep=true")).await;
    assert_eq!(answer, "page-size=7&deep=true");
    assert_eq!(text(get_uri("/form?page-size=7")).await, "7");
    assert_eq!(text(get_uri("/query?page-size=7")).await, "7");
    assert_eq!(text(get_uri("/path/7/x%20y")).await, "7 x y");
    assert_eq!(
        text(body("/optional", JSON, r#"{"page-size": 7}"#)).await,
        "true"
    );
    let without = Request::post("/optional").body(Body::empty()).unwrap();
    assert_eq!(text(without).await, "false");
    assert_eq!(text(get_uri("/optional")).await, "false");

    assert_eq!(Json::from(7).0, 7);
    assert_eq!(Form::from(7).0, 7);
    assert_eq!(*Json::<u8>::from_bytes(b"7").unwrap(), 7);
}

#[tokio::test]
async fn a_wrong_content_type_is_told_the_right_one() {
    let app = Router::new()
        .route("/", post(|_: Json<Value>| async {}))
        .route("/optional", post(|_: Option<Json<Value>>| async {}))
        .route(
            "/axum",
            post(|body: Result<axum::Json<Value>, _>| async {
                body.map(|_| ()).map_err(Problem::from)
            }),
        )
        .route("/form", post(|_: Form<Page>| async {}))
        .route(
            "/raw",
            post(|body: Result<RawForm, _>| async { body.map(|_| ()).map_err(Problem::from) }),
        );
    for (uri, sent, accepted) in [
        ("/", "text/plain", JSON),
        ("/", "text/json", JSON),
        ("/", "application/jsonp", JSON),
        ("/", "application/+json", JSON),
        ("/", "json", JSON),
        ("/", FORM, JSON),
        ("/optional", "text/plain", JSON),
        ("/axum", "text/plain", JSON),
        ("/form", JSON, FORM),
        ("/raw", JSON, FORM),
    ] {
        let mut request = post_as(sent, "{}");
        *request.uri_mut() = uri.parse().unwrap();
        let (status, headers, document) = send(app.clone(), request).await;
        assert_eq!(status, 415, "{uri} {sent}");
        assert_eq!(headers[header::ACCEPT], accepted);
        assert_eq!(
            document["detail"],
            format!("the content type must be {accepted}")
        );
    }
    let without = Request::post("/").body(Body::from("{}")).unwrap();
    assert_eq!(send(app, without).await.0, 415);
}

#[tokio::test]
async fn a_body_over_the_limit() {
    let app = Router::new()
        .route("/", post(|_: Json<Value>| async {}))
        .route("/form", post(|_: Form<Page>| async {}))
        .route(
            "/bytes",
            post(|body: Result<Bytes, _>| async { body.map(|_| ()).map_err(Problem::from) }),
        )
        .route(
            "/text",
            post(|body: Result<String, _>| async { body.map(|_| ()).map_err(Problem::from) }),
        )
        .layer(DefaultBodyLimit::max(100_000));
    for uri in ["/", "/form", "/bytes", "/text"] {
        for body in [Body::from(vec![b' '; 100_001]), stream(2)] {
            let content_type = if uri == "/form" { FORM } else { JSON };
            let mut request = post_as(content_type, body);
            *request.uri_mut() = uri.parse().unwrap();
            let (status, _, document) = send(app.clone(), request).await;
            assert_eq!(status, 413, "{uri}");
            assert_eq!(document["title"], "Content Too Large");
        }
    }
}

/// Both ways of sending too much to a real server: announced, and in chunks without an end.
#[tokio::test]
async fn a_body_over_the_limit_on_the_wire() {
    let app = Router::new()
        .route("/", post(|_: Json<Value>| async {}))
        .layer(DefaultBodyLimit::max(1_000));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    for (framing, body) in [
        ("Content-Length: 2000", " ".repeat(2000)),
        (
            "Transfer-Encoding: chunked",
            format!("7D0\r\n{}\r\n", " ".repeat(2000)),
        ),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\n{framing}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The server closes a connection whose body it did not read to the end.
        while !answer.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "no answer");
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("content-type: application/problem+json"),
            "{head}"
        );
        assert_eq!(common::unique_object(body.as_bytes())["status"], 413);
    }
    server.abort();
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let app = Router::new().route("/", post(|_: Json<Value>| async {}));
    let body = Body::from_stream(futures_util::stream::iter([
        Ok(Bytes::from("{")),
        Err(std::io::Error::other("connection reset")),
    ]));
    let response = app.oneshot(post_as(JSON, body)).await.unwrap();
    let report = response.extensions().get::<ProblemReport>().unwrap();
    assert!(report.source().is_some(), "the reason is for the log");
    let (status, _, document) = refusal(response).await;
    assert_eq!(status, 400);
    assert_eq!(document["detail"], "the body could not be read to its end");
}

#[tokio::test]
async fn text_that_is_no_utf8() {
    let app = Router::new().route(
        "/",
        post(|body: Result<String, _>| async { body.map(|_| ()).map_err(Problem::from) }),
    );
    let (status, _, document) = send(app, post_as("text/plain", &b"\xff"[..])).await;
    assert_eq!(status, 400);
    assert_eq!(document["detail"], "the body is not valid UTF-8");
}

#[tokio::test]
async fn queries_and_forms_name_the_parameter() {
    let app = Router::new()
        .route("/query", get(|_: Query<Page>| async {}))
        .route(
            "/form",
            post(|_: Form<Page>| async {}).get(|_: Form<Page>| async {}),
        )
        .route(
            "/axum",
            get(|query: Result<axum::extract::Query<Page>, _>| async {
                query.map(|_| ()).map_err(Problem::from)
            }),
        );
    let long = "n".repeat(10_000);
    let cases = [
        ("", Some("page-size"), "missing", "is required"),
        (
            "page-size=x7x7x",
            Some("page-size"),
            "type",
            "must be an integer in the allowed range",
        ),
        (
            "page-size=",
            Some("page-size"),
            "type",
            "must be an integer in the allowed range",
        ),
        (
            "page-size=7000",
            Some("page-size"),
            "range",
            "must be an integer in the allowed range",
        ),
        (
            "page-size=1&deep=x7x7x",
            Some("deep"),
            "type",
            "must be true or false",
        ),
        (
            "page-size=1&ratio=x7x7x",
            Some("ratio"),
            "type",
            "must be a number",
        ),
        (
            "page-size=1&mo%20re%2F=x7x7x",
            Some("mo re/"),
            "unknown",
            "is not known",
        ),
        (
            "page-size=1&page-size=2",
            Some("page-size"),
            "duplicate",
            "is given more than once",
        ),
        (long.as_str(), None, "unknown", "a member is not known"),
    ];
    for (query, parameter, code, detail) in cases {
        let form = || {
            let mut request = post_as(FORM, query.to_owned());
            *request.uri_mut() = "/form".parse().unwrap();
            request
        };
        for (request, expected, slug) in [
            (
                get_uri(&format!("/query?{query}")),
                400,
                "/problems/invalid-parameters",
            ),
            (
                get_uri(&format!("/axum?{query}")),
                400,
                "/problems/invalid-parameters",
            ),
            (
                get_uri(&format!("/form?{query}")),
                400,
                "/problems/invalid-parameters",
            ),
            (form(), 422, "/problems/validation"),
        ] {
            let response = app.clone().oneshot(request).await.unwrap();
            assert!(response.extensions().get::<ProblemReport>().is_none());
            let (status, _, document) = refusal(response).await;
            assert_eq!(status, expected, "{query}");
            assert_eq!(document["type"], slug);
            let error = &document["errors"][0];
            assert_eq!(error["parameter"].as_str(), parameter, "{document}");
            assert_eq!(error["code"], code, "{document}");
            assert_eq!(error["detail"], detail, "{document}");
            assert!(!document.to_string().contains("x7x7x"));
        }
    }
}

/// An identifier that says in its error what it was given.
#[derive(Debug)]
struct Picky;

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(serde::de::Error::custom(text))
    }
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(rename = "id")]
    _id: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Gift,
}

#[tokio::test]
async fn a_path_that_names_nothing_is_a_plain_404() {
    let app = Router::new()
        .route("/one/{id}", get(|_: Path<u32>| async {}))
        .route("/two/{a}/{b}", get(|_: Path<(u8, u8)>| async {}))
        .route("/named/{id}", get(|_: Path<Named>| async {}))
        .route("/picky/{id}", get(|_: Path<Picky>| async {}))
        .route("/kind/{id}", get(|_: Path<Kind>| async {}))
        .route("/optional/{id}", get(|_: Option<Path<u32>>| async {}))
        .route(
            "/raw/{id}",
            get(|path: Result<RawPathParams, _>| async { path.map(|_| ()).map_err(Problem::from) }),
        );
    for uri in [
        "/one/hunter2",
        "/one/4294967296",
        "/one/%FF",
        "/two/1/hunter2",
        "/named/hunter2",
        "/picky/hunter2",
        "/kind/hunter2",
        "/optional/hunter2",
        "/raw/%FF",
    ] {
        let response = app.clone().oneshot(get_uri(uri)).await.unwrap();
        assert!(
            response.extensions().get::<ProblemReport>().is_none(),
            "the error holds the value: {uri}"
        );
        let (status, _, document) = refusal(response).await;
        assert_eq!(status, 404, "{uri}");
        assert_eq!(
            document,
            json!({"type": "about:blank", "title": "Not Found", "status": 404})
        );
    }
}

/// Whatever the client sends, these fail: the reason is for the log alone.
#[tokio::test]
async fn a_server_put_together_wrongly_is_a_500() {
    #[derive(Debug, Deserialize)]
    struct Other {
        #[serde(rename = "other")]
        _other: u32,
    }
    macro_rules! fails {
        ($ty:ty) => {
            get(|part: Result<$ty, _>| async { part.map(|_| ()).map_err(Problem::from) })
        };
    }
    let app = Router::new()
        .route("/count/{a}/{b}", get(|_: Path<u32>| async {}))
        .route("/named/{a}", get(|_: Path<Other>| async {}))
        .route("/nested/{a}", get(|_: Path<Vec<Vec<u32>>>| async {}))
        .route("/extension", fails!(Extension<u32>))
        .route("/nested-path", fails!(NestedPath))
        .fallback_service(fails!(MatchedPath));
    for uri in [
        "/count/1/2",
        "/named/1",
        "/nested/1",
        "/extension",
        "/nested-path",
        "/matched",
    ] {
        let response = app.clone().oneshot(get_uri(uri)).await.unwrap();
        let report = response.extensions().get::<ProblemReport>().cloned();
        let (status, _, document) = refusal(response).await;
        assert_eq!(status, 500, "{uri}");
        assert!(report.unwrap().source().is_some(), "{uri}");
        assert_eq!(document.get("detail"), None);
    }
    // Extracting the parameters twice by way of `Request` is the usual cause of this one.
    let (mut parts, ()) = Request::get("/").body(()).unwrap().into_parts();
    let missing =
        <Path<u32> as axum::extract::FromRequestParts<()>>::from_request_parts(&mut parts, &());
    assert_eq!(missing.await.unwrap_err().status(), 500);
}

#[derive(axum::extract::FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
struct ViaJson<T>(T);

#[derive(axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
struct ViaQuery<T>(T);

#[tokio::test]
async fn the_derives_of_axum_take_problems() {
    let app = Router::new()
        .route(
            "/",
            post(|ViaJson(page): ViaJson<Page>| async move { page.size.to_string() }),
        )
        .route(
            "/query",
            get(|ViaQuery(page): ViaQuery<Page>| async move { page.size.to_string() }),
        );
    let (status, _, document) = send(app.clone(), post_as(JSON, "{}")).await;
    assert_eq!(status, 422);
    assert_eq!(document["errors"][0]["pointer"], "#/page-size");
    assert_eq!(send(app, get_uri("/query")).await.0, 400);
}

#[tokio::test]
async fn a_response_that_cannot_be_written() {
    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("hunter2"))
        }
    }
    for response in [
        Json(Unwritable).into_response(),
        Form(Unwritable).into_response(),
    ] {
        assert!(response.extensions().get::<ProblemReport>().is_some());
        let (status, _, document) = refusal(response).await;
        assert_eq!(status, 500);
        assert!(!document.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn fallbacks() {
    let app = Router::new()
        .route("/", get(|| async {}).delete(|| async {}))
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed);
    let (status, headers, document) = send(app.clone(), get_uri("/nowhere")).await;
    assert_eq!(
        (status, headers.get(header::ALLOW)),
        (StatusCode::NOT_FOUND, None)
    );
    assert_eq!(document["title"], "Not Found");

    for method in [Method::POST, Method::from_bytes(b"BREW").unwrap()] {
        let request = Request::builder()
            .method(method)
            .uri("/")
            .body(Body::empty())
            .unwrap();
        let (status, headers, document) = send(app.clone(), request).await;
        assert_eq!(status, 405);
        assert_eq!(headers[header::ALLOW], "GET,HEAD,DELETE");
        assert_eq!(document["title"], "Method Not Allowed");
    }
    let head = Request::head("/nowhere").body(Body::empty()).unwrap();
    let response = app.oneshot(head).await.unwrap();
    assert_eq!(response.status(), 404);
}
