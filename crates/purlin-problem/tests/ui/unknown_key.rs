//! Misspelt and misplaced keys, all reported at once.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
#[problem(status = 500)]
enum Errors {
    #[problem(stauts = 404, slug = "a", titel = "A")]
    Misspelt,
    #[problem(status = 404, status = 405)]
    Twice,
    #[problem(status = 404, ext(balance))]
    OnVariant,
    #[problem(status = 404)]
    OnField(#[problem(title = "A")] u8),
    #[problem(status = 409, grpc = "CONFLICT")]
    Grpc,
    #[problem]
    Bare,
    #[problem(crate = purlin_problem, status = 404)]
    Crate,
}

fn main() {}
