use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::{Key, Scope};

/// Goes into every digest: what is computed in another way gets another name.
const VERSION: &[u8] = b"purlin-idempotency 1";

/// Under what a request is remembered: a digest of namespace, scope and key.
///
/// The store never sees the key itself, nor who sent it. SHA-256 over the three, each preceded by
/// its length, so that `("ab", "c")` and `("a", "bc")` are two records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    digest: [u8; 32],
    scope: ScopeId,
}

/// Whose record it is: a digest of namespace and scope, by which all that is stored for one
/// principal is found when it has to be erased.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeId([u8; 16]);

impl RecordId {
    /// The record of `key` in `scope`, within `namespace`.
    #[must_use]
    pub fn new(namespace: &str, scope: &Scope, key: &Key) -> Self {
        Self::of(namespace, scope, key.as_str().as_bytes())
    }

    pub(crate) fn of(namespace: &str, scope: &Scope, key: &[u8]) -> Self {
        let scope = ScopeId::new(namespace, scope);
        Self {
            digest: digest([VERSION, &scope.0, key]),
            scope,
        }
    }

    /// The 32 bytes under which a store keeps the record.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whose it is.
    #[must_use]
    pub fn scope(&self) -> ScopeId {
        self.scope
    }

    /// 16 bytes that this record and `label` always give, and from which neither can be found out.
    pub(crate) fn derive(&self, label: &str) -> [u8; 16] {
        half(digest([VERSION, b"child", &self.digest, label.as_bytes()]))
    }
}

impl ScopeId {
    /// The identity of `scope` within `namespace`.
    #[must_use]
    pub fn new(namespace: &str, scope: &Scope) -> Self {
        let digest = match scope.id() {
            Some(principal) => digest([VERSION, namespace.as_bytes(), principal.as_bytes()]),
            // One part less: no principal is called like it.
            None => digest([VERSION, namespace.as_bytes()]),
        };
        Self(half(digest))
    }

    /// The 16 bytes that a store keeps beside each record.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn half(digest: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

impl fmt::Display for RecordId {
    /// The digest in hexadecimal, for logs and for operators who look for the record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.digest)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordId({self})")
    }
}

impl fmt::Display for ScopeId {
    /// The digest in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for ScopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopeId({self})")
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Inbox, KeySyntax};

    fn id(namespace: &str, principal: &str, key: &str) -> RecordId {
        let key = Key::parse(key.as_bytes(), KeySyntax::Lenient).unwrap();
        RecordId::new(namespace, &Scope::principal(principal), &key)
    }

    /// A digest that is computed in another way finds no record that is stored.
    #[test]
    fn stored_digests_stay_what_they_are() {
        let id = id("orders", "alice", "8e03978e-40d5");
        assert_eq!(id.scope().to_string(), "73160581fd4993c01e83fc52d6754a38");
        assert_eq!(
            id.to_string(),
            "00be75af4ec7bf180c8dde17943d3f358e3d94e01ec73bfde5abbdbe927e567f"
        );
        assert_eq!(
            ScopeId(id.derive("charge")).to_string(),
            "f65e2505f4e5767cb261e29224bba38a"
        );
        let key = Key::parse(b"\"8e03978e-40d5\"", KeySyntax::Strict).unwrap();
        let id = RecordId::new("orders", &Scope::single_tenant(), &key);
        assert_eq!(id.scope().to_string(), "b7bdf8bbf29b86216efe415b4c449bf5");
        assert_eq!(
            id.to_string(),
            "8c1ea9766f54e1b448e882513039957d4a7f73ea56f6c5a7a30487a81391c859"
        );
        assert_eq!(
            Inbox::new("billing").record_id(b"\0\xff").to_string(),
            "de0094c775513e165eb39873640088ad028c9b950cbe7e567cc775371a666367"
        );
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let ids = [
            id("ab", "c", "d"),
            id("a", "bc", "d"),
            id("a", "b", "cd"),
            id("", "abc", "d"),
            id("abc", "", "d"),
            id("ab", "c", "D"),
            RecordId::of("abc", &Scope::single_tenant(), b"d"),
            RecordId::of("ab", &Scope::principal("c"), b""),
        ];
        let digests: std::collections::HashSet<_> = ids.iter().map(RecordId::as_bytes).collect();
        assert_eq!(digests.len(), ids.len());
    }

    #[test]
    fn the_records_of_a_principal_have_one_scope() {
        let scope = ScopeId::new("orders", &Scope::principal("alice"));
        assert_eq!(id("orders", "alice", "1").scope(), scope);
        assert_eq!(id("orders", "alice", "2").scope(), scope);
        assert_ne!(id("orders", "bob", "1").scope(), scope);
        assert_ne!(id("payments", "alice", "1").scope(), scope);
        assert_eq!(scope.to_string().len(), 2 * scope.as_bytes().len());
    }

    #[test]
    fn children_differ_by_record_and_label() {
        let (one, two) = (id("a", "b", "1"), id("a", "b", "2"));
        assert_eq!(one.derive("charge"), one.derive("charge"));
        assert_ne!(one.derive("charge"), one.derive("refund"));
        assert_ne!(one.derive("charge"), two.derive("charge"));
        assert_ne!(one.derive(""), one.as_bytes()[..16]);
    }
}
