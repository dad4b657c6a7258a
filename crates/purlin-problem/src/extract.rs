//! Drop-in extractors for axum 0.8: [`Json`], [`Query`], [`Path`] and [`Form`] whose rejection is
//! a [`Problem`](struct@crate::Problem).
//!
//! Change the `use` line; signatures and bodies of handlers stay as they are.
//!
//! ```
//! use axum::{Router, routing::post};
//! use purlin_problem::extract::Json;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct NewProduct {
//!     name: String,
//!     price_cents: u32,
//! }
//!
//! async fn create(Json(product): Json<NewProduct>) -> String {
//!     format!("{} at {}", product.name, product.price_cents)
//! }
//!
//! let app: Router = Router::new().route("/products", post(create));
//! ```
//!
//! # What is refused, and how
//!
//! | what is wrong | status | type |
//! |---|---|---|
//! | body is no JSON, or is nested more than 127 levels deep | 400 | `about:blank`, `detail` with line and column |
//! | JSON body does not fit the type | 422 | [`VALIDATION`](crate::violation::VALIDATION), `pointer` |
//! | form body does not fit the type | 422 | [`VALIDATION`](crate::violation::VALIDATION), `parameter` |
//! | `Content-Type` is missing or another one | 415 | `about:blank`, with `Accept` (RFC 9110 §15.5.16) |
//! | body is over the limit ([`DefaultBodyLimit`](axum::extract::DefaultBodyLimit)) | 413 | `about:blank` |
//! | body breaks off | 400 | `about:blank` |
//! | query, or form in a query, does not fit the type | 400 | [`PARAMETERS`](crate::violation::PARAMETERS), `parameter` |
//! | path parameter does not fit the type, or is no UTF-8 | 404 | `about:blank` |
//! | handler and route do not fit together | 500 | `about:blank`, the reason in the log |
//!
//! A query is part of the target, so an unusable one is a bad request; only content can be
//! unprocessable (RFC 9110 §15.5.21). A path that holds no valid identifier names no resource, and
//! there is nothing to correct in it.
//!
//! The same holds for axum's own extractors, whose rejections become problems by `From`:
//! `#[from_request(via(axum::Json), rejection(Problem))]`, or `?`.
//!
//! # Violations
//!
//! | `code` | what serde complained about |
//! |---|---|
//! | `missing` | a member or parameter that must be there |
//! | `unknown` | one that the type does not have, with `deny_unknown_fields` |
//! | `duplicate` | one that is there more than once |
//! | `type` | another JSON type, or text that is no number |
//! | `range` | a number that does not fit |
//! | `length` | an array of another length |
//! | `variant` | a name that is none of an enum's |
//! | `invalid` | anything else, and everything that a hand-written `Deserialize` refuses |
//!
//! The value that was sent is never repeated, neither in the response nor for the log: the texts
//! are fixed ones, and the messages of serde and of hand-written `Deserialize` stay inside. Names
//! in pointers are those on the wire. A pointer is left out, or ends at an ancestor, where serde
//! does not know the place: in internally tagged, untagged and flattened types, and in names of
//! some hundred bytes. [`Json`] asks the type itself, by running its `Deserialize` once more over
//! the names in the path alone, and so is certain; the one case left is a missing member inside of
//! the content of an adjacently tagged enum that has the same name as the tag or the content. From
//! a bare [`JsonRejection`](axum::extract::rejection::JsonRejection) the type is not to be had:
//! there an error deep inside of such a type, unless that is the whole body, is ascribed to the
//! tagged object itself.

mod form;
mod json;
mod path;
mod query;
#[cfg(feature = "garde")]
mod valid;

pub use form::Form;
pub use json::Json;
pub use path::Path;
pub use query::Query;
#[cfg(feature = "garde")]
pub use valid::Valid;

/// What axum's extractors have.
macro_rules! deref {
    ($name:ident) => {
        impl<T> std::ops::Deref for $name<T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.0
            }
        }

        impl<T> std::ops::DerefMut for $name<T> {
            fn deref_mut(&mut self) -> &mut T {
                &mut self.0
            }
        }
    };
}
use deref;
