//! Every variant says which problem it is.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    OutOfStock,
}

#[derive(Debug, Error, Problem)]
#[error("private")]
struct NotFound;

fn main() {}
