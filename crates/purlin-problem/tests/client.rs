//! The client side: lenient reading by RFC 9457 §3.1, and `reqwest`.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use purlin_problem::{MAX_DOCUMENT_BYTES, ProblemDetails, ProblemType, iana};
use serde_json::{Value, json};

/// Documents in the shapes of public problem registries and drafts, with what must be read.
const CORPUS: &[(&str, &str, u16, &str)] = &[
    (
        r##"{"type":"https://registry.example/validation-error","title":"Validation error","status":422,
            "detail":"Two values are not accepted.","code":"422-01",
            "errors":[{"detail":"must not be empty","pointer":"#/lines/0/sku"},
                      {"detail":"must be 1 or more","pointer":"#/lines/0/count","code":"range"}]}"##,
        "https://registry.example/validation-error",
        422,
        "Two values are not accepted.",
    ),
    (
        r#"{"type":"https://registry.example/bad-request","title":"Bad request","status":400,
            "detail":"The body ends too early.","errors":[]}"#,
        "https://registry.example/bad-request",
        400,
        "The body ends too early.",
    ),
    (
        r#"{"type":"https://registry.example/missing-request-header","title":"A header is missing",
            "status":400,"detail":"Send a tenant.","errors":[{"detail":"required","header":"X-Tenant"}]}"#,
        "https://registry.example/missing-request-header",
        400,
        "Send a tenant.",
    ),
    (
        r#"{"type":"https://registry.example/invalid-request-parameter-value","title":"Parameter",
            "status":400,"detail":"The limit is too high.",
            "errors":[{"detail":"at most 100","parameter":"limit"}],"instance":"/orders?limit=9000"}"#,
        "https://registry.example/invalid-request-parameter-value",
        400,
        "The limit is too high.",
    ),
    (
        r#"{"type":"https://registry.example/already-exists","title":"Already there","status":409,
            "detail":"The SKU is taken.","code":"409-07"}"#,
        "https://registry.example/already-exists",
        409,
        "The SKU is taken.",
    ),
    (
        r#"{"status":503,"title":"Away","type":"https://registry.example/service-unavailable",
            "detail":"Back in an hour.","retry":{"after_seconds":3600,"jitter":[0,1.5,null,true]}}"#,
        "https://registry.example/service-unavailable",
        503,
        "Back in an hour.",
    ),
    (
        r#"{"type":"tag:example.org,2026:licences:cancelled","title":"Licence cancelled","status":403,
            "detail":"Renew it.","instance":"urn:uuid:0190c0d3-9a55-7d5c-8d3a-000000000001"}"#,
        "tag:example.org,2026:licences:cancelled",
        403,
        "Renew it.",
    ),
    (
        r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota",
            "status":429,"detail":"Wait.","violated-policies":["per-day","burst"]}"#,
        "https://iana.org/assignments/http-problem-types#quota-exceeded",
        429,
        "Wait.",
    ),
    (
        r#"{"title":"Not Found","status":404,"detail":"No such order."}"#,
        "about:blank",
        404,
        "No such order.",
    ),
    (
        r#"{"type":"../problems/digest-mismatch","status":400.0,"detail":"Die Prüfsumme stimmt nicht 🙁",
            "provided-digest":{"algorithm":"sha-512","digest":"AA=="}}"#,
        "../problems/digest-mismatch",
        400,
        "Die Prüfsumme stimmt nicht 🙁",
    ),
];

fn read(document: &str) -> ProblemDetails {
    ProblemDetails::from_json(document.as_bytes()).expect(document)
}

#[test]
fn documents_of_others_are_read_and_written_without_loss() {
    for (document, type_uri, status, detail) in CORPUS {
        let details = read(document);
        assert_eq!(details.type_uri(), *type_uri);
        assert_eq!(details.status, Some(*status));
        assert_eq!(details.detail.as_deref(), Some(*detail));
        // Numbers keep their value; `400.0` may become `400`.
        let mut expected: Value = serde_json::from_str(document).unwrap();
        expected["status"] = json!(status);
        assert_eq!(serde_json::to_value(&details).unwrap(), expected);
    }
}

