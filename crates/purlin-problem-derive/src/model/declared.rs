//! The problem types that one derive declares, each once.

use proc_macro2::Span;
use syn::LitStr;

use crate::{attributes::Status, diagnostics::Diagnostics};

/// A static in the expansion.
pub(crate) struct DeclaredType {
    pub(crate) identity: Identity,
    pub(crate) description: Option<Description>,
    /// The variant of `GrpcCode`.
    pub(crate) grpc: Option<&'static str>,
}

/// What makes two types the same, and what they must then agree on.
pub(crate) enum Identity {
    /// `about:blank`.
    Blank(Status),
    /// `/problems/<slug>`.
    Slug {
        slug: LitStr,
        title: LitStr,
        status: Status,
    },
    /// Any URI reference.
    Uri {
        uri: LitStr,
        title: LitStr,
        status: Status,
    },
    /// A type of the IANA registry, by its fragment.
    Iana(LitStr),
}

/// Prose for the catalogue.
pub(crate) struct Description {
    pub(crate) text: String,
    /// Given as `description = "…"`; otherwise it is the doc comment.
    pub(crate) explicit: Option<Span>,
}

impl Identity {
    /// The URI reference on the wire; statuses tell the blank ones apart.
    fn wire(&self) -> String {
        match self {
            Self::Blank(status) => format!("about:blank {}", status.code),
            Self::Slug { slug, .. } => format!("/problems/{}", slug.value()),
            Self::Uri { uri, .. } => uri.value(),
            Self::Iana(fragment) => format!("iana {}", fragment.value()),
        }
    }

    fn title_and_status(&self) -> Option<(&LitStr, Status)> {
        match self {
            Self::Slug { title, status, .. } | Self::Uri { title, status, .. } => {
                Some((title, *status))
            }
            Self::Blank(_) | Self::Iana(_) => None,
        }
    }
}

/// The types found so far.
#[derive(Default)]
pub(crate) struct DeclaredTypes(Vec<DeclaredType>);

impl DeclaredTypes {
    /// The number of the type, which is a new one unless an earlier variant has the same.
    pub(crate) fn add(
        &mut self,
        new: DeclaredType,
        grpc_span: Option<Span>,
        errors: &mut Diagnostics,
    ) -> usize {
        let wire = new.identity.wire();
        let blank = matches!(new.identity, Identity::Blank(_));
        let same = |known: &DeclaredType| {
            // The blank types of one status are one for a reader, but may differ for gRPC.
            known.identity.wire() == wire && (!blank || known.grpc == new.grpc)
        };
        let Some(number) = self.0.iter().position(same) else {
            self.0.push(new);
            return self.0.len() - 1;
        };
        let known = &mut self.0[number];
        if let (Some((title, status)), Some((new_title, new_status))) = (
            known.identity.title_and_status(),
            new.identity.title_and_status(),
        ) {
            if status.code != new_status.code {
                errors.at_span(
                    new_status.span,
                    format!(
                        "an earlier variant gives `{wire}` the status {}; {ONE}",
                        status.code
                    ),
                );
            }
            if title.value() != new_title.value() {
                errors.at(
                    new_title,
                    format!(
                        "an earlier variant gives `{wire}` the title {:?}; {ONE}",
                        title.value()
                    ),
                );
            }
        }
        if known.grpc != new.grpc {
            errors.at_span(
                grpc_span.unwrap_or_else(Span::call_site),
                format!("an earlier variant gives `{wire}` another `grpc`; {ONE}"),
            );
        }
        known.merge_description(new.description, &wire, errors);
        number
    }

    pub(crate) fn into_list(self) -> Vec<DeclaredType> {
        self.0
    }
}

const ONE: &str = "a type has one title, one status and one gRPC code";

impl DeclaredType {
    /// What is given wins over a doc comment, and the first doc comment over the next.
    fn merge_description(
        &mut self,
        new: Option<Description>,
        wire: &str,
        errors: &mut Diagnostics,
    ) {
        let Some(new) = new else { return };
        match &self.description {
            Some(known) if known.explicit.is_some() => {
                if let Some(span) = new.explicit
                    && known.text != new.text
                {
                    errors.at_span(
                        span,
                        format!("an earlier variant describes `{wire}` in other words"),
                    );
                }
            }
            Some(_) if new.explicit.is_none() => {}
            _ => self.description = Some(new),
        }
    }
}
