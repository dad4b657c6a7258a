//! `#[problem(…)]` as it is written, before any rule about what goes with what.

use proc_macro2::Span;
use syn::{
    Attribute, Expr, ExprLit, Lit, LitStr, Path, Token, meta::ParseNestedMeta, spanned::Spanned,
};

use crate::diagnostics::Diagnostics;

/// A status, and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) span: Span,
}

/// The attributes of an enum as a whole, of a variant, or of a struct.
#[derive(Default)]
pub(crate) struct ItemAttributes {
    /// Where the first `#[problem]` stands.
    pub(crate) at: Option<Span>,
    /// Every key with its place, in order.
    pub(crate) keys: Vec<(String, Span)>,
    pub(crate) status: Option<Status>,
    pub(crate) slug: Option<LitStr>,
    pub(crate) uri: Option<LitStr>,
    pub(crate) title: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    pub(crate) detail: Option<LitStr>,
    pub(crate) grpc: Option<LitStr>,
    pub(crate) challenge: Option<LitStr>,
    pub(crate) iana: Option<LitStr>,
    pub(crate) of: Option<Path>,
    pub(crate) transparent: Option<Span>,
    pub(crate) internal: Option<Span>,
    pub(crate) crate_path: Option<Path>,
    /// Some of it could not be read, and the error is reported.
    pub(crate) broken: bool,
    /// The text of the doc comment.
    pub(crate) doc: String,
}

const ITEM_KEYS: &str = "`status`, `slug`, `type`, `title`, `description`, `detail`, `grpc`, \
                         `challenge`, `iana`, `of`, `internal` and `transparent`";

impl ItemAttributes {
    pub(crate) fn read(attributes: &[Attribute], errors: &mut Diagnostics) -> Self {
        let mut read = Self {
            doc: doc_text(attributes),
            ..Self::default()
        };
        let mut own_errors = Diagnostics::default();
        each_key(attributes, &mut own_errors, |key, meta, errors| {
            read.at.get_or_insert_with(|| meta.path.span());
            if read.keys.iter().any(|(known, _)| known == key) {
                errors.at(&meta.path, format!("`{key}` is given twice"));
                return skip_value(meta);
            }
            read.keys.push((key.to_owned(), meta.path.span()));
            match key {
                "status" => read.status = status(&meta.value()?.parse()?, errors),
                "slug" => read.slug = Some(text(meta)?),
                "type" => read.uri = Some(text(meta)?),
                "title" => read.title = Some(text(meta)?),
                "description" => read.description = Some(text(meta)?),
                "detail" => read.detail = Some(text(meta)?),
                "grpc" => read.grpc = Some(text(meta)?),
                "challenge" => read.challenge = Some(text(meta)?),
                "iana" => read.iana = Some(text(meta)?),
                "of" => read.of = Some(meta.value()?.parse()?),
                "crate" => read.crate_path = Some(meta.value()?.call(Path::parse_mod_style)?),
                "transparent" => read.transparent = Some(meta.path.span()),
                "internal" => read.internal = Some(meta.path.span()),
                "ext" | "header" | "allow" => {
                    errors.at(
                        &meta.path,
                        format!("`{key}` belongs on the field: `#[problem({key}…)] field: Type`"),
                    );
                    skip_value(meta)?;
                }
                _ => {
                    errors.at(
                        &meta.path,
                        format!("there is no `{key}` here; there are {ITEM_KEYS}"),
                    );
                    skip_value(meta)?;
                }
            }
            Ok(())
        });
        if read.at.is_none() {
            read.at = problem_attributes(attributes).next().map(Spanned::span);
        }
        read.broken = errors.append(own_errors);
        read
    }
}

/// The attributes of a field.
#[derive(Default)]
pub(crate) struct FieldAttributes {
    pub(crate) ext: Option<Ext>,
    pub(crate) header: Option<LitStr>,
    pub(crate) challenge: Option<Span>,
    pub(crate) allow: Option<Span>,
}

