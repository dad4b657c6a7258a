//! What `#[derive(Problem)]` makes of each attribute.

use std::{fmt, time::Duration};

use allocation_counter::measure;
use http::{HeaderValue, Method};
use purlin_problem::{
    Challenge, GrpcCode, Problem, ProblemType, ToProblem, UnauthorizedType, blank, iana,
};
use serde_json::{Value, json};
use thiserror::Error;

static OUT_OF_STOCK: ProblemType =
    ProblemType::slug(http::StatusCode::CONFLICT, "out-of-stock", "Out of stock");
static TOKEN_REVOKED: UnauthorizedType =
    UnauthorizedType::slug("token-revoked", "The token was revoked");
static SCOPE: ProblemType = ProblemType::slug(
    http::StatusCode::FORBIDDEN,
    "scope",
    "The token's scope is too small",
);

/// What is internal says `secret`, so that a test can look for it.
#[derive(Debug, Error, Problem)]
enum OrderError {
    /// The order was never made, or it belongs to somebody else.
    ///
    /// Both look alike.
    #[error("secret: order {id} missing in shard {shard}")]
    #[problem(status = 404, slug = "order-not-found", title = "Order not found")]
    #[problem(detail = "Order {id} does not exist.")]
    NotFound { id: u64, shard: u8 },

