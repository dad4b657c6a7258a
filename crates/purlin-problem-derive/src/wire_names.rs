//! `#[derive(WireNames)]`: what the fields of a struct are called on the wire, by serde's attributes.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, GenericParam, LitStr, Result, Token,
    ext::IdentExt as _, meta::ParseNestedMeta, parse_quote,
};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "WireNames takes structs: for an enum implement it by hand as `Names::UNKNOWN`, since \
             the report of a validator does not tell variants apart",
        ));
    };
    let container = Container::read(&input.attrs)?;
    let names = match &data.fields {
        Fields::Named(fields) => {
            let fields = fields
                .named
                .iter()
                .map(|field| wire_field(field, &container))
                .collect::<Result<Vec<_>>>()?;
            quote!(::purlin_problem::violation::Names::of_fields(const { &[#(#fields),*] }))
        }
        // serde writes a struct of one unnamed field as that field.
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            let field = with_names(
                quote!(::purlin_problem::violation::WireField::flattened("0")),
                &fields.unnamed[0],
            );
            quote!(::purlin_problem::violation::Names::of_fields(const { &[#field] }))
        }
        Fields::Unnamed(_) | Fields::Unit => {
            quote!(::purlin_problem::violation::Names::LEAF)
        }
    };

    let ident = &input.ident;
    let mut generics = input.generics.clone();
    for param in &mut generics.params {
        if let GenericParam::Type(param) = param {
            param
                .bounds
                .push(parse_quote!(::purlin_problem::violation::WireNames));
        }
    }
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::purlin_problem::violation::WireNames for #ident #ty_generics
        #where_clause
        {
            fn names() -> ::purlin_problem::violation::Names {
                #names
            }
        }
    })
}

fn wire_field(field: &Field, container: &Container) -> Result<TokenStream> {
    let ident = field
        .ident
        .as_ref()
        .expect("the fields of a braced struct have names")
        .unraw()
        .to_string();
    let serde = FieldNames::read(&field.attrs)?;
    let field_path = quote!(::purlin_problem::violation::WireField);
    let known = if serde.flatten || container.transparent {
        quote!(#field_path::flattened(#ident))
    } else if serde.skip {
        return Ok(quote!(#field_path::absent(#ident)));
    } else {
        let wire = serde
            .rename
            .unwrap_or_else(|| container.rename_all.apply(&ident));
        quote!(#field_path::new(#ident, #wire))
    };
    Ok(with_names(known, field))
}

fn with_names(known: TokenStream, field: &Field) -> TokenStream {
    if is_nested(&field.attrs) {
        let ty = &field.ty;
        quote!(#known.with_names(<#ty as ::purlin_problem::violation::WireNames>::names))
    } else {
        known
    }
}

/// Whether a validator looks into the field: `#[garde(dive)]` or `#[validate(nested)]`.
fn is_nested(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let word = if attr.path().is_ident("garde") {
            "dive"
        } else if attr.path().is_ident("validate") {
            "nested"
        } else {
            return false;
        };
        // Rules hold closures and other things that are no attribute syntax, so only the first
        // token of each is looked at.
        let mut at_start = true;
        attr.meta.require_list().is_ok_and(|list| {
            list.tokens.clone().into_iter().any(|token| {
                let found = at_start && matches!(&token, TokenTree::Ident(ident) if ident == word);
                at_start = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
                found
            })
        })
    })
}

#[derive(Default)]
struct Container {
    rename_all: RenameRule,
    transparent: bool,
}

impl Container {
    fn read(attrs: &[Attribute]) -> Result<Self> {
        let mut container = Self::default();
        each_serde(attrs, |meta| {
            if meta.path.is_ident("rename_all") {
                if let Some(rule) = deserialize_text(meta)? {
                    container.rename_all = RenameRule::read(&rule)?;
                }
            } else if meta.path.is_ident("transparent") {
                container.transparent = true;
            } else if meta.path.is_ident("from") || meta.path.is_ident("try_from") {
                return Err(meta.error(
                    "the names on the wire are those of the other type: implement WireNames by \
                     hand",
                ));
            } else {
                skip_value(meta)?;
            }
            Ok(())
        })?;
        Ok(container)
    }
}

#[derive(Default)]
struct FieldNames {
    rename: Option<String>,
    flatten: bool,
    skip: bool,
}

impl FieldNames {
    fn read(attrs: &[Attribute]) -> Result<Self> {
        let mut field = Self::default();
        each_serde(attrs, |meta| {
            if meta.path.is_ident("rename") {
                if let Some(name) = deserialize_text(meta)? {
                    field.rename = Some(name.value());
                }
            } else if meta.path.is_ident("flatten") {
                field.flatten = true;
            } else if meta.path.is_ident("skip") || meta.path.is_ident("skip_deserializing") {
                field.skip = true;
            } else {
                skip_value(meta)?;
            }
            Ok(())
        })?;
        Ok(field)
    }
}

fn each_serde(
    attrs: &[Attribute],
    mut read: impl FnMut(&ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    attrs
        .iter()
        .filter(|attr| attr.path().is_ident("serde"))
        .try_for_each(|attr| attr.parse_nested_meta(|meta| read(&meta)))
}

/// `= "x"`, or the name for deserialising in `(serialize = "y", deserialize = "x")`.
fn deserialize_text(meta: &ParseNestedMeta<'_>) -> Result<Option<LitStr>> {
    if meta.input.peek(Token![=]) {
        return meta.value()?.parse().map(Some);
    }
    let mut text = None;
    meta.parse_nested_meta(|side| {
        let value: LitStr = side.value()?.parse()?;
        if side.path.is_ident("deserialize") {
            text = Some(value);
        }
        Ok(())
    })?;
    Ok(text)
}

/// Passes over whatever follows a word that does not concern names.
fn skip_value(meta: &ParseNestedMeta<'_>) -> Result<()> {
    while !meta.input.is_empty() && !meta.input.peek(Token![,]) {
        meta.input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// serde's rules for fields, which are written in snake case.
#[derive(Clone, Copy, Default)]
enum RenameRule {
    #[default]
    Unchanged,
    Upper,
    Pascal,
    Camel,
    Kebab,
    ScreamingKebab,
}

impl RenameRule {
    fn read(text: &LitStr) -> Result<Self> {
        Ok(match text.value().as_str() {
            "lowercase" | "snake_case" => Self::Unchanged,
            "UPPERCASE" | "SCREAMING_SNAKE_CASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return Err(Error::new(text.span(), "not a rename rule of serde")),
        })
    }

    fn apply(self, field: &str) -> String {
        match self {
            Self::Unchanged => field.to_owned(),
            Self::Upper => field.to_ascii_uppercase(),
            Self::Kebab => field.replace('_', "-"),
            Self::ScreamingKebab => field.to_ascii_uppercase().replace('_', "-"),
            Self::Pascal => pascal(field),
            Self::Camel => {
                let pascal = pascal(field);
                let mut chars = pascal.chars();
                chars.next().map_or_else(String::new, |first| {
                    first.to_ascii_lowercase().to_string() + chars.as_str()
                })
            }
        }
    }
}

fn pascal(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut at_start = true;
    for letter in field.chars() {
        if letter == '_' {
            at_start = true;
        } else if at_start {
            out.push(letter.to_ascii_uppercase());
            at_start = false;
        } else {
            out.push(letter);
        }
    }
    out
}
