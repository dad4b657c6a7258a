//! What generic fields must be able to do.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Ident, Type, WhereClause, WherePredicate, parse_quote};

use crate::model::{Additions, Answer, Base, Field, Model};

/// The clause of the type with a bound for each generic field that the problem uses.
///
/// A field without type parameters gets no bound: where it does not fit, the error is then at the
/// field.
pub(crate) fn where_clause(model: &Model) -> Option<WhereClause> {
    let parameters: Vec<&Ident> = model
        .generics
        .type_params()
        .map(|parameter| &parameter.ident)
        .collect();
    let mut clause = model.generics.where_clause.clone();
    if parameters.is_empty() {
        return clause;
    }
    let mut predicates: Vec<WherePredicate> = vec![parse_quote!(Self: ::core::error::Error)];
    let mut add = |ty: &Type, bound: TokenStream| {
        if mentions(ty.to_token_stream(), &parameters) {
            let predicate: WherePredicate = parse_quote!(#ty: #bound);
            if !predicates.contains(&predicate) {
                predicates.push(predicate);
            }
        }
    };
    let krate = &model.crate_path;
    for case in &model.cases {
        match &case.answer {
            Answer::Transparent(field) => add(&field.ty, quote!(#krate::ToProblem)),
            Answer::Own { base, additions } => {
                if let Base::MethodNotAllowed(allow) = base {
                    let bound = quote!(#krate::derive_support::AllowField);
                    add(&allow.ty, bound);
                }
                for (field, bound) in additions_bounds(model, additions) {
                    add(&field.ty, bound);
                }
            }
        }
    }
    clause
        .get_or_insert_with(|| parse_quote!(where))
        .predicates
        .extend(predicates);
    clause
}

fn additions_bounds<'a>(model: &Model, additions: &'a Additions) -> Vec<(&'a Field, TokenStream)> {
    let krate = &model.crate_path;
    let support = quote!(#krate::derive_support);
    let mut bounds = Vec::new();
    for argument in additions.detail.iter().flat_map(|detail| &detail.arguments) {
        let field = additions
            .fields
            .iter()
            .find(|field| field.member == argument.field);
        for name in &argument.traits {
            let name = Ident::new(name, proc_macro2::Span::call_site());
            bounds.extend(field.map(|field| (field, quote!(::core::fmt::#name))));
        }
    }
    for ext in &additions.exts {
        bounds.push((&ext.field, quote!(#support::Serialize)));
    }
    for header in &additions.headers {
        let retry_after = header.name.value() == "retry-after";
        let name = if retry_after {
            quote!(RetryAfterField)
        } else {
            quote!(HeaderField)
        };
        bounds.push((&header.field, quote!(#support::#name)));
    }
    bounds
}

/// Whether one of the type parameters stands anywhere in the type.
fn mentions(tokens: TokenStream, parameters: &[&Ident]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => parameters.iter().any(|parameter| **parameter == ident),
        TokenTree::Group(group) => mentions(group.stream(), parameters),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
