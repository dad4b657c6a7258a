//! The derive stands beside an `Error`.

#[derive(Debug, purlin_problem::Problem)]
#[problem(internal)]
struct NotAnError;

fn main() {}
