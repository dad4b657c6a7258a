//! The catalogue: each `type` leads to its documentation.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use axum::Router;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use purlin_problem::{
    Catalog, ConfigError, GrpcCode, ProblemDetails, ProblemType, UnauthorizedType, UriRef, blank,
    iana, violation,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::ServiceExt;

static OUT_OF_STOCK: ProblemType =
    ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock")
        .with_description("Fewer items are in stock than were ordered.")
        .with_grpc_code(GrpcCode::FailedPrecondition);
static HOSTILE: ProblemType = ProblemType::slug(
    StatusCode::BAD_REQUEST,
    "hostile",
    "<script>alert(\"t\")</script> & 'more'",
)
.with_description("</p><img src=x onerror=alert(1)>");
static UNDESCRIBED: ProblemType =
    ProblemType::slug(StatusCode::GONE, "undescribed", "Nobody says what this is");
static TOKEN_EXPIRED: UnauthorizedType =
    UnauthorizedType::slug("token-expired", "The token has expired")
        .with_description("Ask for a new token.");

fn catalog() -> Catalog {
    Catalog::builder()
        .with_types([&OUT_OF_STOCK, &HOSTILE, TOKEN_EXPIRED.as_type()])
        .with_types([&OUT_OF_STOCK, &violation::VALIDATION])
        .with_types([&blank::NOT_FOUND, &iana::QUOTA_EXCEEDED])
        .build()
        .expect("no slug stands for two types")
}

async fn send(catalog: Catalog, request: Request<()>) -> (Response<()>, Bytes) {
    let response = catalog.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(head, ()), body)
}

async fn get(path: &str, accept: Option<&str>) -> (Response<()>, Bytes) {
    let mut request = Request::get(path);
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    send(catalog(), request.body(()).unwrap()).await
}

async fn get_json(path: &str) -> Value {
    let (response, body) = get(path, Some("application/json")).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    serde_json::from_slice(&body).unwrap()
}

fn text(body: &Bytes) -> &str {
    std::str::from_utf8(body).unwrap()
}

#[tokio::test]
async fn every_type_named_by_a_slug_has_a_page() {
    for ty in [
        &OUT_OF_STOCK,
        &HOSTILE,
        &violation::VALIDATION,
        TOKEN_EXPIRED.as_type(),
    ] {
        let (response, body) = get(ty.uri(), None).await;
        assert_eq!(response.status(), 200, "{}", ty.uri());
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/html; charset=utf-8"
        );
        assert!(text(&body).contains(&format!("<code>{}</code>", ty.uri())));
    }
}

#[tokio::test]
async fn a_page_in_json_says_all_that_is_known() {
    assert_eq!(
        get_json("/problems/out-of-stock").await,
        json!({
            "type": "/problems/out-of-stock",
            "title": "Out of stock",
            "status": 409,
            "description": "Fewer items are in stock than were ordered.",
            "grpc_code": 9,
        })
    );
}

#[tokio::test]
async fn the_list_has_all_types_but_about_blank() {
    for path in ["/", "/problems", "/problems/"] {
        let list = get_json(path).await;
        let types: Vec<_> = list["problem_types"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["type"].as_str().unwrap())
            .collect();
        assert_eq!(
            types,
            [
                "/problems/hostile",
                "/problems/out-of-stock",
                "/problems/token-expired",
                "/problems/validation",
                "https://iana.org/assignments/http-problem-types#quota-exceeded",
            ]
        );
        let (_, body) = get(path, None).await;
        for uri in types {
            assert!(text(&body).contains(&format!("<a href=\"{uri}\">")));
        }
    }
}

#[tokio::test]
async fn titles_and_descriptions_are_text_not_markup() {
    for path in ["/hostile", "/"] {
        let (_, body) = get(path, None).await;
        let page = text(&body);
        assert!(
            !page.contains("<script") && !page.contains("<img"),
            "{page}"
        );
        assert!(page.contains("&#38; &#39;more&#39;"));
    }
}

#[tokio::test]
async fn backticks_in_a_description_are_code() {
    static PROSE: ProblemType = ProblemType::slug(StatusCode::GONE, "prose", "Prose")
        .with_description("`a<b` and `c`, but ` alone");
    let catalog = Catalog::builder().with_types([&PROSE]).build().unwrap();
    let (_, body) = send(catalog, Request::get("/prose").body(()).unwrap()).await;
    let expected =
        ">\n<p class=\"description\"><code>a&#60;b</code> and <code>c</code>, but ` alone</p>";
    assert!(text(&body).contains(expected), "{}", text(&body));
}

