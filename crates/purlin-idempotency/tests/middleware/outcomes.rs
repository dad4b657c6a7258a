//! The whole table of what is kept, forgotten and uncertain.

use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use purlin_idempotency::{IdempotencyLayer, LeaseLost, Leased, Outcome};
use purlin_problem::{Problem, ProblemType, Violation, Violations, blank, violation};

use crate::common::{Body, Handler, Reply, full, layer, post, reply, send};

const FORGOTTEN: [u16; 15] = [
    401, 403, 407, 408, 411, 413, 414, 415, 417, 421, 425, 426, 428, 429, 431,
];

fn expected(status: u16) -> Outcome {
    match status {
        500.. => Outcome::Uncertain,
        _ if FORGOTTEN.contains(&status) => Outcome::Forget,
        _ => Outcome::Keep,
    }
}

/// What a retry shows to have become of an answer.
async fn outcome(layer: &IdempotencyLayer<Leased>, handler: &Handler) -> Outcome {
    let first = send(layer, handler, post("k")).await;
    let calls = handler.calls();
    let retry = send(layer, handler, post("k")).await;
    let is_executed = handler.calls() > calls;
    assert!(
        first.rejection.is_none(),
        "the handler's own answer comes first"
    );
    match (retry.is_replay(), is_executed) {
        (true, false) => {
            assert_eq!((retry.status, &retry.body), (first.status, &first.body));
            Outcome::Keep
        }
        (false, true) => Outcome::Forget,
        (false, false) => {
            assert_eq!(retry.status, StatusCode::CONFLICT);
            assert_eq!(retry.problem(), "idempotency-indeterminate");
            Outcome::Uncertain
        }
        (true, true) => panic!("replayed and executed"),
    }
}

fn with(status: u16, outcome: Option<Outcome>) -> Handler {
    Handler::saying(move |_| {
        let mut response = reply(StatusCode::from_u16(status).expect("in range"), "said");
        if let Some(outcome) = outcome {
            response.extensions_mut().insert(outcome);
        }
        response
    })
}

#[tokio::test]
async fn every_status() {
    for status in 200..=599 {
        let outcome = outcome(&layer(), &with(status, None)).await;
        assert_eq!(outcome, expected(status), "{status}");
    }
}

#[tokio::test]
async fn what_the_handler_says_counts_more() {
    for status in [
        200, 201, 204, 302, 304, 400, 401, 402, 403, 409, 422, 429, 500, 503,
    ] {
        for said in [Outcome::Keep, Outcome::Forget, Outcome::Uncertain] {
            let by_handler = outcome(&layer(), &with(status, Some(said))).await;
            assert_eq!(by_handler, said, "{status}");
            let by_route = layer().with_outcome(move |_| Some(said));
            assert_eq!(
                outcome(&by_route, &with(status, None)).await,
                said,
                "{status}"
            );
            let other = layer().with_outcome(|_| Some(Outcome::Uncertain));
            let by_handler = outcome(&other, &with(status, Some(said))).await;
            assert_eq!(by_handler, said, "the handler's own word is the last");
        }
        let no_opinion = layer().with_outcome(|_| None);
        let by_table = outcome(&no_opinion, &with(status, None)).await;
        assert_eq!(by_table, expected(status), "{status}");
    }
}

#[tokio::test]
async fn reexecute_turns_uncertain_into_another_attempt() {
    let layer = layer().with_lease_lost(LeaseLost::Reexecute);
    assert_eq!(outcome(&layer, &with(500, None)).await, Outcome::Forget);
    assert_eq!(
        outcome(&layer.clone().with_namespace("a"), &with(200, None)).await,
        Outcome::Keep
    );
    let said = with(200, Some(Outcome::Uncertain));
    assert_eq!(
        outcome(&layer.with_namespace("b"), &said).await,
        Outcome::Forget
    );
}

fn problem(make: impl Fn() -> Problem + Send + Sync + 'static) -> Handler {
    Handler::saying(move |_| make().into_http().map(full))
}

#[tokio::test]
async fn what_was_not_valid_is_forgotten_and_other_problems_are_kept() {
    let violations = || {
        let mut violations = Violations::default();
        violations.push(Violation::new("must not be empty"));
        violations
    };
    let invalid = problem(move || Problem::invalid(violations()));
    assert_eq!(outcome(&layer(), &invalid).await, Outcome::Forget);
    let parameters = problem(|| Problem::new(&violation::PARAMETERS));
    assert_eq!(outcome(&layer(), &parameters).await, Outcome::Forget);

    static OWN_422: ProblemType =
        ProblemType::slug(StatusCode::UNPROCESSABLE_ENTITY, "sold-out", "Sold out");
    let own = problem(|| Problem::new(&OWN_422));
    assert_eq!(outcome(&layer(), &own).await, Outcome::Keep);
    let plain = problem(|| Problem::new(&blank::BAD_REQUEST));
    assert_eq!(outcome(&layer(), &plain).await, Outcome::Keep);
    let broken = Handler::saying(|_| {
        let mut response: Response<Body> = reply(StatusCode::UNPROCESSABLE_ENTITY, "{");
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    });
    assert_eq!(outcome(&layer(), &broken).await, Outcome::Keep);
}

#[tokio::test]
async fn a_forgotten_answer_leaves_nothing() {
    let store = purlin_idempotency::MemoryStore::new();
    let layer = IdempotencyLayer::leased(store.clone()).single_tenant();
    let first: Reply = send(&layer, &with(429, None), post("k")).await;
    assert_eq!(first.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(store.is_empty());
}
