//! What the layer changes in a response and what it leaves, in the cases where that is easily got
//! wrong.

mod common;

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use common::{Logs, json, unique_object};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use purlin_problem::{
    CatchErrorLayer, ExtName, GrpcCode, Problem, ProblemLayer, ProblemType, UriRef, blank,
};
use serde_json::json;
use tower::{Layer, Service, service_fn};

static OUT_OF_STOCK: ProblemType =
    ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock");
static RACE: ProblemType = ProblemType::slug(StatusCode::CONFLICT, "race", "Lost a race")
    .with_grpc_code(GrpcCode::AlreadyExists);

const PROBLEM: &str = "application/problem+json";

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response
        .body(Full::new(body.into()).boxed())
        .expect("a response")
}

fn problem(problem: Problem) -> Answer {
    problem.into_http().map(|body| Full::new(body).boxed())
}

/// The answer of the layer to one request, of a service that always answers the same.
async fn through<B>(
    layer: ProblemLayer,
    request: http::request::Builder,
    answer: Response<B>,
) -> Response<Bytes>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let mut answer = Some(answer);
    let mut service = layer.layer(service_fn(move |_: Request<()>| {
        let answer = answer.take().expect("one request");
        async move { Ok::<_, Infallible>(answer) }
    }));
    let request = request.body(()).expect("a request");
    let response = service.call(request).await.expect("infallible");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("infallible").to_bytes();
    Response::from_parts(head, body)
}

async fn rewritten(layer: ProblemLayer, answer: Answer) -> Response<Bytes> {
    let request = Request::get("/").header("x-request-id", "req-1");
    through(layer, request, answer).await
}

#[tokio::test]
async fn text_in_another_charset_is_no_detail() {
    for (content_type, detail) in [
        ("text/plain", Some("\u{fc}")),
        ("text/plain; charset=\"UTF-8\"", Some("\u{fc}")),
        ("text/plain; format=flowed; Charset=utf-8", Some("\u{fc}")),
        // In this one the bytes are another text, "Ã¼".
        ("text/plain; charset=iso-8859-1", None),
        ("text/plain;charset=utf-16", None),
    ] {
        let old = answer(409, &[("content-type", content_type)], b"\xc3\xbc".to_vec());
        let response = rewritten(ProblemLayer::new(), old).await;
        let body = unique_object(response.body());
        assert_eq!(body["status"], 409);
        let found = body.get("detail").and_then(|detail| detail.as_str());
        assert_eq!(found, detail, "{content_type}");
    }
}

#[tokio::test]
async fn members_stay_as_they_are_where_others_are_rewritten() {
    let layer = || {
        ProblemLayer::new()
            .with_base(UriRef::from_static("https://example.com/"))
            .with_path_as_instance()
            .with_edit(|_, details| details.title = Some("Ausverkauft".to_owned()))
    };
    let exact = Problem::new(&OUT_OF_STOCK)
        .with_ext(ExtName::new("zeta"), &u128::MAX)
        .with_ext(ExtName::new("alpha"), &1);
    assert_eq!(
        rewritten(layer(), problem(exact)).await.body(),
        "{\"type\":\"https://example.com/out-of-stock\",\"title\":\"Ausverkauft\",\"status\":409,\
         \"zeta\":340282366920938463463374607431768211455,\"alpha\":1,\
         \"instance\":\"/\",\"request_id\":\"req-1\"}",
    );
    let removes = ProblemLayer::new().with_edit(|_, details| {
        details.extensions.remove("zeta");
        details.extensions.insert("a \"b\"".to_owned(), 2.into());
    });
    let less = Problem::new(&OUT_OF_STOCK).with_ext(ExtName::new("zeta"), &1);
    assert_eq!(
        rewritten(removes, problem(less)).await.body(),
        "{\"type\":\"/problems/out-of-stock\",\"title\":\"Out of stock\",\"status\":409,\
         \"a \\\"b\\\"\":2,\"request_id\":\"req-1\"}",
    );
}

