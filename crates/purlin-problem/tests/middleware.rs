//! The layers, driven by `oneshot` without a web framework.

mod common;

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use common::{Logs, json, unique_object};
use futures_util::FutureExt as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use purlin_problem::{
    Challenge, DeprecationLayer, ExtName, GrpcCode, Problem, ProblemBody, ProblemLayer,
    ProblemReport, ProblemType, UnauthorizedType, UriRef, blank, catch_error::CatchErrorLayer,
};
use purlin_testkit::layer::{assert_ready_kept, assert_state_shared};
use serde_json::json;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

static OUT_OF_STOCK: ProblemType =
    ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock");
static RACE: ProblemType = ProblemType::slug(StatusCode::CONFLICT, "race", "Lost a race")
    .with_grpc_code(GrpcCode::AlreadyExists);

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn request() -> http::request::Builder {
    Request::post("/orders/7?token=secret").header("x-request-id", "req-1")
}

fn full(text: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(text.into()).boxed()
}

fn problem(problem: Problem) -> Answer {
    problem.into_http().map(full)
}

/// Sends one request through the layer to a service that answers with what `answer` makes.
async fn through(
    layer: ProblemLayer,
    request: http::request::Builder,
    answer: impl Fn() -> Answer + Clone + Send + 'static,
) -> Response<Bytes> {
    let service = layer.layer(service_fn(move |_: Request<()>| {
        let answer = answer();
        async move { Ok::<_, Infallible>(answer) }
    }));
    let response = service
        .oneshot(request.body(()).expect("a request"))
        .await
        .expect("infallible");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("infallible").to_bytes();
    Response::from_parts(head, body)
}

async fn answered(answer: impl Fn() -> Answer + Clone + Send + 'static) -> Response<Bytes> {
    through(ProblemLayer::new(), request(), answer).await
}

fn plain(status: u16, content_type: &str, body: &'static str) -> Answer {
    let mut response = Response::builder().status(status);
    if !content_type.is_empty() {
        response = response.header("content-type", content_type);
    }
    response.body(full(body)).expect("a response")
}

#[tokio::test]
async fn success_and_redirects_pass_untouched() {
    for status in [200, 204, 304, 399] {
        let response = answered(move || plain(status, "text/plain", "fine")).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.body(), "fine");
    }
}

#[tokio::test]
async fn empty_and_plain_errors_become_problems_and_keep_their_headers() {
    for status in [401, 403, 404, 405, 413, 415, 422, 429, 500, 503, 599] {
        let response = answered(move || {
            Response::builder()
                .status(status)
                .header("www-authenticate", "Bearer realm=\"a\"")
                .header("www-authenticate", "Basic realm=\"a\"")
                .header("allow", "GET, PUT")
                .header("retry-after", "7")
                .header("set-cookie", "a=b")
                .header("content-type", "text/plain; charset=utf-8")
                .header("content-length", "0")
                .header("etag", "\"old\"")
                .body(full(""))
                .expect("a response")
        })
        .await;
        let body = unique_object(response.body());
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["request_id"], "req-1");
        assert!(body.get("detail").is_none());
        let headers = response.headers();
        assert_eq!(headers.get_all("www-authenticate").iter().count(), 2);
        assert_eq!(headers["allow"], "GET, PUT");
        assert_eq!(headers["retry-after"], "7");
        assert_eq!(headers["set-cookie"], "a=b");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["cache-control"], "no-store");
        assert!(!headers.contains_key("content-length") && !headers.contains_key("etag"));
    }
}

#[tokio::test]
async fn the_text_of_a_client_error_is_kept_and_that_of_a_server_error_is_not() {
    let response = answered(|| plain(409, "text/plain", "the cart is \"empty\"")).await;
    assert_eq!(json(response.body())["detail"], "the cart is \"empty\"");

    for content_type in ["text/plain", "text/plain; charset=utf-8", "TEXT/PLAIN", ""] {
        let response = answered(move || plain(500, content_type, "password=hunter2")).await;
        assert_eq!(
            json(response.body()),
            json!({
                "type": "about:blank", "title": "Internal Server Error", "status": 500,
                "request_id": "req-1",
            }),
        );
    }
}

