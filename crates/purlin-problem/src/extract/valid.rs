//! Values that were read and then validated.

use axum::extract::{FromRequest, FromRequestParts, Request};
use garde::Validate;
use http::request::Parts;

use super::{Form, Json, Query};
use crate::{
    Problem, Violations, WireNames,
    violation::{PARAMETERS, VALIDATION},
};

/// Reads by [`Json`], [`Query`] or [`Form`], then validates by the rules of `garde`, and refuses
/// with all violations at once: `Valid<Json<T>>`.
///
/// The type tells by [`WireNames`] what its fields are called for the client. A body that breaks
/// the rules is a 422 of the type [`VALIDATION`], a query a 400 of the type [`PARAMETERS`]. What
/// cannot be read at all is refused first, with the one violation at which serde stops. Rules that
/// need a context get its `Default`; where that is not enough, take [`Json`], call
/// `validate_with`, and answer by [`Violations::from_garde`].
///
/// ```
/// use axum::{Router, routing::post};
/// use garde::Validate;
/// use purlin_problem::{
///     WireNames,
///     extract::{Json, Valid},
/// };
/// use serde::Deserialize;
///
/// #[derive(Deserialize, Validate, WireNames)]
/// #[serde(rename_all = "camelCase", deny_unknown_fields)]
/// struct NewProduct {
///     #[garde(length(min = 1, max = 200))]
///     name: String,
///     #[garde(range(min = 1))]
///     price_cents: u32,
/// }
///
/// async fn create(Valid(Json(product)): Valid<Json<NewProduct>>) -> String {
///     format!("{} at {}", product.name, product.price_cents)
/// }
///
/// let app: Router = Router::new().route("/products", post(create));
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Valid<E>(pub E);

impl<E> std::ops::Deref for Valid<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0
    }
}

/// The second half: `from` says how the report is read, `ty` what the refusal is.
fn check<T>(
    value: &T,
    from: fn(&garde::Report, crate::violation::Names) -> Violations,
    ty: &'static crate::ProblemType,
) -> Result<(), Problem>
where
    T: Validate + WireNames,
    T::Context: Default,
{
    value
        .validate()
        .map_err(|report| Problem::new(ty).with_violations(from(&report, T::names())))
}

impl<T, S> FromRequest<S> for Valid<Json<T>>
where
    Json<T>: FromRequest<S, Rejection = Problem>,
    T: Validate + WireNames,
    T::Context: Default,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = Json::<T>::from_request(request, state).await?;
        check(&json.0, Violations::from_garde, &VALIDATION)?;
        Ok(Self(json))
    }
}

impl<T, S> FromRequest<S> for Valid<Form<T>>
where
    Form<T>: FromRequest<S, Rejection = Problem>,
    T: Validate + WireNames,
    T::Context: Default,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // For GET and HEAD the form is the query, and is refused as one.
        let ty = if matches!(*request.method(), http::Method::GET | http::Method::HEAD) {
            &PARAMETERS
        } else {
            &VALIDATION
        };
        let form = Form::<T>::from_request(request, state).await?;
        check(&form.0, Violations::from_garde_parameters, ty)?;
        Ok(Self(form))
    }
}

impl<T, S> FromRequestParts<S> for Valid<Query<T>>
where
    Query<T>: FromRequestParts<S, Rejection = Problem>,
    T: Validate + WireNames,
    T::Context: Default,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await?;
        check(&query.0, Violations::from_garde_parameters, &PARAMETERS)?;
        Ok(Self(query))
    }
}
