//! The errors of one expansion, reported all at once.

use std::fmt;

use proc_macro2::Span;
use quote::ToTokens;

/// Collects errors, so that one compilation shows all of them.
#[derive(Default)]
pub(crate) struct Diagnostics(Option<syn::Error>);

impl Diagnostics {
    /// Adds an error that underlines `tokens`.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl fmt::Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    /// Adds an error at a place.
    pub(crate) fn at_span(&mut self, span: Span, message: impl fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Moves the errors over, and says whether there were any.
    pub(crate) fn append(&mut self, other: Self) -> bool {
        match other.0 {
            Some(errors) => {
                self.push(errors);
                true
            }
            None => false,
        }
    }

    /// The errors as code that does not compile, if there are any.
    pub(crate) fn into_compile_error(self) -> Option<proc_macro2::TokenStream> {
        self.0.map(syn::Error::into_compile_error)
    }
}
