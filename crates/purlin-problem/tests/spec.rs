//! RFC 9457, one test for each MUST and SHOULD, named by its section; then the defects that were
//! found in other libraries, as tests of this one; then properties that hold for any input.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{json, unique_object};
use http::{HeaderMap, Method, StatusCode, header};
use proptest::prelude::*;
use purlin_problem::{
    Challenge, ExtName, JsonPointer, Problem, ProblemDetails, ProblemType, ResultExt, UriRef,
    Violation, Violations, blank, iana,
};
use serde_json::json;

const BALANCE: ExtName = ExtName::new("balance");
const ACCOUNTS: ExtName = ExtName::new("accounts");

static OUT_OF_CREDIT: ProblemType = ProblemType::new(
    StatusCode::FORBIDDEN,
    "https://example.com/probs/out-of-credit",
    "You do not have enough credit.",
);

fn read(document: &serde_json::Value) -> ProblemDetails {
    ProblemDetails::from_json(document.to_string().as_bytes()).expect("an object")
}

#[test]
fn s3_the_example_of_the_specification_is_written_as_it_stands_there() {
    let response = Problem::new(&OUT_OF_CREDIT)
        .with_detail(format_args!(
            "Your current balance is {}, but that costs {}.",
            30, 50
        ))
        .with_instance(UriRef::from_static("/account/12345/msgs/abc"))
        .with_ext(BALANCE, &30)
        .with_ext(ACCOUNTS, &["/account/12345", "/account/67890"])
        .with_header(header::CONTENT_LANGUAGE, "en".parse().expect("a value"))
        .into_http();
    assert_eq!(response.status(), 403);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(response.headers()["content-language"], "en");
    assert_eq!(
        unique_object(response.body()),
        json!({
            "type": "https://example.com/probs/out-of-credit",
            "title": "You do not have enough credit.",
            "status": 403,
            "detail": "Your current balance is 30, but that costs 50.",
            "instance": "/account/12345/msgs/abc",
            "balance": 30,
            "accounts": ["/account/12345", "/account/67890"],
        }),
    );
}

#[test]
fn s3_several_problems_of_one_type_are_one_problem_with_a_list() {
    let mut violations = Violations::new();
    violations.push(
        Violation::new("must be a positive integer").at_pointer(JsonPointer::root().key("age")),
    );
    violations.push(
        Violation::new("must be 'green', 'red' or 'blue'")
            .at_pointer(JsonPointer::root().key("profile").key("color")),
    );
    let response = Problem::invalid(violations).into_http();
    assert_eq!(response.status(), 422);
    assert_eq!(
        unique_object(response.body())["errors"],
        json!([
            {"detail": "must be a positive integer", "pointer": "#/age"},
            {"detail": "must be 'green', 'red' or 'blue'", "pointer": "#/profile/color"},
        ]),
    );
}

#[test]
fn a_violation_says_where_it_is_by_one_of_three() {
    let violation = || Violation::new("must be 1 or more");
    let places = [
        violation().at_pointer(JsonPointer::root().key("age")),
        violation().at_parameter("age"),
        violation().at_header(header::AGE),
        violation(),
    ]
    .map(|violation| {
        (
            violation
                .pointer()
                .map(|pointer| pointer.as_fragment().to_owned()),
            violation.parameter().map(str::to_owned),
            violation.header().cloned(),
        )
    });
    assert_eq!(
        places,
        [
            (Some("#/age".to_owned()), None, None),
            (None, Some("age".to_owned()), None),
            (None, None, Some(header::AGE)),
            (None, None, None),
        ],
    );
}

#[test]
fn what_is_beyond_the_cap_is_counted() {
    let all = || (0..5).map(|_| Violation::new("is required"));
    let capped = all().collect::<Violations>().with_max(2);
    assert_eq!((capped.len(), capped.omitted()), (2, 3));
    let mut none = Violations::new().with_max(0);
    none.extend(all());
    assert!(!none.is_empty());
    let body = unique_object(&Problem::invalid(none).to_json());
    assert_eq!(
        (&body["errors"], &body["errors_omitted"]),
        (&json!([]), &json!(5))
    );
}