#[tokio::test]
async fn a_document_that_is_not_tidy_is_put_in_order() {
    let headers = [("content-type", PROBLEM)];
    for (document, expected) in [
        (
            "\u{feff}{\"title\":\"A\"}",
            "{\"title\":\"A\",\"request_id\":\"req-1\"}",
        ),
        (
            "{\"title\":\"A\",\"abc\":1.10,\"title\":\"B\",\"abc\":2.20}",
            "{\"title\":\"B\",\"abc\":2.20,\"request_id\":\"req-1\"}",
        ),
        (
            "{\"request_id\":1,\"request_id\":\"\\ud800\"}",
            "{\"request_id\":\"req-1\"}",
        ),
        // The status is that of the line (RFC 9457 §3.1.2).
        (
            "{\"status\":200,\"abc\":1.10}",
            "{\"status\":404,\"abc\":1.10,\"request_id\":\"req-1\"}",
        ),
    ] {
        let response = rewritten(ProblemLayer::new(), answer(404, &headers, document)).await;
        unique_object(response.body());
        assert_eq!(response.body(), expected);
    }
}

#[tokio::test]
async fn the_language_stays_as_long_as_the_text_does() {
    let english = || {
        let language = "en".parse().expect("a value");
        problem(
            Problem::new(&OUT_OF_STOCK)
                .with_detail("2 left")
                .with_header(http::header::CONTENT_LANGUAGE, language),
        )
    };
    let same = ProblemLayer::new().with_base(UriRef::from_static("https://example.com/"));
    let response = rewritten(same, english()).await;
    assert_eq!(response.headers()["content-language"], "en");
    let translated = ProblemLayer::new()
        .with_edit(|_, details| details.detail = Some("noch 2 auf Lager".to_owned()));
    let response = rewritten(translated, english()).await;
    assert!(!response.headers().contains_key("content-language"));
    let filled = answer(503, &[("content-language", "de")], "Wartung");
    let response = rewritten(ProblemLayer::new(), filled).await;
    assert!(!response.headers().contains_key("content-language"));
}

