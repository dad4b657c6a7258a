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
    IntoResponses,
    openapi::{
        ContentBuilder, Header, Object, Ref, RefOr, Response, ResponseBuilder, Type,
        example::{Example, ExampleBuilder},
        schema::{OneOfBuilder, Schema},
    },
};

use crate::{PROBLEM_JSON, ProblemType, ToProblem, status::required_header};

mod schema;
mod types_under;

pub use types_under::TypesUnder;

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

impl<E: ErrorSet, M: Mode> IntoResponses for ProblemResponses<E, M> {
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
pub trait ErrorSet: sealed::ErrorSet {}

impl<P: sealed::ErrorSet> ErrorSet for P {}

mod sealed {
    use super::{ProblemType, RefOr, Schema, ToProblem};

    pub trait Mode {
        fn schema(types: &[&ProblemType]) -> RefOr<Schema>;
    }

    pub trait ErrorSet {
        fn all() -> Vec<&'static ProblemType>;
    }

    impl<E: ToProblem> ErrorSet for E {
        fn all() -> Vec<&'static ProblemType> {
            E::problem_types()
        }
    }

    macro_rules! tuple {
        ($($error:ident)*) => {
            impl<$($error: ErrorSet),*> ErrorSet for ($($error,)*) {
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

fn example(ty: &ProblemType) -> Example {
    let document: Value =
        serde_json::from_slice(ty.document()).expect("a problem type is written as JSON");
    ExampleBuilder::new()
        .summary(ty.title())
        .description(ty.description())
        .value(Some(document))
        .build()
}

/// In `CommonMark`, as OpenAPI has it.
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
