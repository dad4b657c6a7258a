//! A status is a number from 400 to 599.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(status = 200)]
    Fine,
    #[problem(status = 600, slug = "beyond", title = "Beyond")]
    Beyond,
    #[problem(status = NOT_FOUND)]
    Named,
    #[problem(status = "404")]
    Quoted,
    #[problem(slug = "which", title = "Which status?")]
    Which,
}

fn main() {}
