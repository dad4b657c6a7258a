//! Challenge and methods have types of their own.
use purlin_problem::Problem;
use thiserror::Error;

use purlin_problem::UnauthorizedType;

static EXPIRED: UnauthorizedType = UnauthorizedType::slug("expired", "Expired");

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(status = 401)]
    Unauthorized(#[problem(challenge)] String),
    #[problem(status = 405)]
    MethodNotAllowed(#[problem(allow)] String),
    #[problem(of = EXPIRED)]
    WithoutChallenge,
}

fn main() {}
