//! Names of extension members.

/// The name of an extension member (RFC 9457 §3.2), checked at compile time.
///
/// The five members of the specification cannot be named, so an extension never collides with
/// them.
///
/// ```
/// use purlin_problem::ExtName;
///
/// const BALANCE: ExtName = ExtName::new("balance");
/// assert_eq!(BALANCE.as_str(), "balance");
/// ```
///
/// ```compile_fail
/// # use purlin_problem::ExtName;
/// const STATUS: ExtName = ExtName::new("status");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtName(&'static str);

impl ExtName {
    /// A name by the recommendation of RFC 9457 §3.2: a letter, then letters, digits and
    /// underscores, at least three in all.
    ///
    /// # Panics
    ///
    /// When the name is reserved or malformed; in a `const` that is a compile error.
    #[must_use]
    #[track_caller]
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(
            bytes.len() >= 3,
            "an extension name has three characters or more"
        );
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_',
                "an extension name has letters, digits and underscores; see ExtName::raw"
            );
            at += 1;
        }
        Self::raw(name)
    }

    /// A name outside of the recommendation, such as the registered `violated-policies`: an
    /// ASCII letter or underscore, then letters, digits, `_`, `-` and `.` (an XML name, which
    /// `problem+xml` needs).
    ///
    /// # Panics
    ///
    /// When the name is reserved or malformed; in a `const` that is a compile error.
    #[must_use]
    #[track_caller]
    pub const fn raw(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(
            !bytes.is_empty() && (bytes[0].is_ascii_alphabetic() || bytes[0] == b'_'),
            "an extension name starts with a letter"
        );
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'_' | b'-' | b'.'),
                "an extension name has letters, digits, underscores, hyphens and full stops only"
            );
            at += 1;
        }
        assert!(
            !is_reserved(name),
            "this name is a member of RFC 9457 itself"
        );
        Self(name)
    }

    /// The name as it stands in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// Whether the specification itself defines the member.
pub(crate) const fn is_reserved(name: &str) -> bool {
    matches!(
        name.as_bytes(),
        b"type" | b"title" | b"status" | b"detail" | b"instance"
    )
}
