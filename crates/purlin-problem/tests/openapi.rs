//! Problems in a document that utoipa makes.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fmt;

use http::StatusCode;
use purlin_problem::{
    Problem, ProblemDetails, ProblemType, ToProblem, UnauthorizedType, UriRef, blank,
    openapi::{ProblemResponses, Shared, Typed, TypesUnder},
    violation,
};
use serde_json::{Value, json};
use utoipa::{Modify, OpenApi};

static NO_CREDIT: ProblemType =
    ProblemType::slug(StatusCode::FORBIDDEN, "out-of-credit", "Not enough credit")
        .with_description("The order costs more than is left.");
static NOT_YOURS: ProblemType =
    ProblemType::slug(StatusCode::FORBIDDEN, "not-yours", "The order is not yours");
static TOO_MANY: ProblemType = ProblemType::new(
    StatusCode::TOO_MANY_REQUESTS,
    "https://example.com/too-many",
    "Too many orders",
)
.with_description("Wait as long as `Retry-After` says.")
.with_headers(&["Retry-After", "RateLimit"]);
static TOKEN_EXPIRED: UnauthorizedType =
    UnauthorizedType::slug("token-expired", "The token has expired").with_headers(&["Retry-After"]);

macro_rules! error {
    ($name:ident, $($ty:expr),*) => {
        #[derive(Debug)]
        struct $name;

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl std::error::Error for $name {}

        impl ToProblem for $name {
            fn to_problem(&self) -> Problem {
                Problem::new(Self::problem_types()[0])
            }

            fn problem_types() -> Vec<&'static ProblemType> {
                vec![$($ty),*]
            }
        }
    };
}

error!(OrderError, &NO_CREDIT, &NOT_YOURS, &TOO_MANY, &NO_CREDIT);
error!(
    InputError,
    &violation::VALIDATION,
    &NOT_YOURS,
    &blank::FORBIDDEN
);
error!(AuthError, TOKEN_EXPIRED.as_type());

#[utoipa::path(post, path = "/orders", responses(
    (status = 201, description = "the order is taken"),
    ProblemResponses<OrderError>,
))]
#[expect(dead_code, reason = "only its documentation is used")]
fn place_order() {}

#[utoipa::path(put, path = "/orders/{id}", params(("id" = u64, Path)), responses(
    ProblemResponses<(OrderError, InputError, AuthError), Typed>,
))]
#[expect(dead_code, reason = "only its documentation is used")]
fn change_order() {}

#[utoipa::path(get, path = "/shared", responses(
    ProblemResponses<(OrderError, InputError), Shared>,
))]
#[expect(dead_code, reason = "only its documentation is used")]
fn shared() {}

#[derive(OpenApi)]
#[openapi(
    paths(place_order, change_order, shared),
    components(schemas(ProblemDetails))
)]
struct Api;

fn document() -> Value {
    serde_json::to_value(Api::openapi()).unwrap()
}

fn at<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    document
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{pointer} is not there: {document:#}"))
}

const FORBIDDEN: &str = "/paths/~1orders/post/responses/403";
const CHANGE: &str = "/paths/~1orders~1{id}/put/responses";
const SHARED: &str = "/paths/~1shared/get/responses";

#[test]
fn two_types_of_one_status_are_both_in_the_document() {
    let document = document();
    let response = at(&document, FORBIDDEN);
    let schema = |uri: &str, title: &str| {
        json!({
            "type": "object",
            "title": title,
            "required": ["type", "title", "status"],
            "properties": {
                "type": { "type": "string", "format": "uri-reference", "enum": [uri] },
                "title": { "type": "string" },
                "status": { "type": "integer", "enum": [403] },
                "detail": { "type": "string", "description": "What went wrong this time." },
                "instance": {
                    "type": "string",
                    "format": "uri-reference",
                    "description": "Identifies this occurrence.",
                },
            },
        })
    };
    assert_eq!(
        *response,
        json!({
            "description": "- Not enough credit\n- The order is not yours",
            "content": { "application/problem+json": {
                "schema": { "oneOf": [
                    schema("/problems/out-of-credit", "Not enough credit"),
                    schema("/problems/not-yours", "The order is not yours"),
                ] },
                "examples": {
                    "out-of-credit": {
                        "summary": "Not enough credit",
                        "description": "The order costs more than is left.",
                        "value": {
                            "type": "/problems/out-of-credit",
                            "title": "Not enough credit",
                            "status": 403,
                        },
                    },
                    "not-yours": {
                        "summary": "The order is not yours",
                        "value": {
                            "type": "/problems/not-yours",
                            "title": "The order is not yours",
                            "status": 403,
                        },
                    },
                },
            } },
        })
    );
}

#[test]
fn one_type_alone_is_no_choice() {
    let document = document();
    let response = at(&document, "/paths/~1orders/post/responses/429");
    assert_eq!(
        response["description"],
        "Too many orders. Wait as long as `Retry-After` says."
    );
    let content = &response["content"]["application/problem+json"];
    assert_eq!(
        content["schema"]["properties"]["type"]["enum"],
        json!(["https://example.com/too-many"])
    );
    assert_eq!(
        content["examples"]["https://example.com/too-many"]["value"]["status"],
        429
    );
    assert!(
        document
            .pointer("/paths/~1orders/post/responses/201")
            .is_some()
    );
}

