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

const ERROR: OutOfCredit = OutOfCredit { balance: 30, accounts: ACCOUNTS };

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
        .with_extensions(Extensions { balance: 30, accounts: ACCOUNTS })
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
    http_problem::Problem::custom(http_02::StatusCode::FORBIDDEN, http_02::Uri::from_static(TYPE))
        .with_title(TITLE)
        .with_detail(DETAIL)
        .with_extension("balance", 30)
        .with_extension("accounts", ACCOUNTS)
}

/// What a service without a problem library would write.
fn response(status: StatusCode, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/problem+json"));
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
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let mut cx = Context::from_waker(Waker::noop());
    let _ = service.poll_ready(&mut cx);
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("the service answers at once"),
    }
}

fn main() {
    assert_eq!(ERROR.to_problem().to_json(), to_vec(&PLAIN), "all write the same document");
    assert_eq!(by_hand().to_json(), to_vec(&PLAIN));
    machine(&[
        "problem_details 0.11",
        "http-api-problem 0.60",
        "axum-problem 0.1.9",
        "http-problem 0.3",
    ]);

    let made = by_hand();
    table(
        "A document of 216 bytes with two extension members",
        &measure(vec![
            Case::new("`serde_json::to_vec` of the same struct", || to_vec(&PLAIN)),
            Case::new("purlin-problem, from the derived error", || ERROR.to_problem().into_json()),
            Case::new("purlin-problem, built by hand", || by_hand().into_json()),
            Case::new("purlin-problem, of a problem that is made", || made.to_json()),
            Case::new("problem_details", || to_vec(&problem_details())),
            Case::new("http-api-problem", || http_api_problem().json_bytes()),
            Case::new("axum-problem", || to_vec(&axum_problem())),
            Case::new("http-problem", || to_vec(&http_problem())),
        ]),
    );

    table(
        "The same as a response",
        &measure(vec![
            Case::new("`serde_json::to_vec` and one header", || {
                response(StatusCode::FORBIDDEN, to_vec(&PLAIN))
            }),
            Case::new("purlin-problem, from the derived error", || ERROR.to_problem().into_http()),
            Case::new("problem_details, and one header", || {
                response(StatusCode::FORBIDDEN, to_vec(&problem_details()))
            }),
            Case::new("http-api-problem, and one header", || {
                response(StatusCode::FORBIDDEN, http_api_problem().json_bytes())
            }),
            Case::new("axum-problem (axum 0.7)", || axum_problem().into_response()),
            Case::new("http-problem, and one header", || {
                response(StatusCode::FORBIDDEN, to_vec(&http_problem()))
            }),
        ]),
    );

    table(
        "404 and nothing more, as a response",
        &measure(vec![
            Case::new("a static body and one header", || {
                let mut response = Response::new(Bytes::from_static(b"{\"status\":404}"));
                *response.status_mut() = StatusCode::NOT_FOUND;
                let value = HeaderValue::from_static("application/problem+json");
                response.headers_mut().insert("content-type", value);
                response
            }),
            Case::new("purlin-problem", || Problem::new(&blank::NOT_FOUND).into_http()),
            Case::new("problem_details, and one header", || {
                let details =
                    problem_details::ProblemDetails::from_status_code(StatusCode::NOT_FOUND);
                response(StatusCode::NOT_FOUND, to_vec(&details))
            }),
            Case::new("http-api-problem, and one header", || {
                let status = http_api_problem::StatusCode::NOT_FOUND;
                let problem = http_api_problem::HttpApiProblem::with_title_and_type(status);
                response(StatusCode::NOT_FOUND, problem.json_bytes())
            }),
            Case::new("axum-problem (axum 0.7)", || {
                axum_problem::Problem::not_found().into_response()
            }),
            Case::new("http-problem, and one header", || {
                let problem = http_problem::Problem::from_status(http_02::StatusCode::NOT_FOUND);
                response(StatusCode::NOT_FOUND, to_vec(&problem))
            }),
        ]),
    );

    let mut bare = service_fn(ok);
    let mut ours = ProblemLayer::new().layer(service_fn(ok));
    let mut catch_panic = CatchPanicLayer::new().layer(service_fn(ok));
    let figures = measure(vec![
        Case::new("the service alone, with its request", || run(&mut bare)),
        Case::new("with `ProblemLayer`", || run(&mut ours)),
        Case::new("with tower-http's `CatchPanicLayer`", || run(&mut catch_panic)),
    ]);
    table("A success through the layer", &figures);
    println!("\n`ProblemLayer` adds {:.0} ns to a success.", figures[1].ns - figures[0].ns);
}