    #[error("secret: {balance}")]
    #[problem(
        status = 403,
        type = "https://example.com/probs/out-of-credit",
        title = "You do not have enough credit.",
        description = "The account cannot pay."
    )]
    OutOfCredit {
        #[problem(ext)]
        balance: u32,
        #[problem(ext = "accounts")]
        list: Vec<String>,
    },

    #[error("secret limit")]
    #[problem(iana = "quota-exceeded", detail = "{0:?} and {{{1:>3}}}")]
    Limited(
        #[problem(header = "retry-after")] Duration,
        #[problem(ext(raw = "violated-policies"))] u8,
    ),

    #[error("secret expiry")]
    #[problem(
        status = 401,
        slug = "token-expired",
        title = "The token has expired",
        challenge = "Bearer error=\"invalid_token\""
    )]
    Expired,

    #[error("secret who")]
    #[problem(status = 401)]
    Anonymous {
        #[problem(challenge)]
        challenge: Challenge,
    },

    #[error("secret revocation")]
    #[problem(of = TOKEN_REVOKED, challenge = "Bearer")]
    Revoked,

    #[error("secret scope")]
    #[problem(of = SCOPE, challenge = "Bearer error=\"insufficient_scope\"", detail = "needs {0}")]
    Scope(&'static str),

    #[error("secret method")]
    #[problem(status = 405, detail = "{given} is not for orders")]
    Method {
        given: Method,
        #[problem(allow)]
        allowed: Vec<Method>,
    },

    #[error(transparent)]
    #[problem(transparent)]
    Stock(#[from] StockError),

    #[error("secret database")]
    #[problem(internal)]
    Database(#[from] std::io::Error),

    /// Doc comments do not describe `about:blank`.
    #[error("secret lock")]
    #[problem(status = 409)]
    Busy,

    #[error("secret lock 2")]
    #[problem(status = 409, grpc = "FAILED_PRECONDITION")]
    Locked {
        #[problem(header = "X-Lock")]
        holder: Option<HeaderValue>,
    },

    #[error("secret second look")]
    #[problem(status = 404, slug = "order-not-found", title = "Order not found")]
    NotFoundEither,
}

#[derive(Debug, Error, Problem)]
enum StockError {
    #[error("secret stock")]
    #[problem(of = OUT_OF_STOCK)]
    Out,
    #[error("secret stock database")]
    #[problem(internal)]
    Database,
}

fn document(error: &impl ToProblem) -> Value {
    serde_json::from_slice(&error.to_problem().to_json()).expect("a problem is JSON")
}

fn header(error: &impl ToProblem, name: &str) -> String {
    let response = error.to_problem().into_http();
    response.headers()[name]
        .to_str()
        .expect("the test's headers are text")
        .to_owned()
}

#[test]
fn the_detail_is_the_template_and_never_the_display_text() {
    assert_eq!(
        document(&OrderError::NotFound { id: 7, shard: 3 }),
        json!({
            "type": "/problems/order-not-found",
            "title": "Order not found",
            "status": 404,
            "detail": "Order 7 does not exist.",
        })
    );
    assert_eq!(document(&OrderError::NotFoundEither).get("detail"), None);
}

#[test]
fn extensions_stand_beside_the_standard_members() {
    let error = OrderError::OutOfCredit {
        balance: 30,
        list: vec!["/account/1\"".to_owned()],
    };
    let problem = error.to_problem();
    assert_eq!(
        String::from_utf8(problem.to_json()).unwrap(),
        r#"{"type":"https://example.com/probs/out-of-credit","title":"You do not have enough credit.","status":403,"balance":30,"accounts":["/account/1\""]}"#
    );
    assert_eq!(problem.to_json(), problem.into_json());
}

#[test]
fn iana_types_headers_and_raw_extension_names() {
    let error = OrderError::Limited(Duration::from_millis(1500), 9);
    let problem = error.to_problem();
    assert!(std::ptr::eq(
        problem.problem_type(),
        &raw const iana::QUOTA_EXCEEDED
    ));
    let document = document(&error);
    assert_eq!(document["violated-policies"], 9);
    assert_eq!(document["detail"], "1.5s and {  9}");
    assert_eq!(header(&error, "retry-after"), "2");
}

#[test]
fn every_401_has_its_challenge() {
    assert_eq!(
        header(&OrderError::Expired, "www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
    assert_eq!(
        document(&OrderError::Expired)["type"],
        "/problems/token-expired"
    );

    let error = OrderError::Anonymous {
        challenge: Challenge::bearer(),
    };
    assert_eq!(document(&error)["type"], "about:blank");
    assert_eq!(document(&error)["title"], "Unauthorized");
    assert_eq!(header(&error, "www-authenticate"), "Bearer");

    assert_eq!(OrderError::Revoked.to_problem().status(), 401);
    assert_eq!(header(&OrderError::Revoked, "www-authenticate"), "Bearer");
}

#[test]
fn another_status_may_have_a_challenge() {
    let error = OrderError::Scope("orders:write");
    assert_eq!(error.to_problem().status(), 403);
    assert_eq!(document(&error)["detail"], "needs orders:write");
    assert_eq!(
        header(&error, "www-authenticate"),
        "Bearer error=\"insufficient_scope\""
    );
}

#[test]
fn a_405_lists_the_methods() {
    let error = OrderError::Method {
        given: Method::PUT,
        allowed: vec![Method::GET, Method::POST],
    };
    assert_eq!(error.to_problem().status(), 405);
    assert_eq!(document(&error)["detail"], "PUT is not for orders");
    assert_eq!(header(&error, "allow"), "GET, POST");
}

#[test]
fn transparent_passes_on_the_inner_problem() {
    let problem = OrderError::Stock(StockError::Out).to_problem();
    assert!(std::ptr::eq(
        problem.problem_type(),
        &raw const OUT_OF_STOCK
    ));
}

#[test]
fn a_blank_problem_has_the_phrase_of_its_status() {
    assert_eq!(
        document(&OrderError::Busy),
        json!({ "type": "about:blank", "title": "Conflict", "status": 409 })
    );
}

#[test]
fn a_header_that_is_none_is_absent() {
    let error = OrderError::Locked { holder: None };
    assert!(
        !error
            .to_problem()
            .into_http()
            .headers()
            .contains_key("x-lock")
    );
    let error = OrderError::Locked {
        holder: Some(HeaderValue::from_static("me")),
    };
    assert_eq!(header(&error, "x-lock"), "me");
}

#[test]
fn the_grpc_code_can_be_named() {
    let code = |error: &OrderError| error.to_problem().problem_type().grpc_code();
    assert_eq!(code(&OrderError::Busy), GrpcCode::Aborted);
    assert_eq!(
        code(&OrderError::Locked { holder: None }),
        GrpcCode::FailedPrecondition
    );
}

fn every_error() -> Vec<OrderError> {
    vec![
        OrderError::NotFound { id: 7, shard: 3 },
        OrderError::OutOfCredit {
            balance: 30,
            list: Vec::new(),
        },
        OrderError::Limited(Duration::ZERO, 0),
        OrderError::Expired,
        OrderError::Anonymous {
            challenge: Challenge::bearer(),
        },
        OrderError::Revoked,
        OrderError::Scope("orders:write"),
        OrderError::Method {
            given: Method::PUT,
            allowed: Vec::new(),
        },
        OrderError::Stock(StockError::Out),
        OrderError::Stock(StockError::Database),
        OrderError::Database(std::io::Error::other("secret file")),
        OrderError::Busy,
        OrderError::Locked { holder: None },
        OrderError::NotFoundEither,
    ]
}

#[test]
fn no_response_has_the_display_text_and_every_log_has() {
    for error in every_error() {
        let problem = Problem::from(error);
        let source = problem.source().expect("`?` keeps the error").to_string();
        assert!(source.contains("secret"), "{source}");
        let response = problem.into_http();
        let wire = format!(
            "{:?} {}",
            response.headers(),
            String::from_utf8_lossy(response.body())
        );
        assert!(!wire.contains("secret"), "{wire}");
    }
}

#[test]
fn the_question_mark_keeps_the_whole_chain() {
    fn read() -> Result<(), Problem> {
        Err(OrderError::from(std::io::Error::other("secret file")))?
    }
    let problem = read().unwrap_err();
    assert_eq!(problem.status(), 500);
    let source = problem.source().unwrap();
    assert!(source.downcast_ref::<OrderError>().is_some());
    assert_eq!(source.source().unwrap().to_string(), "secret file");
}

#[test]
fn every_type_is_listed_once() {
    let types = OrderError::problem_types();
    let listed: Vec<(&str, u16)> = types
        .iter()
        .map(|ty| (ty.uri(), ty.status().as_u16()))
        .collect();
    assert_eq!(
        listed,
        [
            ("/problems/order-not-found", 404),
            ("https://example.com/probs/out-of-credit", 403),
            (
                "https://iana.org/assignments/http-problem-types#quota-exceeded",
                429
            ),
            ("/problems/token-expired", 401),
            ("about:blank", 401),
            ("/problems/token-revoked", 401),
            ("/problems/scope", 403),
            ("about:blank", 405),
            // `Database`, once although `StockError` has it too.
            ("about:blank", 500),
            ("about:blank", 409),
            ("about:blank", 409),
            ("/problems/out-of-stock", 409),
        ]
    );
    for error in every_error() {
        let ty = error.to_problem().problem_type();
        assert!(
            types.iter().any(|listed| std::ptr::eq(*listed, ty)),
            "{ty:?}"
        );
    }
}

#[test]
fn the_description_is_given_or_the_doc_comment() {
    let types = OrderError::problem_types();
    let described = |uri: &str| {
        types
            .iter()
            .find(|ty| ty.uri() == uri)
            .map(|ty| ty.description())
    };
    assert_eq!(
        described("/problems/order-not-found"),
        Some("The order was never made, or it belongs to somebody else.\n\nBoth look alike.")
    );
    assert_eq!(
        described("https://example.com/probs/out-of-credit"),
        Some("The account cannot pay.")
    );
    assert_eq!(described("/problems/token-expired"), Some(""));
    assert!(
        types
            .iter()
            .all(|ty| ty.uri() != "about:blank" || ty.description().is_empty())
    );
}

#[test]
fn a_struct_is_one_problem() {
    #[derive(Debug, Error, Problem)]
    #[error("secret")]
    #[problem(
        status = 422,
        slug = "bad-rate",
        title = "Bad rate",
        detail = "{0} is no {1:?}"
    )]
    struct Rate(#[problem(ext = "rate")] i32, &'static str);

    #[derive(Debug, Error, Problem)]
    #[error("secret")]
    #[problem(status = 503)]
    struct Unit;

    let error = Rate(-1, "percentage");
    assert_eq!(document(&error)["detail"], "-1 is no \"percentage\"");
    assert_eq!(document(&error)["rate"], -1);
    assert_eq!(Unit.to_problem().status(), 503);
    assert_eq!(Rate::problem_types().len(), 1);
}

#[test]
fn generic_errors_need_only_what_they_use() {
    struct Opaque;
    impl fmt::Debug for Opaque {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("opaque")
        }
    }

    #[derive(Debug, Error, Problem)]
    enum Bad<'a, T, U, E, const N: usize>
    where
        T: Clone,
    {
        #[error("secret")]
        #[problem(status = 400, detail = "{value:?} and {text}")]
        Value {
            value: T,
            text: &'a str,
            #[problem(ext)]
            list: Vec<U>,
            numbers: [u8; N],
        },
        #[error("secret")]
        #[problem(transparent)]
        Inner(E),
    }

    #[derive(Clone, Debug)]
    struct NoDisplay;

    let error: Bad<'_, _, _, StockError, 2> = Bad::Value {
        value: NoDisplay,
        text: "x",
        list: vec![1],
        numbers: [1, 2],
    };
    assert_eq!(document(&error)["detail"], "NoDisplay and x");
    assert_eq!(document(&error)["list"], json!([1]));
    let inner: Bad<'_, NoDisplay, u8, _, 0> = Bad::Inner(StockError::Out);
    assert_eq!(inner.to_problem().status(), 409);
    // `U` needs `Serialize` for the trait only, not to exist.
    let _: Option<Bad<'_, NoDisplay, Opaque, StockError, 0>> = None;
}

#[test]
fn an_error_that_cannot_happen() {
    #[derive(Debug, Error, Problem)]
    enum Never {}
    assert!(Never::problem_types().is_empty());
}

#[test]
fn raw_names_are_written_without_their_prefix() {
    #[derive(Debug, Error, Problem)]
    enum Raw {
        #[error("secret")]
        #[problem(status = 400, detail = "{match}")]
        r#While {
            #[problem(ext)]
            r#match: u8,
        },
    }
    let error = Raw::r#While { r#match: 3 };
    assert_eq!(document(&error)["match"], 3);
    assert_eq!(document(&error)["detail"], "3");
}