#[test]
fn a_problem_is_not_stored_unless_it_says_so_and_is_always_a_problem() {
    let response = Problem::new(&blank::GONE).into_http();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let response = Problem::new(&blank::GONE)
        .with_header(
            header::CACHE_CONTROL,
            "max-age=60".parse().expect("a value"),
        )
        .with_header(header::CONTENT_TYPE, "text/html".parse().expect("a value"))
        .into_http();
    assert_eq!(response.headers()["cache-control"], "max-age=60");
    let types: Vec<_> = response.headers().get_all("content-type").iter().collect();
    assert_eq!(types, ["application/problem+json"]);
}

#[test]
fn problems_go_where_errors_go() {
    fn sent<T: Send + Sync + 'static>() {}
    sent::<Problem>();
    sent::<ProblemDetails>();
    sent::<purlin_problem::ProblemReport>();
}

#[test]
fn s3_1_a_value_of_the_wrong_type_is_ignored() {
    let good = json!({
        "type": "https://example.com/a", "title": "A", "status": 403, "detail": "d",
        "instance": "/i",
    });
    let wrong = [
        json!(42),
        json!(null),
        json!([1]),
        json!({"a": 1}),
        json!(true),
        json!("text"),
    ];
    for (name, value) in good.as_object().expect("an object") {
        for wrong in wrong
            .iter()
            .filter(|wrong| name == "status" || !wrong.is_string())
        {
            let mut document = good.clone();
            document[name] = wrong.clone();
            let mut expected = good.clone();
            expected.as_object_mut().expect("an object").remove(name);
            assert_eq!(
                serde_json::to_value(read(&document)).expect("JSON"),
                expected,
                "{name}: {value} as {wrong}",
            );
        }
    }
    assert_eq!(read(&json!({"status": 403.0})).status, Some(403));
    for status in [
        json!(-1),
        json!(1e300),
        json!(403.5),
        json!(99),
        json!(u64::MAX),
    ] {
        assert_eq!(read(&json!({ "status": status })).status, None, "{status}");
    }
}

#[test]
fn s3_1_1_a_missing_type_is_about_blank() {
    assert_eq!(read(&json!({})).type_uri(), "about:blank");
    assert!(ProblemDetails::from_json(b"[]").is_err() && ProblemDetails::from_json(b"").is_err());
}

