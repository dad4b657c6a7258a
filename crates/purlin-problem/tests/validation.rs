//! Reports of `garde` and `validator` as violations, by the names on the wire.

mod common;

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::header,
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use purlin_problem::{
    Violations, WireNames,
    extract::{Form, Json, Query, Valid},
    violation::{DEFAULT_MAX_VIOLATIONS, Names},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// The pointers of the violations, each of which must lead to a value of the document.
fn pointers(violations: &Violations, document: &Value) -> Vec<String> {
    let errors = serde_json::to_value(violations).expect("JSON");
    let mut pointers = Vec::new();
    for error in errors.as_array().expect("an array") {
        let pointer = error["pointer"].as_str().unwrap_or("-").to_owned();
        if let Some(encoded) = pointer.strip_prefix('#') {
            let decoded = percent_encoding::percent_decode_str(encoded);
            let decoded = decoded.decode_utf8().expect("UTF-8");
            assert!(
                document.pointer(&decoded).is_some(),
                "{pointer} in {document}"
            );
        }
        pointers.push(pointer);
    }
    pointers.sort();
    pointers
}

mod garde_reports {
    use garde::Validate;

    use super::*;

    #[derive(Serialize, Deserialize, Validate, WireNames)]
    #[serde(rename_all = "camelCase")]
    struct Order {
        #[garde(length(min = 3))]
        user_name: String,
        #[serde(rename = "e/mail €")]
        #[garde(email)]
        email: String,
        #[serde(rename(serialize = "aliasName", deserialize = "aliasName"))]
        #[garde(length(max = 1))]
        alias: String,
        #[garde(length(min = 1), dive)]
        order_items: Vec<Item>,
        #[garde(dive)]
        ship_to: Option<Address>,
        #[serde(flatten)]
        #[garde(dive)]
        billing: Billing,
        #[garde(dive)]
        by_name: BTreeMap<String, Item>,
        #[garde(dive)]
        by_number: BTreeMap<usize_key::Key, Item>,
        #[garde(inner(length(min = 2)))]
        tag_list: Vec<String>,
        #[garde(dive)]
        wrapped_item: Wrapped,
        #[garde(dive)]
        silent_wrap: Silent,
        #[garde(dive)]
        wrapped_list: List,
        #[garde(dive)]
        seen_once: HashSet<Tag>,
        #[garde(range(min = 1))]
        r#type: u8,
        #[serde(skip)]
        #[garde(range(min = 1))]
        computed: u8,
        #[garde(custom(never))]
        rest: (),
    }

    /// Keys of maps that are numbers for `garde`.
    mod usize_key {
        pub(super) type Key = usize;
    }

    fn never(_: &(), (): &()) -> garde::Result {
        Err(garde::Error::new("is never right"))
    }

    #[derive(Clone, Serialize, Deserialize, Validate, WireNames)]
    #[serde(rename_all = "SCREAMING-KEBAB-CASE")]
    struct Item {
        #[garde(range(min = 1, max = 9))]
        unit_count: u8,
    }

    #[derive(Serialize, Deserialize, Validate, WireNames)]
    #[serde(rename_all(serialize = "PascalCase", deserialize = "PascalCase"))]
    struct Address {
        #[garde(ascii)]
        zip_code: String,
    }

    #[derive(Serialize, Deserialize, Validate, WireNames)]
    #[serde(rename_all = "kebab-case")]
    struct Billing {
        #[garde(contains("@"))]
        billed_to: String,
    }

    #[derive(Serialize, Deserialize, Validate, WireNames)]
    struct Wrapped(#[garde(dive)] Item);

    #[derive(Serialize, Deserialize, Validate, WireNames)]
    #[garde(transparent)]
    struct Silent(#[garde(dive)] Item);

    #[derive(Serialize, Deserialize, Validate, WireNames)]
    #[serde(transparent)]
    #[garde(transparent)]
    struct List {
        #[garde(dive)]
        items: Vec<Item>,
    }

    #[derive(PartialEq, Eq, Hash, Serialize, Deserialize, Validate, WireNames)]
    struct Tag {
        #[garde(length(min = 3))]
        text: String,
    }

    fn order() -> Order {
        let item = Item { unit_count: 77 };
        Order {
            user_name: "hu".into(),
            email: "hunter2".into(),
            alias: "hunter2".into(),
            order_items: vec![Item { unit_count: 1 }, item.clone()],
            ship_to: Some(Address {
                zip_code: "hünter2".into(),
            }),
            billing: Billing {
                billed_to: "hunter2".into(),
            },
            by_name: BTreeMap::from([("a.b[0]/c".to_owned(), item.clone())]),
            by_number: BTreeMap::from([(5, item.clone())]),
            tag_list: vec!["ok".into(), "h".into()],
            wrapped_item: Wrapped(item.clone()),
            silent_wrap: Silent(item.clone()),
            wrapped_list: List { items: vec![item] },
            seen_once: HashSet::from([Tag { text: "h2".into() }]),
            r#type: 0,
            computed: 0,
            rest: (),
        }
    }

    #[test]
    fn pointers_by_the_names_on_the_wire() {
        let order = order();
        let report = order.validate().unwrap_err();
        let violations = Violations::from_garde(&report, Order::names());
        let document = serde_json::to_value(&order).unwrap();
        assert_eq!(
            pointers(&violations, &document),
            [
                "#/aliasName",
                "#/billed-to",
                "#/byName/a.b%5B0%5D~1c/UNIT-COUNT",
                "#/byNumber/5/UNIT-COUNT",
                "#/e~1mail%20%E2%82%AC",
                "#/orderItems/1/UNIT-COUNT",
                "#/rest",
                "#/shipTo/ZipCode",
                "#/silentWrap/UNIT-COUNT",
                "#/tagList/1",
                "#/type",
                "#/userName",
                "#/wrappedItem/UNIT-COUNT",
                "#/wrappedList/0/UNIT-COUNT",
                // A set has no order, and what is skipped no place.
                "-",
                "-",
            ]
        );
        let text = serde_json::to_string(&violations).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("77"), "{text}");
        // Without names there are no places, and no Rust names.
        let violations = Violations::from_garde(&report, Names::UNKNOWN);
        assert_eq!(pointers(&violations, &document), ["-"; 16]);
        let text = serde_json::to_string(&violations).unwrap();
        assert!(!text.contains("user_name"), "{text}");
    }

    #[test]
    fn codes_follow_the_rules_of_garde() {
        #[derive(Validate)]
        struct Rules {
            #[garde(length(min = 3))]
            length: &'static str,
            #[garde(range(max = 3))]
            range: u8,
            #[garde(email)]
            email: &'static str,
            #[garde(ip)]
            ip: &'static str,
            #[garde(ascii)]
            ascii: &'static str,
            #[garde(alphanumeric)]
            alphanumeric: &'static str,
            #[garde(pattern("^a$"))]
            pattern: &'static str,
            #[garde(contains(self.length))]
            contains: &'static str,
            #[garde(prefix("q"))]
            prefix: &'static str,
            #[garde(suffix("q"))]
            suffix: &'static str,
            #[garde(required)]
            required: Option<u8>,
            #[garde(matches(length))]
            matches: &'static str,
        }
        let rules = Rules {
            length: "zz",
            range: 4,
            email: "hunter2",
            ip: "hunter2",
            ascii: "hünter2",
            alphanumeric: "hunter 2",
            pattern: "hunter2",
            contains: "hunter2",
            prefix: "hunter2",
            suffix: "hunter2",
            required: None,
            matches: "hunter2",
        };
        let report = rules.validate().unwrap_err();
        let violations = Violations::from_garde(&report, Names::SAME_AS_RUST);
        assert_eq!(violations.len(), 12);
        for violation in violations.iter() {
            let pointer = violation.pointer().unwrap().as_fragment();
            assert_eq!(violation.code(), pointer.strip_prefix("#/"));
            let detail = violation.detail();
            assert!(
                !detail.contains("hunter2") && !detail.contains("zz"),
                "{detail}"
            );
        }
    }

    #[test]
    fn no_more_than_a_hundred() {
        #[derive(Validate)]
        struct Many {
            #[garde(inner(range(min = 1)))]
            zeros: Vec<u8>,
        }
        let report = Many {
            zeros: vec![0; 1_000],
        }
        .validate()
        .unwrap_err();
        let violations = Violations::from_garde(&report, Names::SAME_AS_RUST);
        assert_eq!(violations.len(), DEFAULT_MAX_VIOLATIONS);
        assert_eq!(violations.omitted(), 900);
        let document =
            common::unique_object(&purlin_problem::Problem::invalid(violations).to_json());
        assert_eq!(document["errors"][99]["pointer"], "#/zeros/99");
        assert_eq!(document["errors_omitted"], 900);
    }

    /// Each rule of serde against serde itself.
    #[test]
    fn every_rename_rule() {
        macro_rules! rule {
            ($($rule:literal $module:ident)*) => {$({
                #[derive(Default, Serialize, Validate, WireNames)]
                #[serde(rename_all = $rule)]
                struct Renamed {
                    #[garde(range(min = 1))]
                    a: u8,
                    #[garde(range(min = 1))]
                    two_words: u8,
                    #[garde(range(min = 1))]
                    odd_name_2x: u8,
                    #[garde(range(min = 1))]
                    r#fn: u8,
                }
                let value = Renamed::default();
                let report = value.validate().unwrap_err();
                let violations = Violations::from_garde(&report, Renamed::names());
                let document = serde_json::to_value(&value).unwrap();
                let mut expected: Vec<String> = document
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|name| format!("#/{name}"))
                    .collect();
                expected.sort();
                assert_eq!(pointers(&violations, &document), expected, $rule);
            })*};
        }
        rule! {
            "lowercase" a "UPPERCASE" b "PascalCase" c "camelCase" d "snake_case" e
            "SCREAMING_SNAKE_CASE" f "kebab-case" g "SCREAMING-KEBAB-CASE" h
        }
    }

    /// A type that holds itself, and one with a parameter.
    #[test]
    fn recursive_and_generic() {
        #[derive(Serialize, Validate, WireNames)]
        struct Tree<T: Validate<Context = ()>> {
            #[serde(rename = "leafValue")]
            #[garde(dive)]
            value: T,
            #[serde(rename = "subTrees")]
            #[garde(dive)]
            trees: Vec<Tree<T>>,
        }
        let leaf = || Tree {
            value: Item { unit_count: 0 },
            trees: Vec::new(),
        };
        let tree = Tree {
            value: Item { unit_count: 1 },
            trees: vec![leaf()],
        };
        let report = tree.validate().unwrap_err();
        let violations = Violations::from_garde(&report, Tree::<Item>::names());
        let document = serde_json::to_value(&tree).unwrap();
        assert_eq!(
            pointers(&violations, &document),
            ["#/subTrees/0/leafValue/UNIT-COUNT"]
        );
    }

    #[derive(Debug, Deserialize, Validate, WireNames)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Page {
        #[garde(range(min = 1, max = 100))]
        page_size: u8,
        #[serde(default)]
        #[garde(length(max = 3))]
        sort_by: String,
    }

    #[tokio::test]
    async fn valid_reads_and_then_validates() {
        let app =
            Router::new()
                .route(
                    "/json",
                    post(|page: Valid<Json<Page>>| async move { page.page_size.to_string() }),
                )
                .route(
                    "/form",
                    post(|Valid(Form(page)): Valid<Form<Page>>| async move {
                        page.page_size.to_string()
                    })
                    .get(|_: Valid<Form<Page>>| async {}),
                )
                .route(
                    "/query",
                    get(|Valid(Query(page)): Valid<Query<Page>>| async move {
                        page.page_size.to_string()
                    }),
                );
        let form = "application/x-www-form-urlencoded";
        let send = async |method: &str, uri: &str, content_type: &str, body: String| {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header(header::CONTENT_TYPE, content_type)
                .body(Body::from(body))
                .unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            if status == 200 {
                return (status, Value::Null);
            }
            let document = common::unique_object(&bytes);
            assert_eq!(document["status"], status);
            (status, document)
        };
        let json_body = |value: Value| value.to_string();
        let bad = json!({"page-size": 0, "sort-by": "hunter2"});
        let (status, document) = send("POST", "/json", "application/json", json_body(bad)).await;
        assert_eq!(status, 422);
        assert_eq!(document["type"], "/problems/validation");
        assert_eq!(
            document["errors"],
            json!([
                {"detail": "lower than 1", "code": "range", "pointer": "#/page-size"},
                {"detail": "length is greater than 3", "code": "length", "pointer": "#/sort-by"},
            ])
        );
        let unknown = json!({"page-size": 0, "more": 1});
        let (status, document) =
            send("POST", "/json", "application/json", json_body(unknown)).await;
        assert_eq!(
            (status, &document["errors"][0]["pointer"]),
            (422, &json!("#/more"))
        );

        for (method, uri, body, expected, slug) in [
            (
                "POST",
                "/form",
                "page-size=0&sort-by=hunter2",
                422,
                "/problems/validation",
            ),
            (
                "GET",
                "/form?page-size=0&sort-by=hunter2",
                "",
                400,
                "/problems/invalid-parameters",
            ),
            (
                "GET",
                "/query?page-size=0&sort-by=hunter2",
                "",
                400,
                "/problems/invalid-parameters",
            ),
        ] {
            let (status, document) = send(method, uri, form, body.to_owned()).await;
            assert_eq!((status, &document["type"]), (expected, &json!(slug)));
            assert_eq!(document["errors"][0]["parameter"], "page-size");
            assert_eq!(document["errors"][1]["parameter"], "sort-by");
            assert!(!document.to_string().contains("hunter2"));
        }

        let good = json_body(json!({"page-size": 1}));
        assert_eq!(send("POST", "/json", "application/json", good).await.0, 200);
        assert_eq!(
            send("POST", "/form", form, "page-size=1".into()).await.0,
            200
        );
        assert_eq!(
            send("GET", "/query?page-size=1", form, String::new())
                .await
                .0,
            200
        );
    }
}

