//! purlin-problem beside its peers.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum_07::response::IntoResponse as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use purlin_benches::{Case, machine, measure, table};
use purlin_problem::{ExtName, Problem, ProblemLayer, ProblemType, ToProblem, blank};
use serde::Serialize;
use tower::{Layer, Service, service_fn};
use tower_http::catch_panic::CatchPanicLayer;

const BY_HAND: &str = "`serde_json::to_vec` of a struct, or a static body";
const PROBLEM_DETAILS: &str = "problem_details 0.11";
const HTTP_API_PROBLEM: &str = "http-api-problem 0.60";
const AXUM_PROBLEM: &str = "axum-problem 0.1.9, of axum 0.7";
const HTTP_PROBLEM: &str = "http-problem 0.3, with a backtrace";

const TYPE: &str = "https://example.com/probs/out-of-credit";
const TITLE: &str = "You do not have enough credit.";
const DETAIL: &str = "Your current balance is 30, but that costs 50.";
const ACCOUNTS: [&str; 2] = ["/account/12345", "/account/67890"];

#[derive(Serialize)]
struct Plain {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    balance: u32,
    accounts: [&'static str; 2],
}

const PLAIN: Plain = Plain {
    r#type: TYPE,
    title: TITLE,
    status: 403,
    detail: DETAIL,
    balance: 30,
    accounts: ACCOUNTS,
};

#[derive(Debug, thiserror::Error, Problem)]
#[error("balance {balance}")]
#[problem(
    status = 403,
    type = "https://example.com/probs/out-of-credit",
    title = "You do not have enough credit.",
    detail = "Your current balance is 30, but that costs 50."
)]
struct OutOfCredit {
    #[problem(ext)]
    balance: u32,
    #[problem(ext)]
    accounts: [&'static str; 2],
}

const ERROR: OutOfCredit = OutOfCredit {
    balance: 30,
    accounts: ACCOUNTS,
};

static OUT_OF_CREDIT: ProblemType = ProblemType::new(StatusCode::FORBIDDEN, TYPE, TITLE);

fn by_hand() -> Problem {
    const BALANCE: ExtName = ExtName::new("balance");
    const ACCOUNT_LIST: ExtName = ExtName::new("accounts");
    Problem::new(&OUT_OF_CREDIT)
        .with_detail(DETAIL)
        .with_ext(BALANCE, &30)
        .with_ext(ACCOUNT_LIST, &ACCOUNTS)
}

#[derive(Serialize)]
struct Extensions {
    balance: u32,
    accounts: [&'static str; 2],
}

fn problem_details() -> problem_details::ProblemDetails<Extensions> {
    problem_details::ProblemDetails::new()
        .with_type(http::Uri::from_static(TYPE))
        .with_title(TITLE)
        .with_status(StatusCode::FORBIDDEN)
        .with_detail(DETAIL)
        .with_extensions(Extensions {
            balance: 30,
            accounts: ACCOUNTS,
        })
}

fn http_api_problem() -> http_api_problem::HttpApiProblem {
    http_api_problem::HttpApiProblem::new(http_api_problem::StatusCode::FORBIDDEN)
        .type_url(TYPE)
        .title(TITLE)
        .detail(DETAIL)
        .value("balance", &30)
        .value("accounts", &ACCOUNTS)
}

fn axum_problem() -> axum_problem::Problem {
    axum_problem::Problem::new(403)
        .problem_type(TYPE)
        .title(TITLE)
        .detail(DETAIL)
        .extension("balance", 30)
        .extension("accounts", ACCOUNTS.to_vec())
}

fn http_problem() -> http_problem::Problem {
    http_problem::Problem::custom(
        http_02::StatusCode::FORBIDDEN,
        http_02::Uri::from_static(TYPE),
    )
    .with_title(TITLE)
    .with_detail(DETAIL)
    .with_extension("balance", 30)
    .with_extension("accounts", ACCOUNTS)
}

/// What a service without a problem library would write.
fn response(status: StatusCode, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        "content-type",
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

fn ok(_: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::new(Bytes::from_static(b"fine")))))
}