#[tokio::test]
async fn accept_chooses_between_html_and_json() {
    for (accept, is_html) in [
        (None, true),
        (Some("*/*"), true),
        (
            Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            true,
        ),
        (Some("application/json"), false),
        (Some("application/json;q=0.4, text/html;q=0.3"), false),
        (Some("application/json, text/html;q=0.9, */*;q=0.1"), false),
        (Some("application/*, text/*;q=0.5"), false),
        (Some("application/*;q=0.5, text/*"), true),
        (Some("TEXT/HTML; Q=0.2, application/json;q=0.1"), true),
        (Some("text/html;q=0, */*"), false),
        // Neither is acceptable; a page is better than none.
        (Some("image/png"), true),
        // What cannot be read says nothing.
        (Some(",;, text/html;q=7, application/json;q=0.1"), false),
        (Some("application/json;q=NaN"), true),
    ] {
        let (response, _) = get("/out-of-stock", accept).await;
        let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
        assert_eq!(content_type.starts_with("text/html"), is_html, "{accept:?}");
        assert_eq!(response.headers()[header::VARY], "accept");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    for path in [
        "/problems/nothing",
        "/nothing",
        "/problems/out-of-stock/",
        "/elsewhere/out-of-stock",
        "/problemsout-of-stock",
        "/OUT-OF-STOCK",
    ] {
        let (response, body) = get(path, None).await;
        assert_eq!(response.status(), 404, "{path}");
        let details = ProblemDetails::parse(response.headers(), &body).unwrap();
        assert_eq!(details.status, Some(404));
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_allow() {
    for method in ["POST", "DELETE", "OPTIONS"] {
        let request = Request::builder().method(method).uri("/out-of-stock");
        let (response, body) = send(catalog(), request.body(()).unwrap()).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
        assert!(ProblemDetails::parse(response.headers(), &body).is_ok());
    }
}

#[tokio::test]
async fn head_has_the_fields_of_get_and_no_body() {
    for path in ["/out-of-stock", "/nothing"] {
        let (full, body) = get(path, None).await;
        let (head, none) = send(catalog(), Request::head(path).body(()).unwrap()).await;
        assert_eq!(head.status(), full.status());
        assert_eq!(
            head.headers()[header::CONTENT_LENGTH],
            body.len().to_string()
        );
        assert!(none.is_empty());
    }
}

#[tokio::test]
async fn the_policy_allows_the_style_sheet_and_nothing_else() {
    for path in ["/", "/out-of-stock"] {
        let (response, body) = get(path, None).await;
        let page = text(&body);
        let (_, rest) = page.split_once("<style>").unwrap();
        let (style, rest) = rest.split_once("</style>").unwrap();
        assert!(!rest.contains("<style") && !page.contains(" style="));
        let hash = STANDARD.encode(Sha256::digest(style));
        assert_eq!(
            response.headers()[header::CONTENT_SECURITY_POLICY],
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'"
            )
        );
    }
}

#[tokio::test]
async fn axum_can_mount_it_under_any_prefix() {
    let elsewhere = Catalog::builder()
        .with_types([&OUT_OF_STOCK])
        .with_base(UriRef::from_static("https://api.example.com/v1/errors"))
        .build()
        .unwrap();
    let app: Router = Router::new()
        .nest_service("/problems", catalog())
        .nest_service("/v1/errors", elsewhere)
        .nest_service("/v2", catalog());
    for (path, status, uri) in [
        ("/problems", 200, "/problems/out-of-stock"),
        ("/problems/", 200, "/problems/out-of-stock"),
        ("/problems/out-of-stock", 200, "/problems/out-of-stock"),
        (
            "/v1/errors/",
            200,
            "https://api.example.com/v1/errors/out-of-stock",
        ),
        (
            "/v1/errors/out-of-stock",
            200,
            "https://api.example.com/v1/errors/out-of-stock",
        ),
        ("/v1/errors/hostile", 404, "about:blank"),
        ("/v2/problems/out-of-stock", 200, "/problems/out-of-stock"),
    ] {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(text(&body).contains(uri), "{path}");
    }
}

#[test]
fn one_slug_for_two_types_is_refused() {
    static TITLE: ProblemType = ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Sold out")
        .with_description("Fewer items are in stock than were ordered.")
        .with_grpc_code(GrpcCode::FailedPrecondition);
    static STATUS: ProblemType =
        ProblemType::slug(StatusCode::GONE, "out-of-stock", "Out of stock")
            .with_description("Fewer items are in stock than were ordered.")
            .with_grpc_code(GrpcCode::FailedPrecondition);
    static PROSE: ProblemType =
        ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock")
            .with_description("Something else.")
            .with_grpc_code(GrpcCode::FailedPrecondition);
    static CODE: ProblemType =
        ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock")
            .with_description("Fewer items are in stock than were ordered.");
    for other in [&TITLE, &STATUS, &PROSE, &CODE] {
        let result = Catalog::builder()
            .with_types([&OUT_OF_STOCK, other])
            .build();
        assert_eq!(
            result.unwrap_err(),
            ConfigError::SlugConflict("out-of-stock")
        );
    }
}

#[test]
fn completeness_can_be_asserted() {
    let catalog = catalog();
    catalog.assert_documents([&OUT_OF_STOCK, &blank::GONE, &iana::DATE]);
    assert!(!catalog.documents(&UNDESCRIBED));
}

#[test]
#[should_panic = "problem types without documentation: /problems/undescribed"]
fn a_type_that_is_not_in_the_catalogue_fails_the_assertion() {
    catalog().assert_documents([&OUT_OF_STOCK, &UNDESCRIBED]);
}

#[test]
#[should_panic = "problem types without documentation: /problems/undescribed"]
fn a_type_that_nobody_describes_fails_the_assertion() {
    let catalog = Catalog::builder().with_types([&UNDESCRIBED]).build();
    catalog.unwrap().assert_documents([&UNDESCRIBED]);
}