#[tokio::test]
async fn a_server_errors_text_of_unknown_length_is_dropped_unread() {
    let answered = answered(|| {
        let never = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>();
        Response::builder()
            .status(500)
            .header("content-type", "text/plain")
            .body(StreamBody::new(never).boxed())
            .expect("a response")
    });
    // The body never says more: who waits for it does not come back.
    let response = answered.now_or_never().expect("an answer at once");
    assert_eq!(json(response.body())["status"], 500);
}

#[tokio::test]
async fn somebodys_own_answer_is_left_alone() {
    let own = [
        (404, "text/html", "<h1>gone</h1>"),
        (500, "application/json", "{\"error\":1}"),
        (422, "application/vnd.api+json", "{\"errors\":[]}"),
        (400, "application/problem+json", "this is no document"),
        (400, "application/problem+json", "[1]"),
    ];
    for (status, content_type, text) in own {
        let response = answered(move || plain(status, content_type, text)).await;
        assert_eq!(response.headers()["content-type"], content_type);
        assert_eq!(response.body(), text);
    }
    let encoded = answered(|| {
        let mut response = plain(500, "text/plain", "zipped");
        response
            .headers_mut()
            .insert("content-encoding", "gzip".parse().expect("a value"));
        response
    })
    .await;
    assert_eq!(encoded.body(), "zipped");
    assert_eq!(encoded.headers()["content-encoding"], "gzip");

    let long: &'static str = Box::leak("x".repeat(1025).into_boxed_str());
    assert_eq!(
        answered(move || plain(400, "text/plain", long))
            .await
            .body(),
        long
    );
    let fits = answered(move || plain(400, "text/plain", &long[..1024])).await;
    assert_eq!(json(fits.body())["detail"], long[..1024]);
}

#[tokio::test]
async fn members_of_a_foreign_problem_stay_as_they_are_to_the_byte() {
    let foreign = "{ \"type\":\"https://example.com/p\", \"big\": 12345678901234567890123.10 }\n";
    let response =
        answered(move || plain(400, "application/problem+json; charset=utf-8", foreign)).await;
    assert_eq!(
        response.body(),
        "{ \"type\":\"https://example.com/p\", \"big\": 12345678901234567890123.10,\
         \"request_id\":\"req-1\"}",
    );
    let empty = answered(|| plain(400, "application/problem+json", "{}")).await;
    assert_eq!(empty.body(), "{\"request_id\":\"req-1\"}");
}

#[tokio::test]
async fn ids_of_the_request_reach_the_problem_and_are_not_overwritten() {
    const REQUEST_ID: ExtName = ExtName::new("request_id");
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let traced = || request().header("traceparent", TRACE);
    let layer = ProblemLayer::new;

    let response = through(layer(), traced(), || problem(Problem::new(&OUT_OF_STOCK))).await;
    assert_eq!(
        response.body(),
        "{\"type\":\"/problems/out-of-stock\",\"title\":\"Out of stock\",\"status\":409,\
         \"request_id\":\"req-1\",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}",
    );
    let own = || problem(Problem::new(&OUT_OF_STOCK).with_ext(REQUEST_ID, "mine"));
    let response = through(layer(), traced(), own).await;
    assert_eq!(unique_object(response.body())["request_id"], "mine");

    for bad in [
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c",
        "nonsense",
    ] {
        let request = Request::get("/").header("traceparent", bad);
        let response = through(layer(), request, || plain(404, "", "")).await;
        assert!(json(response.body()).get("trace_id").is_none(), "{bad}");
    }
}

