#![doc = include_str!("../README.md")]

use proc_macro::TokenStream;

/// Placeholder.
#[proc_macro_derive(Problem, attributes(problem))]
pub fn derive_problem(_input: TokenStream) -> TokenStream {
    TokenStream::new()
}