/// `ext`, `ext = "name"` or `ext(raw = "name")`.
pub(crate) struct Ext {
    pub(crate) span: Span,
    /// The field's own name, where this is absent.
    pub(crate) name: Option<LitStr>,
    pub(crate) raw: bool,
}

impl FieldAttributes {
    pub(crate) fn read(attributes: &[Attribute], errors: &mut Diagnostics) -> Self {
        let mut read = Self::default();
        each_key(attributes, errors, |key, meta, errors| {
            let twice = match key {
                "ext" => read.ext.replace(ext(meta)?).is_some(),
                "header" => read.header.replace(text(meta)?).is_some(),
                "challenge" => read.challenge.replace(meta.path.span()).is_some(),
                "allow" => read.allow.replace(meta.path.span()).is_some(),
                _ => {
                    errors.at(
                        &meta.path,
                        format!(
                            "there is no `{key}` on a field; there are `ext`, `header`, \
                             `challenge` and `allow`"
                        ),
                    );
                    return skip_value(meta);
                }
            };
            if twice {
                errors.at(&meta.path, format!("`{key}` is given twice"));
            }
            Ok(())
        });
        read
    }

    /// Where the first of them stands.
    pub(crate) fn span(&self) -> Option<Span> {
        let ext = self.ext.as_ref().map(|ext| ext.span);
        let header = self.header.as_ref().map(LitStr::span);
        ext.or(header).or(self.challenge).or(self.allow)
    }
}

fn problem_attributes(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("problem"))
}

/// Calls `read` for every key of every `#[problem(…)]`, and goes on after an error where the rest
/// can still be understood.
fn each_key(
    attributes: &[Attribute],
    errors: &mut Diagnostics,
    mut read: impl FnMut(&str, &ParseNestedMeta<'_>, &mut Diagnostics) -> syn::Result<()>,
) {
    for attribute in problem_attributes(attributes) {
        let parsed = attribute.parse_nested_meta(|meta| {
            let key = meta
                .path
                .get_ident()
                .map(ToString::to_string)
                .unwrap_or_default();
            read(&key, &meta, errors)
        });
        if let Err(error) = parsed {
            errors.push(error);
        }
    }
}

fn text(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    meta.value()?.parse()
}

fn ext(meta: &ParseNestedMeta<'_>) -> syn::Result<Ext> {
    let mut ext = Ext {
        span: meta.path.span(),
        name: None,
        raw: false,
    };
    if meta.input.peek(Token![=]) {
        ext.name = Some(text(meta)?);
    } else if meta.input.peek(syn::token::Paren) {
        meta.parse_nested_meta(|inner| {
            if !inner.path.is_ident("raw") {
                return Err(inner.error("write `ext(raw = \"name\")` or `ext = \"name\"`"));
            }
            ext.name = Some(text(&inner)?);
            ext.raw = true;
            Ok(())
        })?;
    }
    Ok(ext)
}

/// A literal from 400 to 599.
fn status(value: &Expr, errors: &mut Diagnostics) -> Option<Status> {
    let Expr::Lit(ExprLit {
        lit: Lit::Int(number),
        ..
    }) = value
    else {
        errors.at(
            value,
            "the status is a number written out, such as `status = 404`; for a type declared \
             elsewhere write `of = PATH`",
        );
        return None;
    };
    match number.base10_parse::<u16>() {
        Ok(code) if (400..=599).contains(&code) => Some(Status {
            code,
            span: number.span(),
        }),
        _ => {
            errors.at(number, "a problem has an error status, 400 to 599");
            None
        }
    }
}

/// Passes over `= value` or `(…)` of a key that is refused, so that the next key can be read.
fn skip_value(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        meta.input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

/// The lines of `///`, without the space that follows it.
fn doc_text(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"))
        .filter_map(
            |attribute| match &attribute.meta.require_name_value().ok()?.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(line),
                    ..
                }) => {
                    let line = line.value();
                    Some(
                        line.strip_prefix(' ')
                            .unwrap_or(&line)
                            .trim_end()
                            .to_owned(),
                    )
                }
                _ => None,
            },
        )
        .collect();
    lines.join("\n").trim().to_owned()
}
