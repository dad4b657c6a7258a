//! The crate under another path.

mod facade {
    pub use purlin_problem as problems;
}

#[derive(Debug, thiserror::Error, facade::problems::Problem)]
#[error("private")]
#[problem(crate = crate::facade::problems)]
#[problem(status = 409, slug = "busy", title = "Busy")]
struct Busy;

#[derive(Debug, thiserror::Error, facade::problems::Problem)]
#[problem(crate = facade::problems)]
enum Errors {
    #[error(transparent)]
    #[problem(transparent)]
    Busy(#[from] Busy),
}

fn main() {
    use facade::problems::ToProblem;
    assert_eq!(Errors::from(Busy).to_problem().status(), 409);
}
