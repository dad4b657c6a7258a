//! The code for a checked model.

mod bounds;

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Generics, Ident, Member, spanned::Spanned};

use crate::{
    model::{
        Additions, Answer, Base, Case, ChallengeOf, DeclaredType, Field, Header, Identity, Model,
    },
    template::Template,
};

/// The impl, in a block of its own with the statics that it needs.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let krate = &model.crate_path;
    let ident = &model.ident;
    let statics = model
        .declared
        .iter()
        .enumerate()
        .map(|(number, ty)| declaration(model, number, ty));
    let arms = model.cases.iter().map(|case| arm(model, case));
    let matched = if model.cases.is_empty() {
        quote!(*self)
    } else {
        quote!(self)
    };
    let list = Ident::new("__types", Span::mixed_site());
    let lists = type_lists(model);
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

fn static_name(number: usize) -> Ident {
    format_ident!("__PURLIN_PROBLEM_TYPE_{number}")
}

/// A static type. Its constructor stands where the literal does, so that the compiler points there
/// when it refuses the text.
fn declaration(model: &Model, number: usize, declared: &DeclaredType) -> TokenStream {
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
            let made = quote_spanned!(fragment.span()=> #krate::iana::by_fragment(#fragment));
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
            quote_spanned!(slug.span()=> #krate::#kind::slug(#status #slug, #title))
        }
        Identity::Uri {
            uri,
            title,
            status: given,
        } => {
            let status = unless_401(given.code);
            quote_spanned!(uri.span()=> #krate::#kind::new(#status #uri, #title))
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

/// The `&'static ProblemType` of a base that has one.
fn base_type(model: &Model, base: &Base, challenged: bool) -> TokenStream {
    let krate = &model.crate_path;
    match base {
        Base::Internal => quote!(&#krate::blank::INTERNAL_SERVER_ERROR),
        Base::MethodNotAllowed(_) => quote!(#krate::derive_support::method_not_allowed_type()),
        Base::Declared(number) => declared_type(model, *number),
        // With a challenge the user's type may be one of 401; without, it must not be.
        Base::Named(path) if challenged => {
            quote_spanned!(path.span()=> #krate::derive_support::NamedType::named(&#path))
        }
        Base::Named(path) => quote_spanned!(path.span()=> &#path),
    }
}

/// What `add_types` is called with: the types of this enum, then those of each transparent field.
fn type_lists(model: &Model) -> Vec<TokenStream> {
    let krate = &model.crate_path;
    let mut own = Vec::new();
    let mut inner = Vec::new();
    for case in &model.cases {
        match &case.answer {
            Answer::Transparent(field) => {
                let ty = &field.ty;
                inner.push(quote_spanned!(ty.span()=> <#ty as #krate::ToProblem>::problem_types()));
            }
            Answer::Own { base, additions } => {
                let ty = base_type(model, base, additions.challenge.is_some());
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

/// A local that cannot be mistaken for anything of the user's.
fn local(field: &Field) -> Ident {
    match &field.member {
        Member::Named(name) => {
            let name = syn::ext::IdentExt::unraw(name);
            Ident::new(&format!("__field_{name}"), Span::mixed_site())
        }
        Member::Unnamed(index) => {
            Ident::new(&format!("__field_{}", index.index), Span::mixed_site())
        }
    }
}

fn arm(model: &Model, case: &Case) -> TokenStream {
    let krate = &model.crate_path;
    let mut used: Vec<&Field> = Vec::new();
    let value = match &case.answer {
        Answer::Transparent(field) => {
            used.push(field);
            let local = local(field);
            quote_spanned!(field.ty.span()=> #krate::ToProblem::to_problem(#local))
        }
        Answer::Own { base, additions } => own_problem(model, base, additions, &mut used),
    };
    let mut bound: Vec<TokenStream> = Vec::new();
    for (at, field) in used.iter().enumerate() {
        if used[..at]
            .iter()
            .all(|earlier| earlier.member != field.member)
        {
            let (member, local) = (&field.member, local(field));
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
    let support = quote!(#krate::derive_support);
    let mut problem = if let Base::MethodNotAllowed(allow) = base {
        used.push(allow);
        let local = local(allow);
        let methods = quote_spanned! {allow.ty.span()=>
            ::core::convert::AsRef::<[#support::Method]>::as_ref(#local)
        };
        quote!(#krate::Problem::method_not_allowed(#methods))
    } else {
        let ty = base_type(model, base, additions.challenge.is_some());
        quote!(#krate::Problem::new(#ty))
    };
    if let Some(template) = &additions.detail {
        let text = detail(template, additions, used);
        problem = quote!(#support::with_detail(#problem, #text));
    }
    for ext in &additions.exts {
        used.push(&ext.field);
        let (name, local) = (&ext.name, local(&ext.field));
        let make = if ext.raw { quote!(raw) } else { quote!(new) };
        problem = quote_spanned! {ext.field.ty.span()=>
            #support::with_ext(#problem, const { #krate::ExtName::#make(#name) }, #local)
        };
    }
    for Header { name, field } in &additions.headers {
        used.push(field);
        let local = local(field);
        problem = if name.value() == "retry-after" {
            quote_spanned! {field.ty.span()=>
                #support::RetryAfterField::add_to(#local, #problem)
            }
        } else {
            quote_spanned! {field.ty.span()=>
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
            let local = local(field);
            quote_spanned!(field.ty.span()=> #support::with_challenge(#problem, #local))
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
            let mut local = local(field);
            // A field that cannot be displayed is an error of the template.
            local.set_span(local.span().located_at(format.span()));
            local
        })
        .collect();
    quote_spanned!(format.span()=> ::core::format_args!(#format #(, #arguments)*))
}