fn run<S: Service<Request<()>>>(service: &mut S) -> S::Response {
    let mut request = Request::new(());
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-request-id", "0188cc4a-9d2c-7e0a-8000-000000000000"),
        ("accept", "*/*"),
    ] {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let mut cx = Context::from_waker(Waker::noop());
    let _ = service.poll_ready(&mut cx);
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("the service answers at once"),
    }
}

fn main() {
    assert_eq!(
        ERROR.to_problem().to_json(),
        to_vec(&PLAIN),
        "all write the same document"
    );
    assert_eq!(by_hand().to_json(), to_vec(&PLAIN));
    machine();

    let made = by_hand();
    let documents = measure(vec![
        Case::new(BY_HAND, || to_vec(&PLAIN)),
        Case::new("purlin-problem, derived", || ERROR.to_problem().into_json()),
        Case::new("purlin-problem, built", || by_hand().into_json()),
        Case::new("purlin-problem, built before", || made.to_json()),
        Case::new(PROBLEM_DETAILS, || to_vec(&problem_details())),
        Case::new(HTTP_API_PROBLEM, || http_api_problem().json_bytes()),
        Case::new(AXUM_PROBLEM, || to_vec(&axum_problem())),
        Case::new(HTTP_PROBLEM, || to_vec(&http_problem())),
    ]);
    // Where a peer makes no response of the `http` crate, the document gets one header.
    let forbidden = |document| response(StatusCode::FORBIDDEN, document);
    let responses = measure(vec![
        Case::new(BY_HAND, || forbidden(to_vec(&PLAIN))),
        Case::new("purlin-problem, derived", || ERROR.to_problem().into_http()),
        Case::new("purlin-problem, built", || by_hand().into_http()),
        Case::new(PROBLEM_DETAILS, || forbidden(to_vec(&problem_details()))),
        Case::new(HTTP_API_PROBLEM, || {
            forbidden(http_api_problem().json_bytes())
        }),
        Case::new(AXUM_PROBLEM, || axum_problem().into_response()),
        Case::new(HTTP_PROBLEM, || forbidden(to_vec(&http_problem()))),
    ]);
    let not_found = |document| response(StatusCode::NOT_FOUND, document);
    let bare = measure(vec![
        Case::new(BY_HAND, || {
            let mut response = Response::new(Bytes::from_static(b"{\"status\":404}"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            let value = HeaderValue::from_static("application/problem+json");
            response.headers_mut().insert("content-type", value);
            response
        }),
        Case::new("purlin-problem, built", || {
            Problem::new(&blank::NOT_FOUND).into_http()
        }),
        Case::new(PROBLEM_DETAILS, || {
            let status = StatusCode::NOT_FOUND;
            not_found(to_vec(&problem_details::ProblemDetails::from_status_code(
                status,
            )))
        }),
        Case::new(HTTP_API_PROBLEM, || {
            let status = http_api_problem::StatusCode::NOT_FOUND;
            let problem = http_api_problem::HttpApiProblem::with_title_and_type(status);
            not_found(problem.json_bytes())
        }),
        Case::new(AXUM_PROBLEM, || {
            axum_problem::Problem::not_found().into_response()
        }),
        Case::new(HTTP_PROBLEM, || {
            let status = http_02::StatusCode::NOT_FOUND;
            not_found(to_vec(&http_problem::Problem::from_status(status)))
        }),
    ]);
    table(&[
        ("document, 216 bytes", documents),
        ("the same as a response", responses),
        ("404 without more, as a response", bare),
    ]);

    let mut alone = service_fn(ok);
    let mut ours = ProblemLayer::new().layer(service_fn(ok));
    let mut catch_panic = CatchPanicLayer::new().layer(service_fn(ok));
    let successes = measure(vec![
        Case::new("the service alone, with its request", || run(&mut alone)),
        Case::new("with `ProblemLayer`", || run(&mut ours)),
        Case::new("with tower-http's `CatchPanicLayer`", || {
            run(&mut catch_panic)
        }),
    ]);
    table(&[("a success", successes)]);
}
