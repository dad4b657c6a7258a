//! The rules for one variant or struct.

use proc_macro2::Span;
use syn::{Fields, Ident, Type};

use super::{
    Answer, Base, Case, Field,
    declared::{DeclaredType, DeclaredTypes, Description, Identity},
    members::Marked,
};
use crate::{
    attributes::{FieldAttributes, ItemAttributes, Status},
    diagnostics::Diagnostics,
    literal,
};

/// The variant or struct as it is written.
pub(crate) struct Source<'a> {
    pub(crate) variant: Option<&'a Ident>,
    pub(crate) name: &'a Ident,
    pub(crate) fields: &'a Fields,
}

/// Checks one case. Its errors go to `all_errors`, and then there is no case.
pub(crate) fn read(
    source: &Source<'_>,
    attributes: ItemAttributes,
    declared: &mut DeclaredTypes,
    all_errors: &mut Diagnostics,
) -> Option<Case> {
    let mut errors = Diagnostics::default();
    let marked = Marked {
        fields: Field::all(source.fields)
            .into_iter()
            .zip(source.fields)
            .map(|(field, written)| (field, FieldAttributes::read(&written.attrs, &mut errors)))
            .collect(),
    };
    // A rule broken by half an attribute would only distract from the half that is missing.
    if all_errors.append(errors) || attributes.broken {
        return None;
    }
    if attributes.at.is_none() {
        all_errors.at(source.name, missing(source));
        return None;
    }
    let mut errors = Diagnostics::default();
    let answer = answer(attributes, marked, declared, &mut errors);
    if all_errors.append(errors) {
        return None;
    }
    Some(Case {
        variant: source.variant.cloned(),
        answer: answer?,
    })
}

fn answer(
    attributes: ItemAttributes,
    marked: Marked,
    declared: &mut DeclaredTypes,
    errors: &mut Diagnostics,
) -> Option<Answer> {
    let kind = Kind::of(&attributes);
    kind.refuse_other_keys(&attributes, errors);
    match kind {
        Kind::Transparent => {
            marked.refuse("transparent", errors);
            let span = attributes.transparent.unwrap_or_else(Span::call_site);
            return the_error(marked, span, errors).map(Answer::Transparent);
        }
        Kind::Internal => {
            marked.refuse("internal", errors);
            return Some(Answer::Own {
                base: Base::Internal,
                additions: Box::default(),
            });
        }
        Kind::Iana | Kind::Of | Kind::Status => {}
    }
    if attributes.status.is_none_or(|status| status.code != 405)
        && let Some(span) = marked.allow_span()
    {
        errors.at_span(
            span,
            "`Allow` belongs to `status = 405` (RFC 9110 section 15.5.6)",
        );
    }
    let base = match kind {
        Kind::Of => attributes.of.clone().map(Base::Named),
        Kind::Iana => attributes.iana.clone().map(|fragment| {
            let ty = DeclaredType {
                identity: Identity::Iana(fragment),
                description: None,
                grpc: None,
            };
            Base::Declared(declared.add(ty, None, errors))
        }),
        _ => base_of_status(&attributes, &marked, declared, errors),
    };
    let (additions, allow) =
        marked.into_additions(attributes.detail.as_ref(), attributes.challenge, errors);
    let base = allow.map(Base::MethodNotAllowed).or(base)?;
    Some(Answer::Own {
        base,
        additions: Box::new(additions),
    })
}

/// The five ways to say which problem a case is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Transparent,
    Internal,
    Iana,
    Of,
    Status,
}

impl Kind {
    fn of(attributes: &ItemAttributes) -> Self {
        let given = |wanted: &str| attributes.keys.iter().any(|(key, _)| key == wanted);
        match () {
            () if given("transparent") => Self::Transparent,
            () if given("internal") => Self::Internal,
            () if given("iana") => Self::Iana,
            () if given("of") => Self::Of,
            () => Self::Status,
        }
    }

    fn refuse_other_keys(self, attributes: &ItemAttributes, errors: &mut Diagnostics) {
        let (own, reason, allowed): (_, _, &[&str]) = match self {
            Self::Transparent => (
                "transparent",
                "the error in the field says which problem it is",
                &[],
            ),
            Self::Internal => {
                let reason = "it tells the client nothing; for a 500 that says more write \
                              `status = 500`";
                ("internal", reason, &[])
            }
            Self::Iana => (
                "iana",
                "the registered type is complete",
                &["detail", "challenge"],
            ),
            Self::Of => ("of", "the named type is complete", &["detail", "challenge"]),
            Self::Status => {
                if let Some((_, span)) = attributes.keys.iter().find(|(key, _)| key == "crate") {
                    errors.at_span(*span, "`crate` belongs on the enum");
                }
                return;
            }
        };
        for (key, span) in &attributes.keys {
            if key != own && !allowed.contains(&key.as_str()) {
                errors.at_span(
                    *span,
                    format!("`{key}` cannot stand beside `{own}`: {reason}"),
                );
            }
        }
    }
}

/// The one field of a transparent case that is not a backtrace.
fn the_error(marked: Marked, span: Span, errors: &mut Diagnostics) -> Option<Field> {
    let mut fields = marked
        .fields
        .into_iter()
        .map(|(field, _)| field)
        .filter(|field| !is_backtrace(&field.ty));
    match (fields.next(), fields.next()) {
        (Some(field), None) => Some(field),
        _ => {
            errors.at_span(
                span,
                "`transparent` needs exactly one field, the error that is the problem (a \
                 `Backtrace` does not count)",
            );
            None
        }
    }
}

