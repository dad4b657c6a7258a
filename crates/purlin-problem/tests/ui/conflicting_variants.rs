//! A type has one title, one status, one description and one gRPC code.
use purlin_problem::Problem;
use thiserror::Error;

#[derive(Debug, Error, Problem)]
#[error("private")]
enum Errors {
    #[problem(status = 404, slug = "order-not-found", title = "Order not found")]
    First,
    #[problem(status = 410, slug = "order-not-found", title = "Order not found")]
    Status,
    #[problem(status = 404, type = "/problems/order-not-found", title = "No such order")]
    Title,
    #[problem(status = 404, slug = "order-not-found", title = "Order not found", grpc = "ABORTED")]
    Grpc,
    #[problem(status = 409, slug = "busy", title = "Busy", description = "One.")]
    Described,
    #[problem(status = 409, slug = "busy", title = "Busy", description = "Two.")]
    DescribedOtherwise,
}

fn main() {}
