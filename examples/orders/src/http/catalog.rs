use purlin_idempotency::problems;
use purlin_problem::{Catalog, ProblemType, ToProblem as _, catch_error::TIMEOUT};

use crate::{
    http::{customer::INVALID_HEADER, health::NOT_READY},
    service::Error,
};

/// A page for each type of problem that this service answers with, so that every `type` leads
/// somewhere.
pub(super) fn catalog() -> Catalog {
    Catalog::builder()
        .with_types(problem_types())
        .build()
        .expect("no two types have the same name")
}

fn problem_types() -> impl Iterator<Item = &'static ProblemType> {
    let of_http = [&INVALID_HEADER, &NOT_READY, &TIMEOUT];
    let of_keys = problems::ALL.iter().copied();
    Error::problem_types()
        .into_iter()
        .chain(of_http)
        .chain(of_keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_described() {
        catalog().assert_documents(problem_types());
    }
}
