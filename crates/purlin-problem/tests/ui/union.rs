//! A union is no error.

#[derive(purlin_problem::Problem)]
union Either {
    left: u8,
    right: i8,
}

fn main() {}
