//! How a case becomes a problem.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Ident, spanned::Spanned};

use super::{crate_at, place, types};
use crate::{
    model::{Additions, Answer, Base, Case, ChallengeOf, ExtMember, Field, Header, Model},
    template::{Template, name_of},
};

/// A local for the field, at the place that an error about it belongs to.
fn local(field: &Field, at: Span) -> Ident {
    let name = name_of(&field.member);
    Ident::new(
        &format!("__field_{name}"),
        Span::mixed_site().located_at(at),
    )
}

/// The arm of `to_problem` for a case.
pub(super) fn arm(model: &Model, case: &Case) -> TokenStream {
    let mut used: Vec<&Field> = Vec::new();
    let value = match &case.answer {
        Answer::Transparent(field) => {
            used.push(field);
            let at = place(field.ty.span());
            let (krate, local) = (crate_at(model, at), local(field, at));
            let ty = &field.ty;
            quote_spanned!(at=> <#ty as #krate::ToProblem>::to_problem(#local))
        }
        Answer::Own { base, additions } => own_problem(model, base, additions, &mut used),
    };
    let mut bound: Vec<TokenStream> = Vec::new();
    for (at, field) in used.iter().enumerate() {
        if used[..at]
            .iter()
            .all(|earlier| earlier.member != field.member)
        {
            let (member, local) = (&field.member, local(field, Span::mixed_site()));
            bound.push(quote!(#member: #local,));
        }
    }
    let path = case.variant.as_ref().map(|variant| quote!(::#variant));
    quote!(Self #path { #(#bound)* .. } => #value,)
}

/// The problem of a case that has a type, wrapped in one call for each thing that it adds.
fn own_problem<'a>(
    model: &Model,
    base: &'a Base,
    additions: &'a Additions,
    used: &mut Vec<&'a Field>,
) -> TokenStream {
    let krate = &model.crate_path;
    let mut problem = first(model, base, additions, used);
    if let Some(template) = &additions.detail {
        let text = detail(template, additions, used);
        problem = quote!(#krate::derive_support::with_detail(#problem, #text));
    }
    for ExtMember { name, raw, field } in &additions.exts {
        used.push(field);
        let at = place(field.ty.span());
        let (krate, local) = (crate_at(model, at), local(field, at));
        let make = if *raw { quote!(raw) } else { quote!(new) };
        problem = quote_spanned! {at=>
            #krate::derive_support::with_ext(
                #problem, const { #krate::ExtName::#make(#name) }, #local,
            )
        };
    }
    for Header { name, field } in &additions.headers {
        used.push(field);
        let at = place(field.ty.span());
        let (krate, local) = (crate_at(model, at), local(field, at));
        let support = quote_spanned!(at=> #krate::derive_support);
        problem = if name.value() == "retry-after" {
            quote_spanned!(at=> #support::RetryAfterField::add_to(#local, #problem))
        } else {
            quote_spanned! {at=>
                #support::HeaderField::add_to(
                    #local, #problem, #support::HeaderName::from_static(#name),
                )
            }
        };
    }
    match &additions.challenge {
        None => problem,
        Some(ChallengeOf::Literal(text)) => quote! {
            #problem.with_challenge(const { #krate::Challenge::from_static(#text) })
        },
        Some(ChallengeOf::Field(field)) => {
            used.push(field);
            let at = place(field.ty.span());
            let (krate, local) = (crate_at(model, at), local(field, at));
            quote_spanned!(at=> #krate::derive_support::with_challenge(#problem, #local))
        }
    }
}

/// The problem that is nothing but its type.
fn first<'a>(
    model: &Model,
    base: &'a Base,
    additions: &Additions,
    used: &mut Vec<&'a Field>,
) -> TokenStream {
    let krate = &model.crate_path;
    match base {
        Base::MethodNotAllowed(allow) => {
            used.push(allow);
            let at = place(allow.ty.span());
            let (here, local) = (crate_at(model, at), local(allow, at));
            let methods = quote_spanned!(at=> #here::derive_support::AllowField::methods(#local));
            quote!(#krate::Problem::method_not_allowed(#methods))
        }
        // Without a challenge the type must not be one of 401.
        Base::Named(path) if additions.challenge.is_none() => {
            let at = place(path.span());
            let here = crate_at(model, at);
            let ty = quote_spanned!(at=> #here::derive_support::CompleteType::complete(&#path));
            quote!(#krate::Problem::new(#ty))
        }
        base => {
            let ty = types::of_base(model, base);
            // Of a 401 too, whose challenge is added at once.
            quote!(#krate::derive_support::of_type(#ty))
        }
    }
}

fn detail<'a>(
    template: &'a Template,
    additions: &'a Additions,
    used: &mut Vec<&'a Field>,
) -> TokenStream {
    let format = &template.format;
    let arguments: Vec<Ident> = template
        .arguments
        .iter()
        .filter_map(|argument| {
            additions
                .fields
                .iter()
                .find(|field| field.member == argument.field)
        })
        .map(|field| {
            used.push(field);
            // A field that cannot be displayed is an error of the template.
            local(field, format.span())
        })
        .collect();
    quote_spanned!(place(format.span())=> ::core::format_args!(#format #(, #arguments)*))
}
