//! The constant refuses a malformed URI reference, at the literal.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
#[problem(status = 404, type = "not a uri", title = "Order not found")]
struct NotFound;

fn main() {}
