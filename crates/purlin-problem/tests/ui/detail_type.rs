//! A field in a template can be displayed.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug)]
struct OrderId(u64);

#[derive(Debug, Error, Problem)]
#[error("private")]
#[problem(status = 404, detail = "Order {id} does not exist.")]
struct NotFound {
    id: OrderId,
}

fn main() {}
