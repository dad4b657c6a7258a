use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderName, StatusCode};
use purlin_problem::{
    JsonPointer, Problem, ProblemType, Violation, Violations,
    extract::{Json, Query},
    fallback,
};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::fake_provider::{
    Knobs, Settings,
    knobs::Fate,
    ledger::{Entry, Ledger, NoCharge},
};

const MAX_BODY_BYTES: usize = 16 * 1024;
const MAX_REFERENCE_CHARS: usize = 255;
const MAX_KEY_BYTES: usize = 255;

static BAD_REQUEST: ProblemType = ProblemType::blank(StatusCode::BAD_REQUEST);
static REFUSED: ProblemType = ProblemType::blank(StatusCode::PAYMENT_REQUIRED);
static UNPROCESSABLE: ProblemType = ProblemType::blank(StatusCode::UNPROCESSABLE_ENTITY);
static FAILED: ProblemType = ProblemType::blank(StatusCode::INTERNAL_SERVER_ERROR);

#[derive(Debug, Clone)]
struct Provider(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    knobs: Knobs,
    random: fastrand::Rng,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateCharge {
    reference: String,
    amount_cents: i64,
}

#[derive(Debug, Serialize)]
struct List {
    items: Vec<Entry>,
}

/// Marks the answer that is not to be given.
#[derive(Debug, Clone, Copy)]
struct HangUp;

pub(super) fn service(settings: &Settings) -> Router {
    let inner = Inner {
        ledger: Ledger::default(),
        knobs: settings.knobs,
        random: fastrand::Rng::with_seed(settings.seed),
    };
    Router::new()
        .route("/charges", post(charge))
        .route("/ledger", get(ledger))
        .route("/knobs", get(knobs).put(set_knobs))
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Provider(Arc::new(Mutex::new(inner))))
}

/// An error for an answer that is not to be given.
pub(super) fn or_hang_up(answer: Result<Response, Infallible>) -> io::Result<Response> {
    let Ok(response) = answer;
    match response.extensions().get::<HangUp>() {
        Some(HangUp) => Err(io::Error::other("told to hang up after the charge")),
        None => Ok(response),
    }
}

async fn charge(
    State(provider): State<Provider>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    Json(new): Json<CreateCharge>,
) -> Result<Response, Problem> {
    let knobs = changed(provider.lock().knobs, &query)?;
    let key = key(&headers)?;
    new.check()?;
    let fate = knobs.fate(&mut provider.lock().random);
    if fate == Fate::Hangs {
        return std::future::pending().await;
    }
    // In a task of its own: a charge that has begun is made, also when the client has left.
    let charged = tokio::spawn(async move {
        sleep(knobs.latency()).await;
        if fate == Fate::Fails {
            return Err(Problem::new(&FAILED).with_detail("told to fail before the charge"));
        }
        let ledger = &mut provider.lock().ledger;
        if fate == Fate::Refuses {
            ledger.refuse(&key);
        }
        ledger
            .charge(&key, &new.reference, new.amount_cents)
            .map_err(|no_charge| match no_charge {
                NoCharge::KeyReused => {
                    Problem::new(&UNPROCESSABLE).with_detail("the key belongs to another charge")
                }
                NoCharge::Refused => Problem::new(&REFUSED).with_detail("told to refuse it"),
            })
    });
    let charge = charged.await.map_err(Problem::internal)??;
    let mut response = (StatusCode::CREATED, axum::Json(charge)).into_response();
    if fate == Fate::DropsAfterCharge {
        response.extensions_mut().insert(HangUp);
    }
    Ok(response)
}

async fn ledger(State(provider): State<Provider>) -> axum::Json<List> {
    let items = provider.lock().ledger.entries().to_vec();
    axum::Json(List { items })
}

async fn knobs(State(provider): State<Provider>) -> axum::Json<Knobs> {
    axum::Json(provider.lock().knobs)
}

/// Those that are not named go back to zero.
async fn set_knobs(
    State(provider): State<Provider>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<axum::Json<Knobs>, Problem> {
    let knobs = changed(Knobs::default(), &query)?;
    provider.lock().knobs = knobs;
    Ok(axum::Json(knobs))
}

impl Provider {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CreateCharge {
    fn check(&self) -> Result<(), Problem> {
        let mut violations = Violations::new();
        let mut refuse = |member: &str, code: &'static str, detail: &'static str| {
            let pointer = JsonPointer::root().key(member);
            violations.push(Violation::new(detail).with_code(code).at_pointer(pointer));
        };
        if !(1..=MAX_REFERENCE_CHARS).contains(&self.reference.chars().count()) {
            refuse("reference", "length", "must have 1 to 255 characters");
        }
        if self.amount_cents < 0 {
            refuse("amount_cents", "range", "must be 0 or more");
        }
        violations.into_result()
    }
}

/// The knobs with what the query says of them, or everything that is wrong with it.
fn changed(mut knobs: Knobs, query: &[(String, String)]) -> Result<Knobs, Problem> {
    let mut violations = Violations::new();
    for (name, value) in query {
        if let Err(reason) = knobs.set(name, value) {
            let violation = Violation::new(reason).with_code("knob");
            violations.push(violation.at_parameter(name.clone()));
        }
    }
    violations.into_result()?;
    Ok(knobs)
}

/// The key as it was sent, quotes and all: it is only compared.
fn key(headers: &HeaderMap) -> Result<String, Problem> {
    const NAME: HeaderName = HeaderName::from_static("idempotency-key");
    let mut values = headers.get_all(NAME).iter();
    let key = values.next().and_then(|value| value.to_str().ok());
    let key = key.filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
    match (key, values.next()) {
        (Some(key), None) => Ok(key.to_owned()),
        _ => {
            let violation = Violation::new("must have 1 to 255 ASCII characters and stand once")
                .with_code("format")
                .at_header(NAME);
            Err(Problem::new(&BAD_REQUEST).with_violations(violation.into()))
        }
    }
}