#[test]
fn s3_1_1_types_are_uri_references_of_every_kind() {
    const URN: UriRef = UriRef::from_static("urn:uuid:0188cc4a-9d2c-7e0a-8000-000000000000");
    for good in [
        "about:blank",
        "tag:example.com,2026:a",
        "/problems/a",
        "problems/a",
        "?a=b",
        "#a",
        "../a",
        "//example.com/a",
        "https://example.com:8080/a%20b?c=d&e#f",
        "a:b:c",
        "mailto:a@b.example",
    ] {
        assert!(UriRef::parse(good).is_ok(), "{good}");
        assert_eq!(good.parse(), UriRef::parse(good));
    }
    for bad in [
        "", " ", "a b", "1a:b", ":a", "a%2", "a%zz", "a\"b", "a\\b", "ü", "a<b", "##", "a\n",
    ] {
        assert!(UriRef::parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(
        iana::QUOTA_EXCEEDED.uri(),
        "https://iana.org/assignments/http-problem-types#quota-exceeded"
    );
    assert!(URN.as_str().starts_with("urn:"));
}

#[test]
fn s3_1_2_the_status_of_the_document_is_that_of_the_line() {
    for ty in [
        &OUT_OF_CREDIT,
        &blank::NOT_FOUND,
        &iana::TEMPORARY_REDUCED_CAPACITY,
    ] {
        let response = Problem::new(ty).into_http();
        assert_eq!(json(response.body())["status"], response.status().as_u16());
    }
}

#[test]
fn s3_1_3_the_title_is_the_same_for_every_occurrence() {
    let titles: Vec<_> = ["a", "b"]
        .map(|detail| {
            json(&Problem::new(&OUT_OF_CREDIT).with_detail(detail).to_json())["title"].clone()
        })
        .into();
    assert_eq!(titles[0], titles[1]);
}

#[test]
fn s3_1_4_and_s5_errors_of_the_implementation_are_no_detail() {
    let error = || std::io::Error::other("password=hunter2 at 10.0.0.3");
    let cases = [
        Problem::internal(error()),
        Err::<(), _>(error()).internal().expect_err("a problem"),
        Err::<(), _>(error())
            .problem(&blank::BAD_GATEWAY)
            .expect_err("a problem"),
        Problem::new(&blank::CONFLICT).with_source(error()),
    ];
    for problem in cases {
        assert_eq!(
            problem.source().expect("a source").to_string(),
            error().to_string()
        );
        let response = problem.into_http();
        let text = format!("{:?} {:?}", response.headers(), response.body());
        assert!(!text.contains("hunter2"), "{text}");
        assert!(json(response.body()).get("detail").is_none());
    }
}

#[test]
fn s3_2_unknown_members_are_kept_apart_and_harm_nothing() {
    let details = read(&json!({"type": "https://example.com/a", "balance": 30, "x": {"y": []}}));
    assert_eq!(details.extension::<u32>("balance"), Some(30));
    assert_eq!(details.extension::<String>("balance"), None);
    assert_eq!(details.extension::<u32>("none"), None);
    assert!(details.is(&ProblemType::new(
        StatusCode::GONE,
        "https://example.com/a",
        "A"
    )));
}

#[test]
fn s3_2_names_are_letters_digits_and_underscores_of_three_or_more() {
    for bad in [
        "ab", "type", "status", "title", "detail", "instance", "a-b-c", "1ab", "", "a b", "üüü",
    ] {
        assert!(
            std::panic::catch_unwind(|| ExtName::new(bad)).is_err(),
            "{bad:?}"
        );
    }
    for bad in ["type", "status", "", "-a", "a b", "a\"b", "1a"] {
        assert!(
            std::panic::catch_unwind(|| ExtName::raw(bad)).is_err(),
            "{bad:?}"
        );
    }
    assert_eq!(
        ExtName::raw("violated-policies").as_str(),
        "violated-policies"
    );
}

#[test]
fn s4_a_type_has_a_uri_a_title_and_an_error_status() {
    let new = |status: u16, uri: &'static str, title: &'static str| {
        let status = StatusCode::from_u16(status).expect("a status");
        std::panic::catch_unwind(|| ProblemType::new(status, uri, title)).is_ok()
    };
    assert!(new(400, "https://example.com/a", "A") && new(599, "https://example.com/a", "A"));
    for status in [100, 200, 304, 399, 600, 999] {
        assert!(!new(status, "https://example.com/a", "A"), "{status}");
    }
    assert!(
        !new(400, "", "A") && !new(400, "a b", "A") && !new(400, "a", "") && !new(400, "a", "\n")
    );
}

#[test]
fn s4_2_1_the_title_of_about_blank_is_the_phrase_of_rfc_9110() {
    let title = |ty: &ProblemType| (ty.uri().to_owned(), ty.title());
    assert_eq!(
        title(&blank::PAYLOAD_TOO_LARGE),
        ("about:blank".to_owned(), "Content Too Large")
    );
    assert_eq!(blank::UNPROCESSABLE_ENTITY.title(), "Unprocessable Content");
    assert_eq!(
        ProblemType::blank(StatusCode::from_u16(499).expect("a status")).title(),
        "Client Error"
    );
}

#[test]
fn rfc_9110_15_5_headers_that_a_status_requires_are_there() {
    let unauthorized = Problem::unauthorized(&blank::UNAUTHORIZED, Challenge::bearer()).into_http();
    assert_eq!(unauthorized.headers()["www-authenticate"], "Bearer");
    let not_allowed = Problem::method_not_allowed(&[Method::GET, Method::PUT]).into_http();
    assert_eq!(not_allowed.headers()["allow"], "GET, PUT");
    assert_eq!(
        Problem::method_not_allowed([]).into_http().headers()["allow"],
        ""
    );
    for status in [401, 405, 407, 426] {
        let status = StatusCode::from_u16(status).expect("a status");
        let made = std::panic::catch_unwind(|| ProblemType::new(status, "about:blank", "A"));
        assert!(made.is_err(), "{status} without its header");
    }
    // The type by itself is for catalogues; it does not open a way around.
    let bare = || Problem::new(blank::UNAUTHORIZED.as_type()).into_http();
    assert!(std::panic::catch_unwind(bare).is_err());
}

#[test]
fn rfc_9110_10_2_3_retry_after_is_rounded_up() {
    for (delay, seconds) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
        let problem = Problem::new(&blank::SERVICE_UNAVAILABLE)
            .with_retry_after(Duration::from_secs(99))
            .with_retry_after(Duration::from_millis(delay));
        assert_eq!(problem.into_http().headers()["retry-after"], seconds);
    }
    let forever = Problem::new(&blank::SERVICE_UNAVAILABLE).with_retry_after(Duration::MAX);
    assert_eq!(
        forever.into_http().headers()["retry-after"],
        u64::MAX.to_string().as_str()
    );
}

#[test]
fn rfc_6901_5_and_6_pointers_are_escaped_for_json_and_for_uris() {
    let root = JsonPointer::root();
    for (key, fragment) in [
        ("foo", "#/foo"),
        ("", "#/"),
        ("a/b", "#/a~1b"),
        ("c%d", "#/c%25d"),
        ("e^f", "#/e%5Ef"),
        ("g|h", "#/g%7Ch"),
        ("i\\j", "#/i%5Cj"),
        ("k\"l", "#/k%22l"),
        (" ", "#/%20"),
        ("m~n", "#/m~0n"),
        ("~1", "#/~01"),
        ("ü", "#/%C3%BC"),
        ("a#b", "#/a%23b"),
    ] {
        assert_eq!(root.key(key).as_fragment(), fragment);
    }
    assert_eq!(root.as_fragment(), "#");
    assert_eq!(
        root.key("items").index(0).key("id").as_fragment(),
        "#/items/0/id"
    );
}

#[test]
fn media_types_are_compared_without_parameters() {
    let parse = |content_type: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", content_type.parse().expect("a value"));
        ProblemDetails::parse(&headers, b"{}").is_ok()
    };
    assert!(parse("application/problem+json"));
    assert!(parse("Application/Problem+JSON; charset=utf-8"));
    assert!(
        !parse("application/json") && !parse("application/problem+jsonx") && !parse("text/html")
    );
    assert!(ProblemDetails::parse(&HeaderMap::new(), b"{}").is_err());
}

