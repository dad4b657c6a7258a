//! Another error becomes a problem only when it is said aloud.

use purlin_problem::Problem;

fn read() -> Result<String, Problem> {
    Ok(std::fs::read_to_string("Cargo.toml")?)
}

fn main() {}
