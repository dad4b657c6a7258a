//! Exactly one field, and it knows its problem.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(transparent)]
    Two(std::io::Error, u8),
    #[problem(transparent)]
    None,
}

#[derive(Debug, Error, Problem)]
enum Outer {
    #[error(transparent)]
    #[problem(transparent)]
    Io(#[from] std::io::Error),
}

fn main() {}