#[tokio::test]
async fn a_hostile_request_id_is_not_repeated() {
    let long = "x".repeat(129);
    for bad in [long.as_bytes(), b"\xff\xfe", b""] {
        let request = Request::get("/").header("x-request-id", bad);
        let response = through(ProblemLayer::new(), request, || plain(404, "", "")).await;
        assert!(json(response.body()).get("request_id").is_none());
    }
    let quoted = Request::get("/").header("x-request-id", "a\"b");
    let response = through(ProblemLayer::new(), quoted, || plain(404, "", "")).await;
    assert_eq!(unique_object(response.body())["request_id"], "a\"b");
}

#[tokio::test]
async fn the_base_makes_types_of_slugs_absolute_and_no_others() {
    let layer =
        || ProblemLayer::new().with_base(UriRef::from_static("https://errors.example.com/v1"));
    let response = through(layer(), request(), || {
        problem(Problem::new(&OUT_OF_STOCK).with_detail("2 left"))
    })
    .await;
    let body = unique_object(response.body());
    assert_eq!(body["type"], "https://errors.example.com/v1/out-of-stock");
    assert_eq!(body["detail"], "2 left");
    assert_eq!(body["request_id"], "req-1");
    let response = through(layer(), request(), || problem(Problem::new(&blank::GONE))).await;
    assert_eq!(json(response.body())["type"], "about:blank");
}

#[tokio::test]
async fn instance_is_the_path_without_the_query_when_asked_for() {
    let layer = ProblemLayer::new().with_path_as_instance();
    let response = through(layer.clone(), request(), || plain(404, "", "")).await;
    assert_eq!(json(response.body())["instance"], "/orders/7");
    let own = || problem(Problem::new(&blank::GONE).with_instance(UriRef::from_static("urn:a:b")));
    assert_eq!(
        json(through(layer, request(), own).await.body())["instance"],
        "urn:a:b"
    );
}

#[tokio::test]
async fn an_edit_translates_and_cannot_change_the_status() {
    let layer = ProblemLayer::new().with_edit(|context, details| {
        if context.accept_language == Some("de") {
            details.title = Some("Ausverkauft".to_owned());
        }
        details.status = Some(200);
        details.extensions.insert("status".to_owned(), 201.into());
        details
            .extensions
            .insert("path".to_owned(), context.path.into());
    });
    let request = request().header("accept-language", "de");
    let response = through(layer, request, || problem(Problem::new(&OUT_OF_STOCK))).await;
    assert_eq!(
        unique_object(response.body()),
        json!({
            "type": "/problems/out-of-stock", "title": "Ausverkauft", "status": 409,
            "path": "/orders/7", "request_id": "req-1",
        }),
    );
}

#[tokio::test]
async fn head_gets_the_head_of_a_problem() {
    let head = || Request::builder().method(Method::HEAD).uri("/");
    let response = through(ProblemLayer::new(), head(), || plain(404, "", "")).await;
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert!(response.body().is_empty());
    let html = through(ProblemLayer::new(), head(), || plain(404, "text/html", "")).await;
    assert_eq!(html.headers()["content-type"], "text/html");
}

#[tokio::test]
async fn the_source_is_logged_once_and_never_answered() {
    let (logs, _guard) = Logs::start();
    let service = ServiceBuilder::new()
        .layer(ProblemLayer::new())
        .layer(ProblemLayer::new())
        .service(service_fn(async |_: Request<()>| {
            let root = std::io::Error::other("password=hunter2");
            Ok::<_, Infallible>(Problem::internal(root).into_http().map(full))
        }));
    let response = service
        .oneshot(request().body(()).expect("a request"))
        .await
        .expect("infallible");
    let report = response
        .extensions()
        .get::<ProblemReport>()
        .expect("a report")
        .clone();
    assert_eq!(
        report.source().expect("a source").to_string(),
        "password=hunter2"
    );
    assert!(!report.claim_log(), "it was logged");
    let body = response
        .into_body()
        .collect()
        .await
        .expect("infallible")
        .to_bytes();
    assert!(!String::from_utf8_lossy(&body).contains("hunter2"));

    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in ["ERROR", "password=hunter2", "req-1", "500", "about:blank"] {
        assert!(lines[0].contains(part), "{part} is missing in {}", lines[0]);
    }
}

