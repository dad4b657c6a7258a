//! The types of a problem: statics of the derive's own, and those that are named.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Ident, spanned::Spanned};

use super::{crate_at, place};
use crate::model::{Answer, Base, DeclaredType, Identity, Model};

fn static_name(number: usize) -> Ident {
    format_ident!("__PURLIN_PROBLEM_TYPE_{number}")
}

/// A static type. Its constructor stands where the literal does, so that the compiler points there
/// when it refuses the text.
pub(super) fn declaration(model: &Model, number: usize, declared: &DeclaredType) -> TokenStream {
    let krate = &model.crate_path;
    let name = static_name(number);
    let unauthorized = is_unauthorized(declared);
    let kind = if unauthorized {
        quote!(UnauthorizedType)
    } else {
        quote!(ProblemType)
    };
    let status = |code: u16| quote!(#krate::derive_support::status(#code),);
    let unless_401 = |code: u16| (!unauthorized).then(|| status(code));
    let mut made = match &declared.identity {
        Identity::Iana(fragment) => {
            let at = place(fragment.span());
            let here = crate_at(model, at);
            let made = quote_spanned!(at=> #here::iana::by_fragment(#fragment));
            return quote!(static #name: &'static #krate::ProblemType = #made;);
        }
        Identity::Blank(_) if unauthorized => quote!(#krate::derive_support::unauthorized()),
        Identity::Blank(given) => {
            let status = status(given.code);
            quote!(#krate::ProblemType::blank(#status))
        }
        Identity::Slug {
            slug,
            title,
            status: given,
        } => {
            let status = unless_401(given.code);
            let at = place(slug.span());
            let here = crate_at(model, at);
            quote_spanned!(at=> #here::#kind::slug(#status #slug, #title))
        }
        Identity::Uri {
            uri,
            title,
            status: given,
        } => {
            let status = unless_401(given.code);
            let at = place(uri.span());
            let here = crate_at(model, at);
            quote_spanned!(at=> #here::#kind::new(#status #uri, #title))
        }
    };
    if let Some(description) = &declared.description {
        let text = &description.text;
        made = quote!(#made.with_description(#text));
    }
    if let Some(code) = declared.grpc {
        let code = Ident::new(code, Span::call_site());
        made = quote!(#made.with_grpc_code(#krate::GrpcCode::#code));
    }
    quote!(static #name: #krate::#kind = #made;)
}

fn is_unauthorized(declared: &DeclaredType) -> bool {
    match &declared.identity {
        Identity::Blank(status) | Identity::Slug { status, .. } | Identity::Uri { status, .. } => {
            status.code == 401
        }
        Identity::Iana(_) => false,
    }
}

/// A `&'static ProblemType` for a declared type.
fn declared_type(model: &Model, number: usize) -> TokenStream {
    let name = static_name(number);
    let declared = &model.declared[number];
    match declared.identity {
        Identity::Iana(_) => quote!(#name),
        _ if is_unauthorized(declared) => quote!(#name.as_type()),
        _ => quote!(&#name),
    }
}

/// The `&'static ProblemType` of a base.
pub(super) fn of_base(model: &Model, base: &Base) -> TokenStream {
    let krate = &model.crate_path;
    match base {
        Base::Internal => quote!(&#krate::blank::INTERNAL_SERVER_ERROR),
        Base::MethodNotAllowed(_) => quote!(#krate::derive_support::method_not_allowed_type()),
        Base::Declared(number) => declared_type(model, *number),
        Base::Named(path) => {
            let at = place(path.span());
            let here = crate_at(model, at);
            quote_spanned!(at=> #here::derive_support::NamedType::named(&#path))
        }
    }
}

/// What `add_types` is called with: the types of this enum, then those of each transparent field.
pub(super) fn lists(model: &Model) -> Vec<TokenStream> {
    let mut own = Vec::new();
    let mut inner = Vec::new();
    for case in &model.cases {
        match &case.answer {
            Answer::Transparent(field) => {
                let ty = &field.ty;
                let at = place(ty.span());
                let here = crate_at(model, at);
                inner.push(quote_spanned!(at=> <#ty as #here::ToProblem>::problem_types()));
            }
            Answer::Own { base, .. } => {
                let ty = of_base(model, base);
                if !own.iter().any(|(known, _)| *known == ty.to_string()) {
                    own.push((ty.to_string(), ty));
                }
            }
        }
    }
    let own = own.into_iter().map(|(_, ty)| ty);
    let own: &[TokenStream] = &own.collect::<Vec<_>>();
    let own = (!own.is_empty()).then(|| quote!([#(#own),*]));
    own.into_iter().chain(inner).collect()
}
