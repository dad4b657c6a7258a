//! Header fields that a field may give.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(status = 503)]
    Names {
        #[problem(header = "retry after")]
        spaced: http::HeaderValue,
        #[problem(header = "content-type")]
        media_type: http::HeaderValue,
        #[problem(header = "www-authenticate")]
        challenge: http::HeaderValue,
        #[problem(header = "allow")]
        allow: http::HeaderValue,
    },
    #[problem(status = 503)]
    Twice {
        #[problem(header = "retry-after")]
        one: std::time::Duration,
        #[problem(header = "Retry-After")]
        two: std::time::Duration,
    },
}

fn main() {}
