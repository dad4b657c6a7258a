#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "catalog", feature = "xml"))]
mod accept;
pub mod blank;
mod body;
#[cfg(feature = "catalog")]
mod catalog;
pub mod catch_error;
mod challenge;
#[cfg(feature = "reqwest")]
mod client;
mod config;
mod context;
mod deprecation;
#[cfg(feature = "derive")]
#[doc(hidden)]
pub mod derive_support;
mod details;
mod error;
mod ext_name;
#[cfg(feature = "axum")]
pub mod extract;
#[cfg(feature = "axum")]
pub mod fallback;
mod finish;
mod future;
mod grpc;
pub mod iana;
mod json;
mod layer;
#[cfg(feature = "openapi")]
pub mod openapi;
mod problem;
mod problem_type;
#[cfg(feature = "axum")]
mod rejection;
mod render;
mod report;
mod rewrite;
mod service;
mod status;
mod to_problem;
#[cfg(feature = "tonic")]
mod tonic_status;
mod uri_ref;
pub mod violation;
#[cfg(feature = "xml")]
mod xml;

pub use body::ProblemBody;
#[cfg(feature = "catalog")]
pub use catalog::{Catalog, CatalogBuilder};
#[doc(inline)]
pub use catch_error::{CatchError, CatchErrorLayer};
pub use challenge::Challenge;
#[cfg(feature = "reqwest")]
pub use client::{RequestBuilderExt, ResponseError, ResponseExt, ResponseProblem};
pub use context::ProblemContext;
pub use deprecation::{Deprecation, DeprecationBuilder, DeprecationFuture, DeprecationLayer};
pub use details::{MAX_DOCUMENT_BYTES, ParseProblemError, ProblemDetails};
pub use error::ConfigError;
pub use ext_name::ExtName;
pub use future::ResponseFuture;
pub use grpc::{GrpcCode, Protocol};
pub use layer::ProblemLayer;
pub use problem::Problem;
pub use problem_type::{ProblemType, UnauthorizedType};
pub use render::PROBLEM_JSON;
pub use report::ProblemReport;
pub use service::Problems;
pub use to_problem::{ResultExt, ToProblem};
pub use uri_ref::{InvalidUriRef, UriRef};
#[cfg(any(feature = "garde", feature = "validator"))]
#[doc(inline)]
pub use violation::WireNames;
#[doc(inline)]
pub use violation::{JsonPointer, Violation, Violations};

#[cfg(feature = "derive")]
#[doc = include_str!("derive.md")]
#[doc(inline)]
pub use purlin_problem_derive::Problem;
#[cfg(all(feature = "derive", any(feature = "garde", feature = "validator")))]
pub use purlin_problem_derive::WireNames;

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
