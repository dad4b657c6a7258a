use std::{convert::Infallible, time::Duration};

use axum::{
    BoxError,
    body::{Body, Bytes},
    response::Response,
};
use http::{HeaderName, HeaderValue, Method, Request, header};
use hyper::body::Incoming;
use purlin_problem::{CatchErrorLayer, ProblemLayer};
use tower::{ServiceBuilder, timeout::TimeoutLayer, util::BoxCloneService};
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    limit::RequestBodyLimitLayer,
    request_id::{PropagateRequestIdLayer, SetRequestIdLayer},
    set_header::response::SetMultipleResponseHeadersLayer,
    trace::TraceLayer,
};
use tracing::Span;

use crate::{
    config::CorsOrigins,
    http::{App, CUSTOMER_HEADER, linger::Linger, payments, request_id, routes},
};

const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How long a request may take, the reading of its body included.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// The whole of what a connection talks to, from the outside to the inside. One stack around the
/// router, so that unknown routes pass through all of it too.
pub(crate) fn service(
    app: App,
    cors: &CorsOrigins,
) -> BoxCloneService<Request<Incoming>, Response, Infallible> {
    let trace = TraceLayer::new_for_http()
        .make_span_with(span)
        .on_request(())
        .on_response(log_response)
        .on_failure(());
    ServiceBuilder::new()
        .boxed_clone()
        .map_response(into_body)
        .map_request(Linger::of)
        .map_request(request_id::drop_malformed)
        .layer(SetRequestIdLayer::new(
            request_id::HEADER,
            request_id::UuidV7,
        ))
        .layer(PropagateRequestIdLayer::new(request_id::HEADER))
        .layer(SetMultipleResponseHeadersLayer::if_not_present(
            SECURITY_HEADERS.map(Into::into).to_vec(),
        ))
        .layer(trace)
        // Outside of the layer that answers panics, so that a page can read that answer too.
        .option_layer(cors_layer(cors))
        .map_response(into_body)
        // Whatever comes from further inside is a problem when it leaves here.
        .layer(ProblemLayer::new())
        .layer(CatchErrorLayer::new())
        .layer(TimeoutLayer::new(REQUEST_LIMIT))
        .layer(RequestBodyLimitLayer::new(MAX_BODY_BYTES))
        .service(routes(app))
}

/// The layers outside differ in the types of their bodies, and CORS wants one that can be empty.
fn into_body<B>(response: http::Response<B>) -> Response
where
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    response.map(Body::new)
}

/// What OWASP's REST Security Cheat Sheet asks of an API, so that no browser takes an answer for a
/// page. Not `Strict-Transport-Security`, which has no place on plain HTTP (RFC 6797 §7.2): the
/// proxy that ends TLS sets it.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 8] = [
    named("cache-control", "no-store"),
    named(
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    named("cross-origin-resource-policy", "same-origin"),
    named(
        "permissions-policy",
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    named("referrer-policy", "no-referrer"),
    named("x-content-type-options", "nosniff"),
    named("x-frame-options", "DENY"),
    named("x-permitted-cross-domain-policies", "none"),
];

const fn named(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    )
}

/// None at all without origins: an `OPTIONS` is then a method like any other.
fn cors_layer(origins: &CorsOrigins) -> Option<CorsLayer> {
    let origins = match origins {
        CorsOrigins::None => return None,
        CorsOrigins::Any => AllowOrigin::any(),
        CorsOrigins::List(origins) => AllowOrigin::list(origins.clone()),
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PATCH])
        .allow_headers([
            header::CONTENT_TYPE,
            HeaderName::from_static(CUSTOMER_HEADER),
            payments::KEY_HEADER,
            request_id::HEADER,
        ])
        .expose_headers([
            header::ALLOW,
            header::LOCATION,
            header::RETRY_AFTER,
            request_id::HEADER,
        ])
        .max_age(Duration::from_secs(600));
    Some(layer)
}

/// The path without the query, which may hold what does not belong in a log.
fn span<B>(request: &Request<B>) -> Span {
    let id = request.headers().get(request_id::HEADER);
    tracing::info_span!(
        "request",
        method = %request.method(),
        path = request.uri().path(),
        request_id = id.and_then(|id| id.to_str().ok()),
    )
}

fn log_response<B>(response: &http::Response<B>, latency: Duration, _span: &Span) {
    tracing::info!(
        status = response.status().as_u16(),
        latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
}