#[test]
fn a_document_over_the_limit_is_not_read() {
    let mut document = b"{\"detail\":\"".to_vec();
    document.resize(70_000, b'x');
    document.extend_from_slice(b"\"}");
    assert!(ProblemDetails::from_json(&document).is_err());
    assert!(ProblemDetails::from_json("[".repeat(60_000).as_bytes()).is_err());
}

mod defects_of_others {
    //! The findings that shaped this crate, in its own terms. Those about responses that are
    //! already made are in `tests/middleware.rs`, those about axum in `tests/axum.rs`, about OpenAPI
    //! in `tests/openapi.rs`, about deprecation in `tests/deprecation.rs`.
    use super::*;

    #[test]
    fn f1_fragments_and_urns_of_types_survive() {
        static URN: ProblemType = ProblemType::new(StatusCode::GONE, "urn:example:gone#x", "Gone");
        assert_eq!(
            json(Problem::new(&URN).into_http().body())["type"],
            "urn:example:gone#x"
        );
        let quota = json(&Problem::new(&iana::QUOTA_EXCEEDED).to_json());
        assert!(
            quota["type"]
                .as_str()
                .expect("a string")
                .ends_with("#quota-exceeded")
        );
    }

    #[test]
    fn f3_no_problem_is_answered_with_200() {
        let statuses = [&blank::BAD_REQUEST, &blank::INTERNAL_SERVER_ERROR].map(|ty| {
            Problem::new(ty)
                .with_detail("x")
                .into_http()
                .status()
                .as_u16()
        });
        assert_eq!(statuses, [400, 500]);
    }

    #[test]
    fn f5_a_second_value_replaces_the_first_under_the_same_name() {
        const NOTE: ExtName = ExtName::new("note");
        let problem = Problem::new(&OUT_OF_CREDIT)
            .with_detail("the \"note\" is ,\"note\":1")
            .with_ext(ExtName::new("nested"), &json!({"note": 1, "detail": "x"}))
            .with_ext(NOTE, "first")
            .with_ext(NOTE, "second")
            .with_detail("last");
        let body = unique_object(&problem.to_json());
        assert_eq!(body["note"], "second");
        assert_eq!(body["detail"], "last");
        assert_eq!(body["nested"], json!({"note": 1, "detail": "x"}));
    }

