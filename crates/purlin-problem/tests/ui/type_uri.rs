//! A type is a slug or a URI reference, not both, and not `about:blank` in words.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(status = 404, slug = "Order_Not_Found", title = "Order not found")]
    Slug,
    #[problem(status = 404, slug = "a", type = "https://example.com/a", title = "A")]
    Both,
    #[problem(status = 404, type = "about:blank", title = "Not Found")]
    Blank,
}

fn main() {}