mod validator_reports {
    use validator::{Validate, ValidationError};

    use super::*;

    #[derive(Serialize, Validate, WireNames)]
    #[serde(rename_all = "camelCase")]
    #[validate(schema(function = whole, skip_on_field_errors = false))]
    struct Order {
        #[validate(length(min = 3, max = 9))]
        user_name: String,
        #[serde(rename = "e-mail")]
        #[validate(email)]
        email: String,
        #[validate(nested)]
        order_items: Vec<Item>,
        #[validate(nested)]
        ship_to: Item,
        #[serde(flatten)]
        #[validate(nested)]
        flat: Item,
        #[validate(nested)]
        by_name: HashMap<String, Item>,
        #[validate(custom(function = never))]
        nick_name: String,
        #[validate(must_match(other = nick_name, message = "must be the nick name"))]
        again: String,
    }

    #[derive(Clone, Serialize, Validate, WireNames)]
    #[serde(rename_all = "camelCase")]
    struct Item {
        #[validate(range(min = 1, exclusive_max = 10))]
        unit_count: u32,
    }

    fn never(_: &str) -> Result<(), ValidationError> {
        Err(ValidationError::new("nick"))
    }

    fn whole(_: &Order) -> Result<(), ValidationError> {
        Err(ValidationError::new("balance"))
    }

