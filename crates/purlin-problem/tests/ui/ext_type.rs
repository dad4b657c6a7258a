//! An extension is written by serde.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug)]
struct Money(u32);

#[derive(Debug, Error, Problem)]
#[error("private")]
#[problem(status = 403)]
struct OutOfCredit {
    #[problem(ext)]
    balance: Money,
}

fn main() {}
