//! What the input means once every rule holds.

mod case;
mod declared;
mod members;

use syn::{Data, DeriveInput, Fields, Generics, Ident, LitStr, Member, Path, Type};

use self::declared::DeclaredTypes;
pub(crate) use self::declared::{DeclaredType, Identity};
use crate::{attributes::ItemAttributes, diagnostics::Diagnostics, template::Template};

/// An enum or struct that becomes a problem.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) crate_path: Path,
    pub(crate) declared: Vec<DeclaredType>,
    /// The variants in order; one without a name for a struct.
    pub(crate) cases: Vec<Case>,
}

/// A variant, or the whole struct.
pub(crate) struct Case {
    pub(crate) variant: Option<Ident>,
    pub(crate) answer: Answer,
}

/// How the problem of a case is made.
pub(crate) enum Answer {
    /// By the error in this field.
    Transparent(Field),
    /// By a type and what the case adds to it.
    Own {
        base: Base,
        additions: Box<Additions>,
    },
}

/// Where the type of a case comes from.
pub(crate) enum Base {
    /// `about:blank` with 500.
    Internal,
    /// `about:blank` with 405, and the field with the methods.
    MethodNotAllowed(Field),
    /// A static that the derive declares, by its number.
    Declared(usize),
    /// A static that the user declared.
    Named(Path),
}

/// What a case puts beside type, title and status.
#[derive(Default)]
pub(crate) struct Additions {
    pub(crate) detail: Option<Template>,
    pub(crate) exts: Vec<ExtMember>,
    pub(crate) headers: Vec<Header>,
    pub(crate) challenge: Option<ChallengeOf>,
    /// Every field of the case, for the detail.
    pub(crate) fields: Vec<Field>,
}

/// An extension member.
pub(crate) struct ExtMember {
    pub(crate) name: LitStr,
    pub(crate) raw: bool,
    pub(crate) field: Field,
}

/// A header field; the name is lower-case.
pub(crate) struct Header {
    pub(crate) name: LitStr,
    pub(crate) field: Field,
}

/// Where a challenge comes from.
pub(crate) enum ChallengeOf {
    Literal(LitStr),
    Field(Field),
}

/// A field of a case.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) member: Member,
    pub(crate) ty: Box<Type>,
}

impl Model {
    /// Checks the input by every rule; `None` when one is broken.
    pub(crate) fn read(input: &DeriveInput, errors: &mut Diagnostics) -> Option<Self> {
        let mut declared = DeclaredTypes::default();
        let mut attributes = ItemAttributes::read(&input.attrs, errors);
        let crate_path = attributes.crate_path.take();
        attributes.keys.retain(|(key, _)| key != "crate");
        let cases = match &input.data {
            Data::Struct(data) => {
                if attributes.keys.is_empty() {
                    attributes.at = None;
                }
                let source = case::Source {
                    variant: None,
                    name: &input.ident,
                    fields: &data.fields,
                };
                vec![case::read(&source, attributes, &mut declared, errors)]
            }
            Data::Enum(data) => {
                for (key, span) in &attributes.keys {
                    errors.at_span(
                        *span,
                        format!(
                            "`{key}` belongs on a variant: each variant is a problem of its own"
                        ),
                    );
                }
                let read = |variant: &syn::Variant| {
                    let attributes = ItemAttributes::read(&variant.attrs, errors);
                    let source = case::Source {
                        variant: Some(&variant.ident),
                        name: &variant.ident,
                        fields: &variant.fields,
                    };
                    case::read(&source, attributes, &mut declared, errors)
                };
                data.variants.iter().map(read).collect()
            }
            Data::Union(data) => {
                errors.at(
                    data.union_token,
                    "`Problem` can be derived for enums and structs",
                );
                return None;
            }
        };
        let cases = cases.into_iter().collect::<Option<Vec<Case>>>()?;
        errors.is_empty().then(|| Self {
            ident: input.ident.clone(),
            generics: input.generics.clone(),
            crate_path: crate_path.unwrap_or_else(|| syn::parse_quote!(::purlin_problem)),
            declared: declared.into_list(),
            cases,
        })
    }
}

impl Field {
    fn all(fields: &Fields) -> Vec<Self> {
        fields
            .members()
            .zip(fields)
            .map(|(member, field)| Self {
                member,
                ty: Box::new(field.ty.clone()),
            })
            .collect()
    }
}
