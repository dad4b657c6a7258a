//! A type has a title, and `about:blank` has that of its status.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(status = 404, slug = "order-not-found")]
    Slug,
    #[problem(status = 404, type = "https://example.com/probs/order-not-found")]
    Uri,
    #[problem(status = 404, title = "Order not found")]
    Blank,
    #[problem(status = 404, slug = "a", title = "")]
    Empty,
    #[problem(status = 404, slug = "b", title = "two\nlines")]
    Lines,
    #[problem(status = 404, description = "There is no such order.")]
    Described,
}

fn main() {}