    #[test]
    fn a_value_that_is_no_json_is_left_out() {
        let bad = std::collections::BTreeMap::from([((1, 2), 3)]);
        let problem = Problem::new(&OUT_OF_CREDIT)
            .with_ext(BALANCE, &bad)
            .with_detail("d");
        let body = unique_object(&problem.to_json());
        assert!(body.get("balance").is_none());
        assert_eq!(body["detail"], "d");
    }
}

static QUOTED: ProblemType = ProblemType::new(
    StatusCode::IM_A_TEAPOT,
    "a?b='c'",
    "A \"quoted\" \\ title ü",
);

proptest! {
    #[test]
    fn any_problem_is_one_object_with_unique_names_and_the_status_of_the_line(
        which in 0..4_usize,
        details in proptest::collection::vec(any::<String>(), 0..3),
        texts in proptest::collection::vec((0..3_usize, any::<String>()), 0..6),
        pointers in proptest::collection::vec(any::<String>(), 0..4),
    ) {
        let names = [BALANCE, ACCOUNTS, ExtName::raw("violated-policies")];
        let ty = [&OUT_OF_CREDIT, &QUOTED, &blank::GONE, &iana::DATE][which];
        let mut problem = Problem::new(ty);
        for detail in &details {
            problem = problem.with_detail(detail);
        }
        for (name, text) in &texts {
            problem = problem.with_ext(names[*name], text);
        }
        let violations = pointers.iter().map(|key| {
            Violation::new(key.clone()).at_pointer(JsonPointer::root().key(key))
        });
        problem = problem.with_violations(violations.collect());
        let response = problem.into_http();
        let body = unique_object(response.body());
        prop_assert_eq!(&body["status"], &json!(response.status().as_u16()));
        prop_assert_eq!(&body["title"], ty.title());
        prop_assert_eq!(&body["type"], ty.uri());
        let last = details.last().map(|text| json!(text));
        prop_assert_eq!(body.get("detail"), last.as_ref());
        for (at, name) in names.iter().enumerate() {
            let last = texts.iter().rev().find(|(which, _)| *which == at).map(|(_, text)| json!(text));
            prop_assert_eq!(body.get(name.as_str()), last.as_ref());
        }
        let read = ProblemDetails::from_json(response.body()).expect("it can be read back");
        prop_assert_eq!(serde_json::to_value(read).expect("JSON"), body);
        for key in &pointers {
            let pointer = JsonPointer::root().key(key);
            prop_assert!(UriRef::parse(pointer.as_fragment().to_owned()).is_ok());
        }
    }

    #[test]
    fn what_is_accepted_as_a_uri_reference_is_one(text in "[a-zA-Z0-9:/?#@%\\[\\]!$&'()*+,;=._~ \"<>-]{0,24}") {
        let full = fluent_uri::UriRef::parse(text.as_str());
        match UriRef::parse(text.clone()) {
            Ok(_) => prop_assert!(full.is_ok(), "{text:?} is no URI reference"),
            Err(_) => {
                let refused_on_purpose = text.is_empty()
                    || full.as_ref().is_ok_and(|uri| {
                        uri.authority().is_some_and(|authority| {
                            authority.as_str().contains(['[', '@'])
                        })
                    });
                prop_assert!(full.is_err() || refused_on_purpose, "{text:?} is one");
            }
        }
    }

    #[test]
    fn reading_never_panics_and_what_was_read_is_written_back(document in any::<Vec<u8>>()) {
        let _ = ProblemDetails::from_json(&document);
    }

    #[test]
    fn any_text_can_be_the_message_of_a_grpc_refusal(detail in any::<String>()) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/grpc".parse().expect("a value"));
        let protocol = purlin_problem::Protocol::of(&headers);
        let response = Problem::new(&blank::GONE).with_detail(&detail).into_http_for(&protocol);
        let message = response.headers()["grpc-message"].to_str().expect("ASCII");
        let back = percent_encoding::percent_decode_str(message).decode_utf8().expect("UTF-8");
        prop_assert_eq!(back, detail);
        prop_assert_eq!(response.body(), &Bytes::new());
    }
}
