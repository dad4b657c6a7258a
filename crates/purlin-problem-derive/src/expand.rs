//! The code for a checked model.

mod bounds;
mod problem;
mod types;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Generics, Ident};

use crate::model::Model;

/// The impl, in a block of its own with the statics that it needs.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let krate = &model.crate_path;
    let ident = &model.ident;
    let statics = model
        .declared
        .iter()
        .enumerate()
        .map(|(number, ty)| types::declaration(model, number, ty));
    let arms = model.cases.iter().map(|case| problem::arm(model, case));
    let matched = if model.cases.is_empty() {
        quote!(*self)
    } else {
        quote!(self)
    };
    let list = Ident::new("__types", Span::mixed_site());
    let lists = types::lists(model);
    let (impl_generics, ty_generics, _) = model.generics.split_for_impl();
    let where_clause = bounds::where_clause(model);
    quote! {
        const _: () = {
            #(#statics)*

            #[automatically_derived]
            impl #impl_generics #krate::ToProblem for #ident #ty_generics #where_clause {
                #[allow(deprecated)]
                fn to_problem(&self) -> #krate::Problem {
                    match #matched { #(#arms)* }
                }

                fn problem_types()
                    -> #krate::derive_support::Vec<&'static #krate::ProblemType>
                {
                    let mut #list = #krate::derive_support::Vec::new();
                    #(#krate::derive_support::add_types(&mut #list, #lists);)*
                    #list
                }
            }
        };
    }
}

/// An impl without content, beside errors: it keeps the compiler from reporting every `?` too.
pub(crate) fn placeholder(ident: &Ident, generics: &Generics) -> TokenStream {
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let mut clause = where_clause.cloned();
    if generics.type_params().next().is_some() {
        let clause = clause.get_or_insert_with(|| syn::parse_quote!(where));
        clause
            .predicates
            .push(syn::parse_quote!(Self: ::core::error::Error));
    }
    quote! {
        #[automatically_derived]
        impl #impl_generics ::purlin_problem::ToProblem for #ident #ty_generics #clause {
            fn to_problem(&self) -> ::purlin_problem::Problem {
                ::core::unreachable!()
            }
            fn problem_types()
                -> ::purlin_problem::derive_support::Vec<&'static ::purlin_problem::ProblemType>
            {
                ::core::unreachable!()
            }
        }
    }
}

/// The place of the user's tokens with the names of the derive, for errors that belong there.
fn place(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// The path of the crate, as if it stood at that place.
fn crate_at(model: &Model, span: Span) -> TokenStream {
    let tokens = model.crate_path.to_token_stream().into_iter();
    let moved = tokens.map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    moved.collect()
}
