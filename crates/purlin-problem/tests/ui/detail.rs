//! A template names fields of its variant.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(status = 404, detail = "Order {order} does not exist.")]
    Unknown { id: u64, shard: u8 },
    #[problem(status = 404, detail = "Order {} does not exist.")]
    Positional(u64),
    #[problem(status = 404, detail = "Order {0} does not exist.")]
    NoFields,
    #[problem(status = 404, detail = "Order {id does not exist.")]
    Open { id: u64 },
    #[problem(status = 404, detail = "Order id} does not exist.")]
    Closed { id: u64 },
    #[problem(status = 404, detail = "Order {id:>width$} does not exist.")]
    Width { id: u64, width: usize },
}

fn main() {}
