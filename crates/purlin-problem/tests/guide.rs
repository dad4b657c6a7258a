//! The guide's code: what `docs/problem.md` shows is compiled here word for word, and run.

// The guide is laid out for reading.
#![cfg_attr(rustfmt, rustfmt_skip)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::{ServiceExt as _, service_fn};

type OrderId = u64;
type ProductId = &'static str;

#[derive(Serialize)]
struct Order {
    id: OrderId,
}

#[derive(Deserialize)]
struct NewOrder {
    items: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Bought {
    All,
    Only(u32),
}

#[derive(Debug, thiserror::Error, Problem)]
enum PaymentError {
    #[error("account 4711 is empty")]
    #[problem(status = 402, slug = "declined", title = "The payment was declined")]
    Declined,
}

/// Order 1 is there, 2 cannot be read, and no other one is.
#[derive(Clone)]
struct Orders;

impl Orders {
    async fn find(&self, id: OrderId) -> Result<Option<Order>, std::io::Error> {
        match id {
            2 => Err(std::io::Error::other("disk")),
            id => Ok((id == 1).then_some(Order { id })),
        }
    }
}

use purlin_problem::{Problem, ProblemType};

#[derive(Debug, thiserror::Error, Problem)]
enum OrderError {
    /// The order was never made, or it is somebody else's.
    #[error("order {id} missing in shard {shard}")]                       // the log reads this
    #[problem(status = 404, slug = "order-not-found", title = "Order not found")]
    #[problem(detail = "There is no order {id}.")]                        // the client reads this
    NotFound { id: OrderId, shard: u8 },