#[test]
fn headers_are_declared_by_the_status_and_by_the_type() {
    let document = document();
    let names = |status: u16| {
        let response = at(&document, &format!("{CHANGE}/{status}"));
        let headers = response["headers"].as_object();
        headers.map_or(Vec::new(), |headers| headers.keys().cloned().collect())
    };
    assert_eq!(names(429), ["RateLimit", "Retry-After"]);
    assert_eq!(names(401), ["Retry-After", "WWW-Authenticate"]);
    assert!(names(403).is_empty());
    assert_eq!(
        at(&document, &format!("{CHANGE}/401/headers/WWW-Authenticate")),
        &json!({ "schema": { "type": "string" } })
    );
}

#[test]
fn the_errors_of_a_tuple_are_merged_and_no_type_is_there_twice() {
    let document = document();
    let schema = at(
        &document,
        &format!("{CHANGE}/403/content/application~1problem+json/schema/oneOf"),
    );
    let types: Vec<_> = schema
        .as_array()
        .unwrap()
        .iter()
        .map(|schema| &schema["properties"]["type"]["enum"][0])
        .collect();
    assert_eq!(
        types,
        [
            "/problems/out-of-credit",
            "/problems/not-yours",
            "about:blank"
        ]
    );
    let statuses: Vec<_> = at(&document, CHANGE).as_object().unwrap().keys().collect();
    assert_eq!(statuses, ["401", "403", "422", "429"]);
}

#[test]
fn validation_says_what_its_errors_look_like() {
    let document = document();
    let schema = at(
        &document,
        &format!("{CHANGE}/422/content/application~1problem+json/schema"),
    );
    assert_eq!(
        schema["required"],
        json!(["type", "title", "status", "errors"])
    );
    let item = &schema["properties"]["errors"]["items"];
    assert_eq!(item["required"], json!(["detail"]));
    let members: Vec<_> = item["properties"].as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["code", "detail", "header", "parameter", "pointer"]
    );
}

#[test]
fn shared_mode_has_one_schema_for_all_and_the_document_has_it() {
    let document = document();
    let responses = at(&document, SHARED).as_object().unwrap();
    assert_eq!(responses.keys().collect::<Vec<_>>(), ["403", "422", "429"]);
    for response in responses.values() {
        assert_eq!(
            response["content"]["application/problem+json"]["schema"],
            json!({ "$ref": "#/components/schemas/Problem" })
        );
    }
    let examples = at(
        &document,
        &format!("{SHARED}/403/content/application~1problem+json/examples"),
    );
    let names: Vec<_> = examples.as_object().unwrap().keys().collect();
    assert_eq!(names, ["about:blank", "not-yours", "out-of-credit"]);

    let problem = at(&document, "/components/schemas/Problem");
    assert_eq!(problem.get("required"), None, "RFC 9457 §3.1 requires none");
    assert_eq!(problem["properties"]["type"]["format"], "uri-reference");
    assert_eq!(problem["properties"]["instance"]["format"], "uri-reference");
    assert_eq!(problem["properties"]["status"]["type"], "integer");
    assert_eq!(problem["properties"]["status"]["maximum"], 599);
    let item = &problem["properties"]["errors"]["items"];
    assert_eq!(*item, json!({ "$ref": "#/components/schemas/Violation" }));
    assert!(document.pointer("/components/schemas/Violation").is_some());
}

#[test]
fn what_is_sent_fits_its_schema() {
    let document = document();
    let sent: Value = serde_json::from_slice(
        &Problem::new(&NO_CREDIT)
            .with_detail("30 are left")
            .with_ext(purlin_problem::ExtName::new("balance"), &30)
            .to_json(),
    )
    .unwrap();
    let schemas = at(
        &document,
        &format!("{FORBIDDEN}/content/application~1problem+json/schema/oneOf"),
    );
    let fits = |schema: &Value| {
        let required = schema["required"].as_array().unwrap();
        let properties = schema["properties"].as_object().unwrap();
        required
            .iter()
            .all(|name| sent.get(name.as_str().unwrap()).is_some())
            && properties.iter().all(|(name, property)| {
                match (sent.get(name), property["enum"].as_array()) {
                    (Some(value), Some(allowed)) => allowed.contains(value),
                    _ => true,
                }
            })
            && schema.get("additionalProperties").is_none()
    };
    let fitting = schemas
        .as_array()
        .unwrap()
        .iter()
        .filter(|schema| fits(schema));
    assert_eq!(fitting.count(), 1, "oneOf wants exactly one");
}

#[test]
fn the_types_of_slugs_can_stand_under_another_base() {
    for base in [
        "https://errors.example.com/v1",
        "https://errors.example.com/v1/",
    ] {
        let mut openapi = Api::openapi();
        TypesUnder::new(UriRef::from_static(base)).modify(&mut openapi);
        let changed = serde_json::to_value(&openapi).unwrap();
        // Nothing else may differ.
        let expected = document()
            .to_string()
            .replace("\"/problems/", "\"https://errors.example.com/v1/");
        assert_eq!(changed, serde_json::from_str::<Value>(&expected).unwrap());
        assert!(expected.contains("https://errors.example.com/v1/out-of-credit"));
    }
}