    #[test]
    fn pointers_codes_and_texts() {
        let item = Item {
            unit_count: 7_777_777,
        };
        let order = Order {
            user_name: "hunter2hunter2".into(),
            email: "hunter2".into(),
            order_items: vec![Item { unit_count: 1 }, item.clone()],
            ship_to: item.clone(),
            flat: item.clone(),
            by_name: HashMap::from([("x".to_owned(), item)]),
            nick_name: "hunter2".into(),
            again: "hunter3".into(),
        };
        let errors = order.validate().unwrap_err();
        let violations = Violations::from_validator(&errors, Order::names());
        let document = serde_json::to_value(&order).unwrap();
        assert_eq!(
            pointers(&violations, &document),
            [
                "#/again",
                "#/e-mail",
                "#/nickName",
                "#/orderItems/1/unitCount",
                "#/shipTo/unitCount",
                "#/unitCount",
                "#/userName",
                // The struct as a whole, and the item of a map, which `validator` only counts.
                "-",
                "-",
            ]
        );
        let text = serde_json::to_string(&violations).unwrap();
        assert!(!text.contains("hunter") && !text.contains("777"), "{text}");
        let said = |pointer: &str| {
            let errors = serde_json::to_value(&violations).unwrap();
            let errors = errors.as_array().unwrap().clone();
            let error = errors
                .into_iter()
                .find(|error| error["pointer"] == pointer)
                .unwrap();
            (error["code"].clone(), error["detail"].clone())
        };
        for (pointer, code, detail) in [
            (
                "#/userName",
                "length",
                "must have a length of 3 or more and 9 or less",
            ),
            ("#/unitCount", "range", "must be 1 or more and less than 10"),
            ("#/e-mail", "email", "must be an email address"),
            ("#/nickName", "nick", "is not valid"),
            ("#/again", "must_match", "must be the nick name"),
        ] {
            assert_eq!(said(pointer), (json!(code), json!(detail)));
        }
        // The same order each time, though the report is a hash map.
        let again = Violations::from_validator(&order.validate().unwrap_err(), Order::names());
        assert_eq!(text, serde_json::to_string(&again).unwrap());
    }

    #[test]
    fn parameters() {
        let errors = Item { unit_count: 0 }.validate().unwrap_err();
        let violations = Violations::from_validator_parameters(&errors, Item::names());
        assert_eq!(
            serde_json::to_value(&violations).unwrap(),
            json!([{
                "detail": "must be 1 or more and less than 10",
                "code": "range",
                "parameter": "unitCount",
            }])
        );
    }
}
