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