#[tokio::test]
async fn static_and_plain_errors_are_logged_once_too_and_by_their_level() {
    for (answer, level) in [
        ((|| plain(503, "", "")) as fn() -> Answer, "ERROR"),
        (|| plain(500, "text/html", "<p>"), "ERROR"),
        (|| problem(Problem::new(&OUT_OF_STOCK)), "DEBUG"),
    ] {
        let (logs, _guard) = Logs::start();
        let service = ServiceBuilder::new()
            .layer(ProblemLayer::new())
            .layer(ProblemLayer::new())
            .service(service_fn(move |_: Request<()>| async move {
                Ok::<_, Infallible>(answer())
            }));
        service
            .oneshot(request().body(()).expect("a request"))
            .await
            .expect("infallible");
        let lines = logs.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(level), "{lines:?}");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_with_its_text_in_the_log_only() {
    struct PanicsInCall;
    impl Service<Request<()>> for PanicsInCall {
        type Response = Answer;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Answer, Infallible>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            Ok(()).into()
        }
        fn call(&mut self, _: Request<()>) -> Self::Future {
            panic!("call says {}", "hunter2")
        }
    }

    let (logs, _guard) = Logs::start();
    let in_call = ProblemLayer::new().layer(PanicsInCall);
    let in_future = ProblemLayer::new().layer(service_fn(async |_: Request<()>| {
        if true {
            panic!("future says hunter2");
        }
        Ok::<_, Infallible>(plain(200, "", ""))
    }));
    let first = in_call
        .oneshot(request().body(()).expect("a request"))
        .await
        .expect("infallible");
    let second = in_future
        .oneshot(request().body(()).expect("a request"))
        .await
        .expect("infallible");
    for response in [first, second] {
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let body = response
            .into_body()
            .collect()
            .await
            .expect("infallible")
            .to_bytes();
        assert_eq!(
            unique_object(&body),
            json!({
                "type": "about:blank", "title": "Internal Server Error", "status": 500,
                "request_id": "req-1",
            }),
        );
    }
    let lines = logs.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("call says hunter2") && lines[0].contains("req-1"));
    assert!(lines[1].contains("future says hunter2"));
}

#[tokio::test]
async fn a_body_that_breaks_while_it_is_read_still_gets_an_answer() {
    #[derive(Debug)]
    struct Broken;
    impl http_body::Body for Broken {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
            Some(Err(std::io::Error::other("cut"))).into()
        }
        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(10)
        }
    }
    let service = ProblemLayer::new().layer(service_fn(async |_: Request<()>| {
        Response::builder()
            .status(409)
            .header("content-type", "application/problem+json")
            .body(Broken)
    }));
    let response = service
        .oneshot(request().body(()).expect("a request"))
        .await
        .expect("a response");
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert_eq!(unique_object(&body)["status"], 409);
}

