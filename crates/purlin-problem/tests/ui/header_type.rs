//! A header field has a value that cannot be malformed.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(status = 503)]
    Header(#[problem(header = "x-lock")] String),
    #[problem(status = 503)]
    RetryAfter(#[problem(header = "retry-after")] u64),
}

fn main() {}