#[tokio::test]
async fn checksums_and_trailers_of_the_old_body_go() {
    let headers = [
        ("content-digest", "sha-256=:AAAA:"),
        ("repr-digest", "sha-256=:AAAA:"),
        ("digest", "md5=AAAA"),
        ("content-md5", "AAAA"),
        ("trailer", "server-timing"),
        ("last-modified", "Thu, 01 Jul 2027 00:00:00 GMT"),
        ("accept-ranges", "bytes"),
    ];
    let of_problem = [("content-type", PROBLEM), ("etag", "\"old\"")];
    for headers in [headers.to_vec(), [&headers[..], &of_problem[..]].concat()] {
        let response = rewritten(ProblemLayer::new(), answer(404, &headers, "{}")).await;
        let names: Vec<_> = response
            .headers()
            .keys()
            .map(http::HeaderName::as_str)
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

#[tokio::test]
async fn a_panic_of_an_edit_costs_the_edit_only() {
    let (logs, _guard) = Logs::start();
    let layer = ProblemLayer::new().with_edit(|_, details| {
        details.title = Some("half".to_owned());
        panic!("no translation of hunter2");
    });
    let response = rewritten(layer, problem(Problem::new(&OUT_OF_STOCK))).await;
    assert_eq!(
        unique_object(response.body()),
        json!({
            "type": "/problems/out-of-stock", "title": "Out of stock", "status": 409,
            "request_id": "req-1",
        }),
    );
    let told = |line: &String| line.contains("no translation of hunter2");
    assert_eq!(logs.lines().iter().filter(|line| told(line)).count(), 1);
}

/// A body that says it has ten bytes.
struct Ten(fn() -> Option<Frame<Bytes>>);

impl Body for Ten {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready((self.0)().map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(10)
    }
}

#[tokio::test]
async fn a_body_that_panics_or_never_ends_still_gets_an_answer() {
    let (logs, _guard) = Logs::start();
    let panics: fn() -> Option<Frame<Bytes>> = || panic!("hunter2");
    let endless: fn() -> Option<Frame<Bytes>> =
        || Some(Frame::data(Bytes::from_static(&[b'x'; 4096])));
    for body in [panics, endless] {
        let old = Response::builder()
            .status(409)
            .header("content-type", PROBLEM)
            .body(Ten(body))
            .expect("a response");
        let response = through(ProblemLayer::new(), Request::get("/"), old).await;
        assert_eq!(
            json(response.body()),
            json!({"type": "about:blank", "title": "Conflict", "status": 409}),
        );
    }
    let lines = logs.lines();
    assert!(lines[0].contains("panic=\"hunter2\""), "{lines:?}");
}

#[tokio::test]
async fn trailers_of_a_body_that_is_replaced_are_dropped() {
    let body = Full::new(Bytes::from_static(b"gone")).with_trailers(async {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("server-timing", "db".parse().expect("a value"));
        Some(Ok::<_, Infallible>(trailers))
    });
    let old = Response::builder()
        .status(410)
        .body(body)
        .expect("a response");
    let mut old = Some(old);
    let mut service = ProblemLayer::new().layer(service_fn(move |_: Request<()>| {
        let old = old.take().expect("one request");
        async move { Ok::<_, Infallible>(old) }
    }));
    let response = service.call(Request::new(())).await.expect("infallible");
    let body = response.into_body().collect().await.expect("infallible");
    assert!(body.trailers().is_none());
    assert_eq!(json(&body.to_bytes())["detail"], "gone");
}

#[tokio::test]
async fn grpc_refusals_are_edited_too_and_fit_into_a_head() {
    let grpc = || Request::post("/").header("content-type", "application/grpc");
    let hides = ProblemLayer::new().with_edit(|_, details| details.detail = None);
    let secret = Problem::new(&OUT_OF_STOCK).with_detail("hunter2");
    let response = through(hides, grpc(), problem(secret)).await;
    assert_eq!(response.headers()["grpc-message"], "Out of stock");

    // 2 bytes as it is, 6 with escapes.
    let long = Problem::new(&RACE).with_detail("\u{fc}".repeat(20_000));
    let response = through(ProblemLayer::new(), grpc(), problem(long)).await;
    assert_eq!(response.headers()["grpc-status"], "6");
    let message = response.headers()["grpc-message"].as_bytes();
    assert_eq!(message.len(), 4096 / 6 * 6);
    assert!(message.ends_with(b"%C3%BC"));

    // Too large to be read, and encoded: the type still gives the code.
    let huge = Problem::new(&RACE).with_detail("x".repeat(70_000));
    let mut zipped = problem(Problem::new(&RACE));
    let coding = "gzip".parse().expect("a value");
    zipped.headers_mut().insert("content-encoding", coding);
    for old in [problem(huge), zipped] {
        let response = through(ProblemLayer::new(), grpc(), old).await;
        assert_eq!(response.headers()["grpc-status"], "6");
        assert_eq!(response.headers()["grpc-message"], "Lost a race");
        assert!(!response.headers().contains_key("content-encoding"));
    }
}

#[tokio::test]
async fn head_without_a_body_is_answered_like_get() {
    let head = || Request::head("/");
    for (status, headers, becomes) in [
        (
            409,
            &[("content-type", "text/plain"), ("content-length", "9")][..],
            PROBLEM,
        ),
        (
            500,
            &[("content-type", "text/plain"), ("content-length", "9999")],
            PROBLEM,
        ),
        (
            409,
            &[("content-type", "text/plain"), ("content-length", "9999")],
            "text/plain",
        ),
        (
            409,
            &[("content-type", PROBLEM), ("content-length", "99")],
            PROBLEM,
        ),
        (
            409,
            &[("content-type", PROBLEM), ("content-encoding", "gzip")],
            PROBLEM,
        ),
    ] {
        let response = through(ProblemLayer::new(), head(), answer(status, headers, "")).await;
        assert_eq!(response.headers()["content-type"], becomes);
        let kept = becomes == "text/plain" || headers[1].0 == "content-encoding";
        assert_eq!(
            response.headers().contains_key(headers[1].0),
            kept,
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn the_log_names_the_type_where_the_document_is_not_read() {
    let (logs, _guard) = Logs::start();
    let error = || std::io::Error::other("cut");
    let huge = Problem::new(&OUT_OF_STOCK)
        .with_detail("x".repeat(70_000))
        .with_source(error());
    rewritten(ProblemLayer::new(), problem(huge)).await;
    let (mut head, _) = problem(Problem::new(&OUT_OF_STOCK).with_source(error())).into_parts();
    head.headers
        .insert("content-length", "99".parse().expect("a value"));
    let nothing = Response::from_parts(head, Full::default().boxed());
    through(ProblemLayer::new(), Request::head("/"), nothing).await;
    let lines = logs.lines();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(line.contains("/problems/out-of-stock"), "{line}");
    }
}

#[tokio::test]
async fn ids_that_are_not_valid_are_not_repeated() {
    let request = Request::get("/").header("x-request-id", "a\tb").header(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    );
    let response = through(ProblemLayer::new(), request, answer(404, &[], "")).await;
    assert_eq!(
        json(response.body()).as_object().map(serde_json::Map::len),
        Some(3)
    );
    for traceparent in [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
    ] {
        let request = Request::get("/").header("traceparent", traceparent);
        let response = through(ProblemLayer::new(), request, answer(404, &[], "")).await;
        assert!(
            json(response.body()).get("trace_id").is_none(),
            "{traceparent}"
        );
    }
    let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x";
    let request = Request::get("/").header("traceparent", later);
    let response = through(ProblemLayer::new(), request, answer(404, &[], "")).await;
    assert!(json(response.body()).get("trace_id").is_some());
}

#[tokio::test]
async fn debug_output_has_nothing_of_the_request_and_the_response() {
    let mut service = ProblemLayer::new()
        .with_path_as_instance()
        .layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(answer(404, &[("set-cookie", "hunter2")], "hunter2"))
        }));
    let request = Request::get("/?token=hunter2")
        .header("x-request-id", "hunter2")
        .body(())
        .expect("a request");
    let future = service.call(request);
    assert!(!format!("{future:?}").contains("hunter2"), "{future:?}");
}

#[tokio::test]
async fn control_characters_are_escaped_wherever_they_come_from() {
    let layer = ProblemLayer::new().with_edit(|_, details| {
        details.title = Some("a\u{0}\u{1b}[31m\nb".to_owned());
    });
    let text = answer(404, &[("content-type", "text/plain")], "a\u{0}\u{7}\r\nb");
    let response = rewritten(layer, text).await;
    let document = response.body();
    assert!(!document.iter().any(u8::is_ascii_control), "{document:?}");
    assert_eq!(json(document)["detail"], "a\u{0}\u{7}\r\nb");
    let response = rewritten(ProblemLayer::new(), problem(Problem::new(&blank::GONE))).await;
    assert_eq!(json(response.body())["title"], "Gone");
}

#[tokio::test]
async fn what_the_response_says_of_caching_stays() {
    for headers in [
        &[("cache-control", "max-age=60")][..],
        &[("cache-control", "max-age=60"), ("content-type", PROBLEM)],
    ] {
        let response = rewritten(ProblemLayer::new(), answer(404, headers, "{}")).await;
        assert_eq!(response.headers()["cache-control"], "max-age=60");
        assert_eq!(response.headers()["content-type"], PROBLEM);
    }
}

#[tokio::test]
async fn the_request_id_may_stand_in_another_field() {
    let name = http::HeaderName::from_static("x-correlation-id");
    let request = Request::get("/")
        .header("x-request-id", "no")
        .header(&name, "yes");
    let layer = ProblemLayer::new().with_request_id_header(name);
    let response = through(layer, request, answer(404, &[], "")).await;
    assert_eq!(json(response.body())["request_id"], "yes");
}

#[tokio::test]
async fn what_is_of_unknown_length_is_not_read() {
    for content_type in [PROBLEM, "text/plain"] {
        let frames = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"{}")))]);
        let old = Response::builder()
            .status(404)
            .header("content-type", content_type)
            .body(StreamBody::new(frames))
            .expect("a response");
        let response = through(ProblemLayer::new(), Request::get("/"), old).await;
        assert_eq!(response.headers()["content-type"], content_type);
        assert_eq!(response.body(), "{}");
    }
}

#[tokio::test]
async fn the_log_has_the_whole_chain_of_causes() {
    #[derive(Debug)]
    struct QueryFailed(std::io::Error);
    impl std::fmt::Display for QueryFailed {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the query failed")
        }
    }
    impl std::error::Error for QueryFailed {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    let (logs, _guard) = Logs::start();
    let error = || Problem::internal(QueryFailed(std::io::Error::other("cut")));
    assert!(format!("{:?}", error()).contains("the query failed: cut"));
    rewritten(ProblemLayer::new(), problem(error())).await;
    assert!(
        logs.lines()[0].contains("the query failed: cut"),
        "{:?}",
        logs.lines()
    );
}

#[tokio::test]
async fn the_last_mapping_of_an_error_counts() {
    let mut service = CatchErrorLayer::new()
        .with_mapping(|_: &std::io::Error| Problem::new(&blank::CONFLICT))
        .with_mapping(|_: &std::io::Error| Problem::new(&blank::BAD_GATEWAY))
        .layer(service_fn(async |_: Request<()>| {
            Err::<Answer, _>(std::io::Error::other("cut"))
        }));
    let response = service.call(Request::new(())).await.expect("infallible");
    assert_eq!(response.status(), 502);
}
