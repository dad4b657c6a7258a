//! How errors become problems.

use std::error::Error;

use crate::{BoxError, Problem, ProblemType};

/// An error that knows which problem it is. Derive it: see
/// [`derive(Problem)`](macro@crate::Problem).
///
/// `?` then turns the error into a [`Problem`](struct@Problem) and keeps it as the source for the log.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which problem it is",
    label = "no problem yet: derive `Problem` for it, or make it a 500 by `.internal()`",
    note = "in an error of your own, `#[problem(internal)]` on a variant makes it a 500"
)]
pub trait ToProblem: Error {
    /// The problem as the client reads it, without the source.
    fn to_problem(&self) -> Problem;

    /// Every type that [`to_problem`](Self::to_problem) can give, for OpenAPI and the catalogue.
    #[must_use]
    fn problem_types() -> Vec<&'static ProblemType>
    where
        Self: Sized;
}

impl<E: ToProblem + Send + Sync + 'static> From<E> for Problem {
    fn from(error: E) -> Self {
        error.to_problem().with_source(error)
    }
}

/// Turns errors that are no problems into problems, said aloud.
///
/// Without it, `?` on such an error does not compile:
///
/// ```compile_fail,E0277
/// # use purlin_problem::Problem;
/// fn read() -> Result<String, Problem> {
///     Ok(std::fs::read_to_string("Cargo.toml")?)
/// }
/// ```
///
/// ```
/// # use purlin_problem::Problem;
/// use purlin_problem::ResultExt;
///
/// fn read() -> Result<String, Problem> {
///     std::fs::read_to_string("Cargo.toml").internal()
/// }
/// ```
pub trait ResultExt<T> {
    /// A 500 that tells the client nothing; the error goes to the log.
    ///
    /// # Errors
    ///
    /// The problem, when `self` is an error.
    fn internal(self) -> Result<T, Problem>;

    /// A problem of this type; the error goes to the log.
    ///
    /// # Errors
    ///
    /// The problem, when `self` is an error.
    ///
    /// # Panics
    ///
    /// As [`Problem::new`], when `self` is an error.
    fn problem(self, ty: &'static ProblemType) -> Result<T, Problem>;
}

impl<T, E: Into<BoxError>> ResultExt<T> for Result<T, E> {
    fn internal(self) -> Result<T, Problem> {
        self.map_err(Problem::internal)
    }

    fn problem(self, ty: &'static ProblemType) -> Result<T, Problem> {
        self.map_err(|error| Problem::new(ty).with_source(error))
    }
}
