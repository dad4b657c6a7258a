//! Problems in OpenAPI documents, by `utoipa`.
//!
//! [`ProblemResponses`] documents all problems of an error at once:
//!
//! ```
//! use std::fmt;
//! use http::StatusCode;
//! use purlin_problem::{Problem, ProblemType, ToProblem, openapi::ProblemResponses};
//! use utoipa::OpenApi;
//!
//! static NO_CREDIT: ProblemType =
//!     ProblemType::slug(StatusCode::FORBIDDEN, "out-of-credit", "Not enough credit");
//! static NOT_YOURS: ProblemType =
//!     ProblemType::slug(StatusCode::FORBIDDEN, "not-yours", "The order is not yours");
//!
//! #[derive(Debug)]
//! enum OrderError { NoCredit, NotYours }
//! # impl fmt::Display for OrderError {
//! #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{self:?}") }
//! # }
//! # impl std::error::Error for OrderError {}
//!
//! impl ToProblem for OrderError { // or by the derive
//!     fn to_problem(&self) -> Problem {
//!         Problem::new(match self {
//!             Self::NoCredit => &NO_CREDIT,
//!             Self::NotYours => &NOT_YOURS,
//!         })
//!     }
//!     fn problem_types() -> Vec<&'static ProblemType> {
//!         vec![&NO_CREDIT, &NOT_YOURS]
//!     }
//! }
//!
//! #[utoipa::path(post, path = "/orders", responses(
//!     (status = 201, description = "the order is taken"),
//!     ProblemResponses<OrderError>,
//! ))]
//! async fn place_order() {}
//!
//! #[derive(OpenApi)]
//! #[openapi(paths(place_order))]
//! struct Api;
//!
//! let document = serde_json::to_value(Api::openapi())?;
//! let forbidden = &document["paths"]["/orders"]["post"]["responses"]["403"];
//! let schema = &forbidden["content"]["application/problem+json"]["schema"];
//! assert_eq!(schema["oneOf"].as_array().map(Vec::len), Some(2));
//! # Ok::<_, serde_json::Error>(())
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    marker::PhantomData,
};

use serde_json::Value;
use utoipa::{
    IntoResponses, Modify,
    openapi::{
        Content, ContentBuilder, Header, Object, OpenApi, PathItem, Ref, RefOr, Response,
        ResponseBuilder, Type,
        example::ExampleBuilder,
        path::Operation,
        schema::{OneOfBuilder, Schema},
    },
};

use crate::{
    PROBLEM_JSON, ProblemType, ToProblem, UriRef, problem_type::SLUG_BASE, status::required_header,
};

mod schema;

/// The problems of an error, or of a tuple of errors, as the responses of an operation, for
/// `responses(…)` of `#[utoipa::path]`.
///
/// Types of the same status become one response, since an OpenAPI document has one per status:
/// `oneOf` their schemas, with an example named by each. `utoipa` itself keeps the last of several
/// sets of responses for a status; name all errors of an operation in one tuple for that reason:
/// `ProblemResponses<(OrderError, RejectedJson)>`.
///
/// The media type is `application/problem+json`. Header fields are declared where RFC 9110 demands
/// them of the status and where [`ProblemType::with_headers`] names them. Extension members are
/// allowed by every schema and described by none but that of
/// [`VALIDATION`](crate::violation::VALIDATION).
pub struct ProblemResponses<E, M = Typed>(PhantomData<fn() -> (E, M)>);

impl<E, M> fmt::Debug for ProblemResponses<E, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProblemResponses")
    }
}

impl<E: Problems, M: Mode> IntoResponses for ProblemResponses<E, M> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut by_status: BTreeMap<u16, Vec<&ProblemType>> = BTreeMap::new();
        for ty in E::all() {
            let types = by_status.entry(ty.status().as_u16()).or_default();
            if !types.iter().any(|known| known.document() == ty.document()) {
                types.push(ty);
            }
        }
        by_status
            .into_iter()
            .map(|(status, types)| (status.to_string(), response::<M>(&types).into()))
            .collect()
    }
}

/// A schema of its own for each type: `type` and `status` are constants in it.
#[derive(Debug)]
pub struct Typed(());

/// The one schema `#/components/schemas/Problem` for all, for client generators that allow an
/// operation only one type of error, such as progenitor. The types are still there as examples.
///
/// The document must have the component: `components(schemas(ProblemDetails))`.
#[derive(Debug)]
pub struct Shared(());

/// How the body of a problem is described: [`Typed`] or [`Shared`].
pub trait Mode: sealed::Mode {}

impl Mode for Typed {}
impl Mode for Shared {}

/// One error, or a tuple of up to four.
pub trait Problems: sealed::Problems {}

impl<P: sealed::Problems> Problems for P {}

mod sealed {
    use super::{ProblemType, RefOr, Schema, ToProblem};

    pub trait Mode {
        fn schema(types: &[&ProblemType]) -> RefOr<Schema>;
    }

    pub trait Problems {
        fn all() -> Vec<&'static ProblemType>;
    }