#[test]
fn rfc9457_3_1_a_member_of_the_wrong_type_is_ignored() {
    for wrong in ["42", "null", "true", "[]", "{}", "[\"a\"]", "{\"a\":1}"] {
        for name in ["type", "title", "detail", "instance"] {
            let details = read(&format!(r#"{{"{name}":{wrong},"kept":1}}"#));
            let expected = read(r#"{"kept":1}"#);
            assert_eq!(details, expected, "{name}: {wrong}");
        }
    }
}

#[test]
fn rfc9457_3_1_2_only_a_status_code_is_a_status() {
    for (value, status) in [
        ("403", Some(403)),
        ("403.0", Some(403)),
        ("4.03e2", Some(403)),
        ("599", Some(599)),
        ("200", Some(200)),
        ("403.5", None),
        ("99", None),
        ("600", None),
        ("0", None),
        ("-403", None),
        ("65939", None), // 403 modulo 2^16
        ("18446744073709551615", None),
        ("-9223372036854775808", None),
        ("1e400", None),
        ("\"403\"", None),
        ("[403]", None),
        ("null", None),
    ] {
        let details = read(&format!(r#"{{"status":{value},"title":"t"}}"#));
        assert_eq!(details.status, status, "{value}");
        assert_eq!(details.title.as_deref(), Some("t"), "{value}");
        assert!(details.extensions.is_empty());
    }
}

#[test]
fn of_two_members_with_one_name_the_last_counts() {
    let details = read(r#"{"title":"a","x_y":1,"title":"b","x_y":2,"status":400,"status":"no"}"#);
    assert_eq!(details.title.as_deref(), Some("b"));
    assert_eq!(details.extension::<u32>("x_y"), Some(2));
    assert_eq!(details.status, None);
    let unreadable = read(r#"{"title":"a","title":"\ud800"}"#);
    assert_eq!(unreadable.title, None);
}

#[test]
fn a_member_that_cannot_be_held_is_ignored_alone() {
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    for value in [deep.as_str(), "1e999", r#""\udead""#] {
        let details = read(&format!(r#"{{"big":{value},"title":"t","status":409}}"#));
        assert_eq!(details.title.as_deref(), Some("t"));
        assert_eq!(details.status, Some(409));
        assert!(details.extensions.is_empty());
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(read("\u{feff}{\"title\":\"t\"}"), read("{\"title\":\"t\"}"));
}

#[test]
fn what_is_no_object_is_no_problem() {
    for document in [
        &b""[..],
        b" ",
        b"[]",
        b"[{\"title\":\"t\"}]",
        b"\"text\"",
        b"404",
        b"null",
        b"{",
        b"{\"title\":\"t\"",
        b"{\"title\":\"t\"} {}",
        b"{\"title\":\"t\",}",
        b"{\"title\":\"\xff\"}",
        b"{'title':'t'}",
        b"<html></html>",
    ] {
        let error = ProblemDetails::from_json(document).unwrap_err();
        assert_eq!(error.to_string(), "the document is not a JSON object");
    }
}

#[test]
fn a_document_over_the_limit_is_not_read() {
    let document = |bytes: usize| {
        let frame = r#"{"title":""}"#.len();
        format!(r#"{{"title":"{}"}}"#, "t".repeat(bytes - frame)).into_bytes()
    };
    assert!(ProblemDetails::from_json(&document(MAX_DOCUMENT_BYTES)).is_ok());
    let error = ProblemDetails::from_json(&document(MAX_DOCUMENT_BYTES + 1)).unwrap_err();
    assert_eq!(error.to_string(), "the document is larger than 65536 bytes");
}

#[test]
fn only_the_essence_of_the_content_type_counts() {
    let parse = |content_type: &[u8]| {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(content_type).unwrap();
        headers.insert(header::CONTENT_TYPE, value);
        ProblemDetails::parse(&headers, b"{}")
    };
    for content_type in [
        "application/problem+json",
        "Application/Problem+JSON",
        "application/problem+json; charset=utf-8",
        "application/problem+json ;charset=\"utf-8\"",
    ] {
        assert!(parse(content_type.as_bytes()).is_ok(), "{content_type}");
    }
    for content_type in [
        &b"application/json"[..],
        b"application/problem+jsonp",
        b"application/problem+xml",
        b"text/plain; x=application/problem+json",
        b"application/problem+json\xff",
        b"",
    ] {
        assert!(parse(content_type).is_err());
    }
    assert!(ProblemDetails::parse(&HeaderMap::new(), b"{}").is_err());
}

#[test]
fn a_slug_matches_under_every_base_and_other_types_to_the_letter() {
    static SLUG: ProblemType = ProblemType::slug(StatusCode::GONE, "gone-for-good", "Gone");
    let of_type = |uri: &str| read(&json!({ "type": uri }).to_string());
    for uri in [
        "/problems/gone-for-good",
        "https://api.example.com/problems/gone-for-good",
        "https://docs.example.com/errors#gone-for-good",
        "gone-for-good",
    ] {
        assert!(of_type(uri).is(&SLUG), "{uri}");
    }
    for uri in [
        "",
        "/problems/",
        "/problems/not-gone-for-good",
        "about:blank",
    ] {
        assert!(!of_type(uri).is(&SLUG), "{uri}");
    }
    assert!(of_type(iana::QUOTA_EXCEEDED.uri()).is(&iana::QUOTA_EXCEEDED));
    assert!(!of_type(iana::QUOTA_EXCEEDED.uri()).is(&iana::DATE));
    assert!(!of_type("https://iana.org/assignments/http-problem-types").is(&iana::DATE));
    let blank = ProblemDetails::blank(StatusCode::NOT_FOUND);
    assert!(blank.is(&purlin_problem::blank::NOT_FOUND));
    assert!(!blank.is(&purlin_problem::blank::GONE));
}

#[test]
fn extensions_are_read_as_types() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct OutOfCredit {
        balance: i64,
        accounts: Vec<String>,
    }
    let details = read(r#"{"title":"t","balance":30,"accounts":["/a/1","/a/2"],"other":[]}"#);
    let expected = OutOfCredit {
        balance: 30,
        accounts: vec!["/a/1".to_owned(), "/a/2".to_owned()],
    };
    assert_eq!(details.extensions::<OutOfCredit>().unwrap(), expected);
    assert_eq!(details.extension::<i64>("balance"), Some(30));
    assert_eq!(details.extension::<String>("balance"), None);
    assert_eq!(details.extension::<String>("title"), None);
}

#[cfg(feature = "reqwest")]
mod over_http {
    #![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

    use std::{convert::Infallible, error::Error};

    use axum::{
        Router,
        body::{Body, Bytes},
        extract::Request,
        response::{IntoResponse, Response},
        routing::{any, get},
    };
    use futures_util::stream;
    use http::StatusCode;
    use purlin_problem::{
        Challenge, Problem, ProblemType, RequestBuilderExt, ResponseError, ResponseExt,
        ResponseProblem, blank,
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    static OUT_OF_STOCK: ProblemType =
        ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock");
    static RELATIVE: ProblemType = ProblemType::new(
        StatusCode::CONFLICT,
        "../problems/./relative#x",
        "A relative reference",
    );

    fn problem(problem: Problem) -> Response {
        problem.into_http().map(Body::from)
    }

    fn with_body(body: impl Into<Body>) -> Response {
        let response = Response::builder().status(500).header("retry-after", "7");
        let response = response.header("content-type", "application/problem+json");
        response.body(body.into()).unwrap()
    }

    /// A server of its own, and the URL of one of its paths.
    async fn serve(path: &str) -> String {
        let app = Router::new()
            .route("/ok", get(|| async { "fine" }))
            .route(
                "/echo",
                any(|request: Request| async move {
                    let accept: Vec<_> = request.headers().get_all("accept").iter().collect();
                    format!("{accept:?}")
                }),
            )
            .route(
                "/typed",
                get(|| async {
                    problem(
                        Problem::new(&OUT_OF_STOCK)
                            .with_detail("2 left, 3 ordered")
                            .with_retry_after(std::time::Duration::from_secs(30)),
                    )
                }),
            )
            .route(
                "/a/relative",
                get(|| async { problem(Problem::new(&RELATIVE)) }),
            )
            .route(
                "/unauthorized",
                get(|| async {
                    problem(Problem::unauthorized(
                        &blank::UNAUTHORIZED,
                        Challenge::bearer(),
                    ))
                }),
            )
            .route(
                "/plain",
                get(|| async {
                    (
                        StatusCode::BAD_GATEWAY,
                        [("retry-after", "5")],
                        "upstream 10.0.0.3 is down",
                    )
                }),
            )
            .route("/empty", get(|| async { with_body("") }))
            .route("/array", get(|| async { with_body("[1]") }))
            .route(
                "/redirect",
                get(|| async {
                    (StatusCode::SEE_OTHER, [("location", "/a/relative")]).into_response()
                }),
            )
            .route(
                "/endless",
                get(|| async {
                    let chunk = Bytes::from(vec![b' '; 8192]);
                    let chunks = stream::repeat_with(move || Ok::<_, Infallible>(chunk.clone()));
                    with_body(Body::from_stream(chunks))
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}{path}")
    }

    async fn ask(path: &str) -> Result<reqwest::Response, ResponseError> {
        let client = reqwest::Client::new();
        let request = client.get(serve(path).await).accept_problem();
        request.send().await?.error_for_problem().await
    }

    async fn refused(path: &str) -> ResponseProblem {
        match ask(path).await {
            Err(ResponseError::Problem(problem)) => *problem,
            other => panic!("expected a problem, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_success_passes_untouched() {
        let response = ask("/ok").await.unwrap();
        assert_eq!(response.text().await.unwrap(), "fine");
    }

    #[tokio::test]
    async fn a_problem_is_read_with_its_headers() {
        let problem = refused("/typed").await;
        assert_eq!(problem.status(), 409);
        assert_eq!(problem.headers()["retry-after"], "30");
        assert!(problem.is(&OUT_OF_STOCK));
        assert!(!problem.is(&blank::CONFLICT));
        assert_eq!(
            problem.details().detail.as_deref(),
            Some("2 left, 3 ordered")
        );
        assert_eq!(
            problem.to_string(),
            "the server answered 409 Out of stock: 2 left, 3 ordered"
        );
        assert!(problem.source().is_none());
        let unauthorized = refused("/unauthorized").await;
        assert_eq!(unauthorized.headers()["www-authenticate"], "Bearer");
    }

    #[tokio::test]
    async fn debug_output_has_no_credentials() {
        let url = serve("/typed?token=hunter2").await;
        let url = url.replace("http://", "http://hunter2:hunter2@");
        let response = reqwest::get(url).await.unwrap();
        let error = response.error_for_problem().await.unwrap_err();
        let text = format!("{error:?}");
        assert!(
            text.contains("retry-after") && text.contains("/typed"),
            "{text}"
        );
        assert!(
            !text.contains("hunter2") && !text.contains("\"30\""),
            "{text}"
        );
    }

    #[tokio::test]
    async fn rfc9457_3_1_1_a_relative_type_is_resolved_against_the_last_url() {
        for path in ["/a/relative", "/redirect"] {
            let problem = refused(path).await;
            let resolved = problem.resolved_type().unwrap();
            assert_eq!(resolved.path(), "/problems/relative");
            assert_eq!(resolved.fragment(), Some("x"));
            assert_eq!(resolved.scheme(), "http");
            assert!(problem.is(&RELATIVE));
            static SAME: ProblemType =
                ProblemType::new(StatusCode::CONFLICT, "/problems/relative#x", "Same");
            assert!(problem.is(&SAME), "equal only after resolution");
            static OTHER: ProblemType =
                ProblemType::new(StatusCode::CONFLICT, "/problems/relative#y", "Other");
            assert!(!problem.is(&OTHER));
        }
    }

    #[tokio::test]
    async fn about_blank_and_urns_resolve_to_themselves() {
        let base = reqwest::Url::parse("https://api.example.com/orders/7").unwrap();
        for uri in ["about:blank", "urn:example:a", "tag:example.org,2026:a"] {
            let json = serde_json::json!({ "type": uri }).to_string();
            let details = super::read(&json);
            assert_eq!(details.resolved_type(&base).unwrap().as_str(), uri);
        }
        let nonsense = super::read(r#"{"type":"http://[nonsense"}"#);
        assert_eq!(nonsense.resolved_type(&base), None);
    }

    #[tokio::test]
    async fn an_error_of_another_content_type_keeps_its_status_and_headers() {
        let problem = refused("/plain").await;
        assert_eq!(problem.status(), 502);
        assert_eq!(problem.headers()["retry-after"], "5");
        assert!(problem.is(&blank::BAD_GATEWAY));
        assert!(!problem.is(&blank::NOT_FOUND));
        assert_eq!(problem.details().detail, None);
        assert_eq!(problem.to_string(), "the server answered 502 Bad Gateway");
    }

    #[tokio::test]
    async fn a_document_that_cannot_be_read_keeps_the_status_and_says_why() {
        for (path, why) in [
            ("/empty", "the document is not a JSON object"),
            ("/array", "the document is not a JSON object"),
            ("/endless", "the document is larger than 65536 bytes"),
        ] {
            let problem = refused(path).await;
            assert_eq!(problem.status(), 500, "{path}");
            assert_eq!(problem.headers()["retry-after"], "7");
            assert_eq!(
                problem.details().title.as_deref(),
                Some("Internal Server Error")
            );
            assert_eq!(problem.source().unwrap().to_string(), why);
        }
    }

    #[tokio::test]
    async fn a_document_that_breaks_off_keeps_the_status_and_the_cause() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let answer = "HTTP/1.1 503 Away\r\nContent-Type: application/problem+json\r\n\
                          Content-Length: 100\r\n\r\n{\"title\":";
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let response = reqwest::get(url).await.unwrap();
        let Err(ResponseError::Problem(problem)) = response.error_for_problem().await else {
            panic!("503 is an error");
        };
        assert_eq!(problem.status(), 503);
        assert!(problem.is(&blank::SERVICE_UNAVAILABLE));
        assert!(problem.source().unwrap().is::<reqwest::Error>());
    }

    #[tokio::test]
    async fn no_answer_is_a_transport_error_with_its_cause() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let client = reqwest::Client::new();
        let send = async {
            let request = client.get(format!("http://{address}/")).accept_problem();
            request.send().await?.error_for_problem().await
        };
        let error = send.await.unwrap_err();
        assert!(matches!(&error, ResponseError::Transport(error) if error.is_connect()));
        assert!(error.source().unwrap().is::<reqwest::Error>());
    }

    #[tokio::test]
    async fn accept_is_added_to_what_was_asked_for() {
        let client = reqwest::Client::new();
        let url = serve("/echo").await;
        let sent = async |request: reqwest::RequestBuilder| {
            let response = request.accept_problem().send().await.unwrap();
            response.text().await.unwrap()
        };
        assert_eq!(
            sent(client.get(&url)).await,
            r#"["application/problem+json, */*;q=0.9"]"#
        );
        assert_eq!(
            sent(client.get(&url).header("accept", "application/json")).await,
            r#"["application/json", "application/problem+json"]"#
        );
        assert_eq!(
            sent(client.post(&url).body("text")).await,
            r#"["application/problem+json, */*;q=0.9"]"#
        );
    }

    #[test]
    fn a_malformed_request_keeps_its_error() {
        let client = reqwest::Client::new();
        let error = client.get("no url").accept_problem().build().unwrap_err();
        assert!(error.is_builder());
        assert!(error.source().unwrap().to_string().contains("relative URL"));
    }
}
