//! An extension has a name that RFC 9457 leaves free, once.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(status = 400)]
    Reserved {
        #[problem(ext)]
        status: u16,
        #[problem(ext = "detail")]
        reason: String,
        #[problem(ext)]
        r#type: u8,
    },
    #[problem(status = 400)]
    Malformed {
        #[problem(ext)]
        id: u64,
        #[problem(ext = "violated-policies")]
        policies: u8,
        #[problem(ext(raw = "1st"))]
        first: u8,
    },
    #[problem(status = 400)]
    Misspelt {
        #[problem(ext(name = "second"))]
        second: u8,
    },
    #[problem(status = 400)]
    Twice {
        #[problem(ext)]
        balance: u32,
        #[problem(ext = "balance")]
        other: u32,
    },
    #[problem(status = 400)]
    Unnamed(#[problem(ext)] u32),
}

fn main() {}
