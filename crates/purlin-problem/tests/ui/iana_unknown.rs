//! Only registered types can be named by their fragment.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
#[problem(iana = "quota-exceeed")]
struct Limited;

fn main() {}
