//! One way to say which problem it is.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(iana = "quota-exceeded", status = 429)]
    Iana,
    #[problem(of = purlin_problem::iana::QUOTA_EXCEEDED, title = "Quota exceeded")]
    Of,
    #[problem(internal, detail = "The disk is full.")]
    Internal,
    #[problem(transparent, internal)]
    Transparent(std::io::Error),
    #[problem(internal)]
    InternalField(#[problem(ext = "path")] String),
}

fn main() {}
