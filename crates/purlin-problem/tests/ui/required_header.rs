//! Statuses that RFC 9110 allows only with a header.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(status = 401, slug = "token-expired", title = "The token has expired")]
    Unauthorized,
    #[problem(status = 405)]
    MethodNotAllowed,
    #[problem(status = 405, slug = "method", title = "Wrong method")]
    TypedMethod(#[problem(allow)] Vec<http::Method>),
    #[problem(status = 407)]
    Proxy,
    #[problem(status = 426)]
    Upgrade,
    #[problem(status = 404)]
    Allowed(#[problem(allow)] Vec<http::Method>),
    #[problem(status = 401, challenge = "")]
    Empty,
    #[problem(status = 401, challenge = "Bearer")]
    Twice(#[problem(challenge)] purlin_problem::Challenge),
}

fn main() {}
