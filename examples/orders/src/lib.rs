//! What the programs of this package share: the server `orders`, which is all of `main.rs`, and the
//! payment provider that it is tried against.

pub mod fake_provider;
pub mod listen;
pub mod vars;
