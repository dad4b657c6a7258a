//! What the fields of a variant put into its problem.

use proc_macro2::Span;
use syn::{LitStr, Member};

use super::{Additions, ChallengeOf, ExtMember, Field, Header};
use crate::{
    attributes::{Ext, FieldAttributes},
    diagnostics::Diagnostics,
    literal,
    template::{Template, name_of},
};

/// The attributes of the fields of one case.
pub(crate) struct Marked {
    pub(crate) fields: Vec<(Field, FieldAttributes)>,
}

impl Marked {
    /// Puts together what fields, `detail` and `challenge` say.
    pub(crate) fn into_additions(
        self,
        detail: Option<&LitStr>,
        challenge: Option<LitStr>,
        errors: &mut Diagnostics,
    ) -> (Additions, Option<Field>) {
        let mut additions = Additions {
            fields: self.fields.iter().map(|(field, _)| field.clone()).collect(),
            challenge: challenge.and_then(|text| challenge_literal(text, errors)),
            ..Additions::default()
        };
        if let Some(literal) = detail {
            let members: Vec<Member> = additions
                .fields
                .iter()
                .map(|field| field.member.clone())
                .collect();
            match Template::read(literal, &members) {
                Ok(template) => additions.detail = Some(template),
                Err(error) => errors.push(error),
            }
        }
        let mut allow: Option<Field> = None;
        for (field, marks) in self.fields {
            if let Some(ext) = marks.ext {
                add_ext(&mut additions.exts, ext, &field, errors);
            }
            if let Some(name) = marks.header {
                add_header(&mut additions.headers, &name, &field, errors);
            }
            if let Some(span) = marks.challenge {
                add_challenge(&mut additions.challenge, span, &field, errors);
            }
            if let Some(span) = marks.allow
                && allow.replace(field).is_some()
            {
                errors.at_span(span, "another field is marked `allow` already");
            }
        }
        (additions, allow)
    }

    /// Refuses every mark, for kinds whose fields say nothing to the client.
    pub(crate) fn refuse(&self, kind: &str, errors: &mut Diagnostics) {
        for (_, marks) in &self.fields {
            if let Some(span) = marks.span() {
                errors.at_span(
                    span,
                    format!("a field of a variant that is `{kind}` puts nothing into the problem"),
                );
            }
        }
    }

    /// Where a field is marked `allow`.
    pub(crate) fn allow_span(&self) -> Option<Span> {
        self.fields.iter().find_map(|(_, marks)| marks.allow)
    }

    pub(crate) fn has_challenge(&self) -> bool {
        self.fields
            .iter()
            .any(|(_, marks)| marks.challenge.is_some())
    }
}

fn challenge_literal(text: LitStr, errors: &mut Diagnostics) -> Option<ChallengeOf> {
    match literal::check_challenge(&text) {
        Ok(()) => Some(ChallengeOf::Literal(text)),
        Err(refusal) => {
            errors.at(text, refusal);
            None
        }
    }
}

fn add_challenge(
    challenge: &mut Option<ChallengeOf>,
    span: Span,
    field: &Field,
    errors: &mut Diagnostics,
) {
    if challenge
        .replace(ChallengeOf::Field(field.clone()))
        .is_some()
    {
        errors.at_span(span, "the challenge is given twice");
    }
}

fn add_ext(exts: &mut Vec<ExtMember>, ext: Ext, field: &Field, errors: &mut Diagnostics) {
    let name = match (ext.name, &field.member) {
        (Some(name), _) => name,
        (None, Member::Named(ident)) => LitStr::new(&name_of(&field.member), ident.span()),
        (None, Member::Unnamed(_)) => {
            errors.at_span(
                ext.span,
                "a field without a name needs one here: `ext = \"balance\"`",
            );
            return;
        }
    };
    if let Err(refusal) = literal::check_ext_name(&name.value(), ext.raw) {
        errors.at(&name, refusal);
    }
    if exts.iter().any(|known| known.name.value() == name.value()) {
        errors.at(
            &name,
            format!("another field is the extension `{}` already", name.value()),
        );
    }
    exts.push(ExtMember {
        name,
        raw: ext.raw,
        field: field.clone(),
    });
}

fn add_header(headers: &mut Vec<Header>, name: &LitStr, field: &Field, errors: &mut Diagnostics) {
    let name = LitStr::new(&name.value().to_ascii_lowercase(), name.span());
    if let Err(refusal) = literal::check_header(&name.value()) {
        errors.at(&name, refusal);
    }
    // A list header may stand several times; RFC 9110 §10.2.3 knows one Retry-After.
    let is_retry_after = |name: &LitStr| name.value() == "retry-after";
    if is_retry_after(&name) && headers.iter().any(|known| is_retry_after(&known.name)) {
        errors.at(&name, "another field is `retry-after` already");
    }
    headers.push(Header {
        name,
        field: field.clone(),
    });
}
