#![doc = include_str!("../README.md")]

mod attributes;
mod diagnostics;
mod expand;
mod literal;
mod model;
mod template;
mod wire_names;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use crate::{diagnostics::Diagnostics, model::Model};

/// The code comes from `purlin-problem-derive`, in the version of this crate.
#[proc_macro_derive(Problem, attributes(problem))]
pub fn derive_problem(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let mut errors = Diagnostics::default();
    let model = Model::read(&input, &mut errors);
    let code = match (errors.into_compile_error(), model) {
        (None, Some(model)) => expand::expand(&model),
        (errors, _) => {
            let mut code = proc_macro2::TokenStream::new();
            if !matches!(input.data, syn::Data::Union(_)) {
                code.extend(expand::placeholder(&input.ident, &input.generics));
            }
            code.extend(errors);
            code
        }
    };
    code.into()
}

/// See the trait of the same name.
#[proc_macro_derive(WireNames)]
pub fn derive_wire_names(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    wire_names::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