#[test]
fn a_detail_is_escaped_where_it_must_be() {
    #[derive(Debug, Error, Problem)]
    #[error("secret")]
    #[problem(status = 400, detail = "{0}{{\"}}")]
    struct Bad(&'static str);
    for text in [
        "plain",
        "quo\"te",
        "back\\slash",
        "line\nfeed",
        "nul\0",
        "ü\u{7f}",
    ] {
        assert_eq!(document(&Bad(text))["detail"], format!("{text}{{\"}}"));
    }

    #[derive(Debug, Error, Problem)]
    #[error("secret")]
    #[problem(status = 400, detail = "{0} is bad")]
    struct Plain(&'static str);
    for text in [
        "plain",
        "quo\"te",
        "back\\slash",
        "line\nfeed",
        "nul\0",
        "ü\u{7f}",
    ] {
        assert_eq!(document(&Plain(text))["detail"], format!("{text} is bad"));
    }
}

#[test]
fn a_typed_error_costs_the_box_and_the_document() {
    let error = OrderError::OutOfCredit {
        balance: 30,
        list: vec!["/account/1".to_owned()],
    };
    assert_eq!(
        measure(|| drop(error.to_problem().into_json())).count_total,
        2
    );
    let busy = OrderError::Busy;
    assert_eq!(measure(|| drop(busy.to_problem())).count_total, 0);
}

#[test]
fn wrong_use_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/*.rs");
}

#[test]
fn the_blank_types_are_those_of_the_crate_where_they_can_be() {
    let problem = OrderError::Database(std::io::Error::other("x")).to_problem();
    assert!(std::ptr::eq(
        problem.problem_type(),
        &raw const blank::INTERNAL_SERVER_ERROR
    ));
}