    impl<E: ToProblem> Problems for E {
        fn all() -> Vec<&'static ProblemType> {
            E::problem_types()
        }
    }

    macro_rules! tuple {
        ($($error:ident)*) => {
            impl<$($error: Problems),*> Problems for ($($error,)*) {
                fn all() -> Vec<&'static ProblemType> {
                    let mut types = Vec::new();
                    $(types.extend($error::all());)*
                    types
                }
            }
        };
    }
    tuple!(A B);
    tuple!(A B C);
    tuple!(A B C D);
}

impl sealed::Mode for Typed {
    fn schema(types: &[&ProblemType]) -> RefOr<Schema> {
        if let [ty] = types {
            return schema::of_type(ty).into();
        }
        let schemas = types.iter().fold(OneOfBuilder::new(), |one_of, ty| {
            one_of.item(schema::of_type(ty))
        });
        Schema::OneOf(schemas.build()).into()
    }
}

impl sealed::Mode for Shared {
    fn schema(_types: &[&ProblemType]) -> RefOr<Schema> {
        Ref::from_schema_name(schema::PROBLEM).into()
    }
}

fn response<M: Mode>(types: &[&ProblemType]) -> Response {
    let content = ContentBuilder::new()
        .schema(Some(M::schema(types)))
        .examples_from_iter(types.iter().map(|ty| (name(ty), example(ty))))
        .build();
    let response = ResponseBuilder::new()
        .description(description(types))
        .content(PROBLEM_JSON, content);
    let required = types.iter().filter_map(|ty| required_header(ty.status()));
    let declared = types.iter().flat_map(|ty| ty.headers()).copied();
    let headers: BTreeSet<&str> = required.chain(declared).collect();
    headers
        .into_iter()
        .fold(response, |response, header| {
            response.header(header, Header::new(Object::with_type(Type::String)))
        })
        .build()
}

fn name(ty: &ProblemType) -> &str {
    ty.slug_name().unwrap_or_else(|| ty.uri())
}

fn example(ty: &ProblemType) -> utoipa::openapi::example::Example {
    let document: Value =
        serde_json::from_slice(ty.document()).expect("a problem type is written as JSON");
    ExampleBuilder::new()
        .summary(ty.title())
        .description(ty.description())
        .value(Some(document))
        .build()
}

/// CommonMark, as OpenAPI has it.
fn description(types: &[&ProblemType]) -> String {
    if let [ty] = types {
        return match ty.description() {
            "" => ty.title().to_owned(),
            description => format!("{}. {description}", ty.title()),
        };
    }
    let titles: Vec<String> = types.iter().map(|ty| format!("- {}", ty.title())).collect();
    titles.join("\n")
}

/// Puts the types of slugs under another reference than `/problems/`, as
/// [`ProblemLayer::with_base`](crate::ProblemLayer::with_base) does with those of responses:
/// document and server must agree.
///
/// ```
/// # use purlin_problem::{UriRef, openapi::TypesUnder};
/// # use utoipa::{Modify, OpenApi};
/// # #[derive(OpenApi)]
/// # struct Api;
/// let mut document = Api::openapi();
/// TypesUnder::new(UriRef::from_static("https://errors.example.com/")).modify(&mut document);
/// ```
#[derive(Clone, Debug)]
pub struct TypesUnder {
    base: String,
}

impl TypesUnder {
    /// With the base that the layer is given.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a builder takes its parts")]
    pub fn new(base: UriRef) -> Self {
        let mut base = base.to_string();
        if !base.ends_with(['/', '#']) {
            base.push('/');
        }
        Self { base }
    }

    fn change_response(&self, response: &mut RefOr<Response>) {
        let RefOr::T(response) = response else { return };
        let Some(content) = response.content.get_mut(PROBLEM_JSON) else {
            return;
        };
        let changed = serde_json::to_value(&*content).ok().and_then(|mut value| {
            self.change_value(&mut value);
            serde_json::from_value::<RefOr<Content>>(value).ok()
        });
        if let Some(changed) = changed {
            *content = changed;
        }
    }

    /// Rewrites the constants of schemas and the `type` of examples.
    fn change_value(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.change_value(item)),
            Value::Object(members) => {
                for (name, member) in members {
                    match member {
                        Value::String(text) if name == "type" => self.change_text(text),
                        Value::Array(items) if name == "enum" => {
                            for item in items {
                                if let Value::String(text) = item {
                                    self.change_text(text);
                                }
                            }
                        }
                        member => self.change_value(member),
                    }
                }
            }
            _ => {}
        }
    }

    fn change_text(&self, text: &mut String) {
        if let Some(slug) = text.strip_prefix(SLUG_BASE) {
            *text = format!("{}{slug}", self.base);
        }
    }
}

impl Modify for TypesUnder {
    fn modify(&self, openapi: &mut OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            for operation in operations(item) {
                for response in operation.responses.responses.values_mut() {
                    self.change_response(response);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.options,
        &mut item.head,
        &mut item.patch,
        &mut item.trace,
        &mut item.query,
    ]
    .into_iter()
    .flatten()
    .chain(item.additional_operations.values_mut())
}