fn is_backtrace(ty: &Type) -> bool {
    matches!(ty, Type::Path(path)
        if path.path.segments.last().is_some_and(|last| last.ident == "Backtrace"))
}

/// `status = …` with `slug`, `type` or neither.
fn base_of_status(
    attributes: &ItemAttributes,
    marked: &Marked,
    declared: &mut DeclaredTypes,
    errors: &mut Diagnostics,
) -> Option<Base> {
    let Some(status) = attributes.status else {
        errors.at_span(
            attributes.at.unwrap_or_else(Span::call_site),
            "which problem is this? Say `status = 404`, or one of `iana`, `of`, `internal` and \
             `transparent`",
        );
        return None;
    };
    check_headers_of(status, attributes, marked, errors);
    let identity = identity(attributes, status, errors);
    let grpc = attributes.grpc.as_ref().and_then(|name| {
        literal::grpc_variant(name)
            .map_err(|refusal| errors.at(name, refusal))
            .ok()
    });
    let ty = DeclaredType {
        identity: identity?,
        description: description(attributes),
        grpc,
    };
    let grpc_span = attributes
        .grpc
        .as_ref()
        .map_or(status.span, syn::LitStr::span);
    // A 405 is made from its methods and needs no static.
    (status.code != 405).then(|| Base::Declared(declared.add(ty, Some(grpc_span), errors)))
}

/// Statuses that RFC 9110 allows only with a header.
fn check_headers_of(
    status: Status,
    attributes: &ItemAttributes,
    marked: &Marked,
    errors: &mut Diagnostics,
) {
    match status.code {
        401 if attributes.challenge.is_none() && !marked.has_challenge() => errors.at_span(
            status.span,
            "401 needs a challenge (RFC 9110 section 15.5.2): add `challenge = \"Bearer\"`, or \
             mark a field of type `Challenge` with `#[problem(challenge)]`",
        ),
        405 => {
            if marked.allow_span().is_none() {
                errors.at_span(
                    status.span,
                    "405 needs the methods that are allowed (RFC 9110 section 15.5.6): mark a \
                     field, such as a `Vec<Method>`, with `#[problem(allow)]`",
                );
            }
            for (key, span) in &attributes.keys {
                if ["slug", "type", "title", "description", "grpc"].contains(&key.as_str()) {
                    errors.at_span(*span, "a 405 is always `about:blank`");
                }
            }
        }
        407 => errors.at_span(
            status.span,
            "407 is for proxies and needs `Proxy-Authenticate`; it cannot be derived",
        ),
        426 => errors.at_span(status.span, "426 needs `Upgrade`; it cannot be derived"),
        _ => {}
    }
}

fn identity(
    attributes: &ItemAttributes,
    status: Status,
    errors: &mut Diagnostics,
) -> Option<Identity> {
    match (&attributes.slug, &attributes.uri) {
        (None, None) => {
            for (key, span) in &attributes.keys {
                if key == "title" || key == "description" {
                    errors.at_span(
                        *span,
                        format!(
                            "a `{key}` needs a `slug` or a `type`: without one this is \
                             `about:blank`, which says no more than its status (RFC 9457 section \
                             4.2.1)"
                        ),
                    );
                }
            }
            return Some(Identity::Blank(status));
        }
        (Some(_), Some(uri)) => {
            errors.at(
                uri,
                "`slug` and `type` exclude each other: both say what the type is",
            );
        }
        (Some(slug), None) => {
            if let Err(refusal) = literal::check_slug(slug) {
                errors.at(slug, refusal);
            }
        }
        (None, Some(uri)) if uri.value() == "about:blank" => {
            errors.at(uri, "leave `type` out: a status alone is `about:blank`");
            return None;
        }
        (None, Some(_)) => {}
    }
    let name = attributes.slug.as_ref().or(attributes.uri.as_ref())?;
    let Some(title) = attributes.title.clone() else {
        errors.at(
            name,
            "this type has no title: add `title = \"…\"`, a few words that are the same for \
             every occurrence",
        );
        return None;
    };
    if let Err(refusal) = literal::check_title(&title) {
        errors.at(&title, refusal);
    }
    Some(match &attributes.slug {
        Some(slug) => Identity::Slug {
            slug: slug.clone(),
            title,
            status,
        },
        None => Identity::Uri {
            uri: name.clone(),
            title,
            status,
        },
    })
}

fn description(attributes: &ItemAttributes) -> Option<Description> {
    // `about:blank` is not this variant's to describe.
    if attributes.slug.is_none() && attributes.uri.is_none() {
        return None;
    }
    match &attributes.description {
        Some(text) => Some(Description {
            text: text.value(),
            explicit: Some(text.span()),
        }),
        None if attributes.doc.is_empty() => None,
        None => Some(Description {
            text: attributes.doc.clone(),
            explicit: None,
        }),
    }
}

fn missing(source: &Source<'_>) -> String {
    let what = if source.variant.is_some() {
        "variant"
    } else {
        "struct"
    };
    let slug = kebab_case(&source.name.to_string());
    format!(
        "this {what} does not say which problem it is. Write for instance `#[problem(status = \
         409, slug = \"{slug}\", title = \"…\")]`, `#[problem(internal)]` for a 500 that tells \
         the client nothing, or `#[problem(transparent)]` to pass on the problem of the one field"
    )
}

/// `OutOfStock` becomes `out-of-stock`.
fn kebab_case(name: &str) -> String {
    let mut slug = String::with_capacity(name.len() + 4);
    for letter in name.trim_start_matches("r#").chars() {
        if letter.is_uppercase() && !slug.is_empty() {
            slug.push('-');
        }
        slug.extend(letter.to_lowercase());
    }
    slug
}
