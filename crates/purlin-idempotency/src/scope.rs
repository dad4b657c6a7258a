use std::fmt;

/// Within what a key is unique: the principal who sends it, so that two customers who happen to use
/// one key never see each other's answers.
///
/// Take what stays the same for as long as retries come: the id of the account or of the user,
/// never the token, which may be refreshed between a request and its retry. In a service with
/// tenants the principal is tenant and user. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Scope(Option<Box<str>>);

impl Scope {
    /// The scope of this principal.
    #[must_use]
    pub fn principal(id: impl Into<Box<str>>) -> Self {
        Self(Some(id.into()))
    }

    /// The one scope of a service that serves one client only.
    #[must_use]
    pub fn single_tenant() -> Self {
        Self(None)
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Scope(principal)",
            None => "Scope(single tenant)",
        })
    }
}