#[tokio::test]
async fn grpc_requests_get_trailers_only_responses() {
    let grpc = || request().header("content-type", "application/grpc+proto");
    type Case = (fn() -> Answer, &'static str, &'static str);
    let cases: [Case; 5] = [
        (
            || problem(Problem::new(&OUT_OF_STOCK)),
            "10",
            "Out of stock",
        ),
        (
            || problem(Problem::new(&RACE).with_detail("100 % ü")),
            "6",
            "100 %25 %C3%BC",
        ),
        (|| plain(404, "", ""), "12", "Not Found"),
        (
            || plain(503, "text/html", "<p>"),
            "14",
            "Service Unavailable",
        ),
        (|| panic!("hunter2"), "13", "Internal Server Error"),
    ];
    for (answer, code, message) in cases {
        let response = through(ProblemLayer::new(), grpc(), answer).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc+proto");
        assert_eq!(response.headers()["grpc-status"], code);
        assert_eq!(response.headers()["grpc-message"], message);
        assert!(response.body().is_empty());
    }
    let web = request().header("content-type", "application/grpc-web");
    assert_eq!(
        through(ProblemLayer::new(), web, || plain(404, "", ""))
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn a_401_of_ones_own_type_keeps_its_challenges() {
    static EXPIRED: UnauthorizedType = UnauthorizedType::slug("token-expired", "Token expired");
    let response = answered(|| {
        problem(
            Problem::unauthorized(
                &EXPIRED,
                Challenge::from_static("Bearer error=\"invalid_token\""),
            )
            .with_challenge(Challenge::from_static("Basic realm=\"a\"")),
        )
    })
    .await;
    let challenges: Vec<_> = response
        .headers()
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .collect();
    assert_eq!(
        challenges,
        ["Bearer error=\"invalid_token\"", "Basic realm=\"a\""]
    );
    assert_eq!(json(response.body())["type"], "/problems/token-expired");
}

#[tokio::test]
async fn errors_of_the_inner_service_stay_errors() {
    let service = ProblemLayer::new().layer(service_fn(async |_: Request<()>| {
        Err::<Answer, _>(std::io::Error::other("broken"))
    }));
    let error = service
        .oneshot(request().body(()).expect("a request"))
        .await
        .expect_err("an error");
    assert_eq!(error.to_string(), "broken");
}

#[tokio::test(start_paused = true)]
async fn errors_of_tower_become_problems() {
    let (logs, _guard) = Logs::start();
    let outer = || {
        ServiceBuilder::new()
            .layer(ProblemLayer::new())
            .layer(CatchErrorLayer::new())
    };

    let slow =
        outer()
            .timeout(Duration::from_secs(5))
            .service(service_fn(async |_: Request<()>| {
                std::future::pending::<()>().await;
                Ok::<_, Infallible>(plain(200, "", ""))
            }));
    let response = slow
        .oneshot(request().body(()).expect("a request"))
        .await
        .expect("infallible");
    assert_eq!(response.status(), 504);
    let body = response
        .into_body()
        .collect()
        .await
        .expect("infallible")
        .to_bytes();
    assert_eq!(unique_object(&body)["type"], "/problems/timeout");
    assert!(
        logs.lines()[0].contains("request timed out"),
        "{:?}",
        logs.lines()
    );

    let mut busy =
        outer()
            .load_shed()
            .concurrency_limit(1)
            .service(service_fn(async |_: Request<()>| {
                std::future::pending::<()>().await;
                Ok::<_, Infallible>(plain(200, "", ""))
            }));
    let held = busy
        .ready()
        .await
        .expect("infallible")
        .call(request().body(()).expect("a request"));
    let response = busy
        .ready()
        .await
        .expect("infallible")
        .call(request().body(()).expect("a request"))
        .await;
    let response = response.expect("infallible");
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    drop(held);
}

#[derive(Clone)]
struct NeverReady;
impl Service<Request<()>> for NeverReady {
    type Response = Answer;
    type Error = std::io::Error;
    type Future = std::future::Pending<Result<Answer, std::io::Error>>;
    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), std::io::Error>> {
        Err(std::io::Error::other("hunter2")).into()
    }
    fn call(&mut self, _: Request<()>) -> Self::Future {
        panic!("a service that is not ready is not called")
    }
}

#[tokio::test]
async fn an_error_of_poll_ready_is_answered_and_known_errors_are_mapped() {
    let unknown = CatchErrorLayer::new().layer(NeverReady);
    let response = unknown
        .oneshot(request().body(()).expect("a request"))
        .await
        .expect("infallible");
    assert_eq!(response.status(), 500);
    let body = response
        .into_body()
        .collect()
        .await
        .expect("infallible")
        .to_bytes();
    assert!(!String::from_utf8_lossy(&body).contains("hunter2"));

    let known = CatchErrorLayer::new()
        .with_mapping(|_: &std::io::Error| Problem::new(&blank::BAD_GATEWAY))
        .layer(NeverReady);
    let response = known
        .oneshot(request().body(()).expect("a request"))
        .await
        .expect("infallible");
    assert_eq!(response.status(), 502);
}

#[tokio::test]
async fn a_buffer_whose_worker_failed_is_unavailable() {
    let failing = ServiceBuilder::new()
        .layer(CatchErrorLayer::new())
        .buffer(1)
        .service(NeverReady);
    let response = failing
        .oneshot(request().body(()).expect("a request"))
        .await
        .expect("infallible");
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    let report = response
        .extensions()
        .get::<ProblemReport>()
        .expect("a report");
    assert!(
        format!("{report:?}").contains("hunter2"),
        "the cause is for the log"
    );
    let body = response
        .into_body()
        .collect()
        .await
        .expect("infallible")
        .to_bytes();
    assert_eq!(unique_object(&body)["type"], "/problems/unavailable");
}

#[test]
fn debug_output_has_no_header_values() {
    let problem = Problem::new(&OUT_OF_STOCK).with_header(
        header::SET_COOKIE,
        "session=hunter2".parse().expect("a value"),
    );
    assert!(!format!("{problem:?}").contains("hunter2"));
}

#[tokio::test]
async fn state_made_in_the_layer_is_shared_by_all_its_services() {
    assert_state_shared(
        || {
            let count = AtomicUsize::new(0);
            ProblemLayer::new().with_edit(move |_, details| {
                let count = count.fetch_add(1, Ordering::Relaxed);
                details.detail = Some(format!("answer {count}"));
            })
        },
        || service_fn(async |_: Request<()>| Ok::<_, Infallible>(plain(404, "", ""))),
        async |service| {
            let request = request().body(()).expect("a request");
            let response = service.oneshot(request).await.expect("infallible");
            response
                .into_body()
                .collect()
                .await
                .expect("infallible")
                .to_bytes()
        },
    )
    .await;
    assert_state_shared(
        || {
            let count = AtomicUsize::new(0);
            CatchErrorLayer::new().with_mapping(move |_: &std::io::Error| {
                Problem::new(&blank::CONFLICT).with_detail(count.fetch_add(1, Ordering::Relaxed))
            })
        },
        || NeverReady,
        async |service| {
            let request = request().body(()).expect("a request");
            let response = service.oneshot(request).await.expect("infallible");
            response
                .into_body()
                .collect()
                .await
                .expect("infallible")
                .to_bytes()
        },
    )
    .await;
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    let inner = || service_fn(async |_: Request<()>| Ok::<_, Infallible>(plain(404, "", "")));
    let request = || request().body(()).expect("a request");
    assert_ready_kept(&ProblemLayer::new(), inner(), request).await;
    assert_ready_kept(&CatchErrorLayer::new(), inner(), request).await;
    let deprecation = DeprecationLayer::builder()
        .build()
        .expect("no dates, no contradiction");
    assert_ready_kept(&deprecation, inner(), request).await;
}

#[tokio::test]
async fn a_problem_body_passes_frames_and_sizes_through() {
    use http_body::Body as _;
    let body = ProblemBody::inner(Full::new(Bytes::from_static(b"abc")));
    assert_eq!(body.size_hint().exact(), Some(3));
    assert_eq!(body.collect().await.expect("infallible").to_bytes(), "abc");
    let empty = ProblemBody::<Full<Bytes>>::document(Bytes::new());
    assert!(empty.is_end_stream());
}