    #[error("short of {product}")]
    #[problem(of = OUT_OF_STOCK)]                                         // a static, see below
    OutOfStock { #[problem(ext)] product: ProductId, #[problem(ext)] available: u32 },

    #[error("quota of {tenant}")]
    #[problem(iana = "quota-exceeded")]
    Limited { tenant: String, #[problem(header = "retry-after")] after: Duration },

    #[error(transparent)]
    #[problem(transparent)]
    Payment(#[from] PaymentError),                                        // has a derive of its own

    #[error("database failed")]
    #[problem(internal)]
    Database(#[from] std::io::Error),                                     // 500; only the log knows
}

static OUT_OF_STOCK: ProblemType =
    ProblemType::slug(StatusCode::CONFLICT, "out-of-stock", "Out of stock")
        .with_description("Fewer items are in stock than were ordered.");

use purlin_problem::ResultExt as _;
use purlin_problem::extract::{Json, Path};

async fn show(State(orders): State<Orders>, Path(id): Path<OrderId>) -> Result<Json<Order>, Problem> {
    let order = orders.find(id).await.internal()?;          // any error: 500, kept for the log
    Ok(Json(order.ok_or(OrderError::NotFound { id, shard: 0 })?))
}

use purlin_problem::{JsonPointer, Violation, Violations};

async fn create(Json(order): Json<NewOrder>) -> Result<StatusCode, Problem> {
    let mut violations = Violations::new();
    if order.items.is_empty() {
        violations.push(Violation::new("must have an item").with_code("length")
            .at_pointer(JsonPointer::root().key("items")));
    }
    violations.into_result()?;
    Ok(StatusCode::CREATED)
}

use garde::Validate;
use purlin_problem::{WireNames, extract::Valid};

#[derive(Deserialize, Validate, WireNames)]
#[serde(rename_all = "camelCase")]
struct Customer {
    #[garde(length(min = 1))]
    first_name: String,
}

async fn register(Valid(Json(customer)): Valid<Json<Customer>>) -> String {
    customer.first_name.clone()
}

use purlin_problem::{CatchErrorLayer, ProblemLayer, fallback};
use tower::{ServiceBuilder, load_shed::LoadShedLayer, timeout::TimeoutLayer};
use tower_http::{cors::CorsLayer, limit::RequestBodyLimitLayer, trace::TraceLayer};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

fn app(orders: Orders) -> Router {
    Router::new()
        .route("/orders", post(create))
        .route("/orders/{id}", get(show))
        .route("/customers", post(register))
        .fallback(fallback::not_found)
        .with_state(orders)
        .layer(ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid)) // before anything can fail
            .layer(PropagateRequestIdLayer::x_request_id())
            .layer(TraceLayer::new_for_http())                       // sees the final status
            .layer(CorsLayer::new())        // errors need its fields too, that of a panic included
            .layer(ProblemLayer::new())     // makes problems, logs causes, catches panics
            .layer(CatchErrorLayer::new())  // makes responses of the errors of the next two
            .layer(LoadShedLayer::new())
            .layer(TimeoutLayer::new(Duration::from_secs(10)))
            .layer(RequestBodyLimitLayer::new(64 * 1024)))           // its 413 is plain text
}

use purlin_problem::{Catalog, ConfigError, ToProblem as _, catch_error, violation};

fn with_catalog(app: Router) -> Result<Router, ConfigError> {
    let catalog = Catalog::builder()
        .with_types(OrderError::problem_types())
        .with_types([&violation::VALIDATION, &violation::PARAMETERS])
        .with_types([&catch_error::TIMEOUT, &catch_error::OVERLOADED])
        .build()?;
    Ok(app.nest_service("/problems", catalog))
}

use purlin_problem::{RequestBuilderExt as _, ResponseError, ResponseExt as _};

async fn order(client: &reqwest::Client, url: &str) -> Result<Bought, ResponseError> {
    let response = client.post(url).accept_problem().send().await?;
    match response.error_for_problem().await {
        Ok(_) => Ok(Bought::All),
        Err(ResponseError::Problem(problem)) if problem.is(&OUT_OF_STOCK) => {
            let available: Option<u32> = problem.details().extension("available");
            Ok(Bought::Only(available.unwrap_or(0)))
        }
        Err(error) => Err(error),
    }
}

async fn route<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Problem> {
    match request.uri().path() {
        "/" => Ok(Response::new(Full::from("hello"))),
        _ => Err(OrderError::NotFound { id: 7, shard: 0 })?,
    }
}

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

async fn handle<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response: Result<_, Problem> = route(request).await;
    Ok(response.unwrap_or_else(|problem| problem.into_http().map(Full::new)))
}

#[expect(dead_code, reason = "the README's, which is like the guide's with fewer layers")]
fn readme() {
let app: Router<Orders> =
    Router::new()
    .route("/orders/{id}", get(show))
    .fallback(fallback::not_found)
    .layer(ProblemLayer::new());
drop(app);
}

/// What the two say, without white space: the README's block has no type.
#[test]
fn every_block_of_the_guide_is_here() {
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let code = squeezed(include_str!("guide.rs"));
    let mut blocks = 0;
    for part in include_str!("../../../docs/problem.md").split("```rust\n").skip(1) {
        let (block, _) = part.split_once("```").unwrap();
        assert!(code.contains(&squeezed(block)), "not compiled here:\n{block}");
        blocks += 1;
    }
    assert!(blocks >= 8, "only {blocks} blocks were found");
    let readme = include_str!("../README.md").split("let app").nth(1).unwrap();
    let (block, _) = readme.split_once("```").unwrap();
    assert!(code.contains(&squeezed(block.trim_start_matches(" = "))), "not compiled here:\n{block}");
}

async fn ask(app: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 64 * 1024).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn sent(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

fn got(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_app_answers_what_the_guide_promises() {
    let app = with_catalog(app(Orders)).unwrap();
    assert_eq!(ask(&app, got("/orders/1")).await, (StatusCode::OK, json!({ "id": 1 })));
    for (path, status, title) in [
        ("/orders/3", 404, "Order not found"),
        ("/orders/2", 500, "Internal Server Error"),
        ("/nowhere", 404, "Not Found"),
    ] {
        let (line, body) = ask(&app, got(path)).await;
        assert_eq!((line.as_u16(), &body["title"]), (status, &json!(title)), "{path}");
        assert!(body["request_id"].is_string(), "{path}");
        assert!(!body.to_string().contains("disk"), "{body}");
    }
    for (path, body, pointer) in [
        ("/orders", r#"{"items":[]}"#, "#/items"),
        ("/customers", r#"{"firstName":""}"#, "#/firstName"),
    ] {
        let (line, body) = ask(&app, sent(path, body)).await;
        assert_eq!((line.as_u16(), &body["errors"][0]["pointer"]), (422, &json!(pointer)));
        let page = ask(&app, got(body["type"].as_str().unwrap())).await;
        assert_eq!(page.0, StatusCode::OK, "{}", body["type"]);
    }
    let large = ask(&app, sent("/orders", vec![b' '; 65 * 1024])).await;
    assert_eq!((large.0.as_u16(), &large.1["status"]), (413, &json!(413)));
}

#[tokio::test]
async fn the_client_reads_what_the_server_wrote() {
    let sold_out = async || -> Result<(), Problem> {
        Err(OrderError::OutOfStock { product: "lamp", available: 2 })?
    };
    let app = Router::new().route("/some", post(sold_out)).route("/all", post(async || "sold"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = reqwest::Client::new();
    assert_eq!(order(&client, &format!("{url}/some")).await.unwrap(), Bought::Only(2));
    assert_eq!(order(&client, &format!("{url}/all")).await.unwrap(), Bought::All);
}

#[tokio::test]
async fn a_service_without_axum() {
    let service = ServiceBuilder::new().layer(ProblemLayer::new()).service(service_fn(handle));
    for (path, status) in [("/", 200), ("/nowhere", 404)] {
        let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), status);
    }
}

#[test]
fn other_variants() {
    let errors = [
        (OrderError::from(PaymentError::Declined), 402),
        (OrderError::Limited { tenant: "acme".into(), after: Duration::from_secs(1) }, 429),
        (OrderError::from(std::io::Error::other("disk")), 500),
    ];
    for (error, status) in errors {
        assert_eq!(Problem::from(error).status(), status);
    }
}
