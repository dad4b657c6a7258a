use std::fmt;

use sha2::{Digest as _, Sha256};

/// The version of what is hashed, and whether the body went on after what was hashed.
const WHOLE: u8 = 0x10;
const PREFIX: u8 = 0x11;

/// What a request was, so that another one under the same key is noticed: a SHA-256 of method,
/// target, content type and body.
///
/// A handler that reads a streamed body only in part is fingerprinted by the part it has read: what
/// it did not see cannot have had an effect.
///
/// Stored as 41 bytes: one of the version and of whether the body was hashed to its end, eight of
/// how many bytes of it were, and the digest. Its `Debug` is the first few of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; Fingerprint::BYTES]);

impl Fingerprint {
    /// How many bytes one takes in a store.
    pub const BYTES: usize = 41;

    /// The fingerprint that was stored as `bytes`; `None` when this is not one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// What a store keeps.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// How many bytes of the body it covers.
    pub(crate) fn body_bytes(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[1..9]);
        u64::from_be_bytes(bytes)
    }

    /// Whether, when it is not equal to `other`, the requests are not.
    pub(crate) fn covers_like(&self, other: &Self) -> bool {
        let both_whole = self.is_whole() && other.is_whole();
        both_whole || self.0[..9] == other.0[..9]
    }

    /// Whether it covers the body to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.0[0] == WHOLE
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(")?;
        self.0[9..13]
            .iter()
            .try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str("…)")
    }
}

/// A fingerprint in the making: the head first, then the body as it comes.
#[derive(Clone, Debug)]
pub(crate) struct Hasher {
    hash: Sha256,
    body_bytes: u64,
}

impl Hasher {
    pub(crate) fn new<'a>(head: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        hash.update(crate::record_id::digest(head));
        Self {
            hash,
            body_bytes: 0,
        }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        self.hash.update(data);
        self.body_bytes += data.len() as u64;
    }

    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    pub(crate) fn finish(self, whole: bool) -> Fingerprint {
        let mut bytes = [0; Fingerprint::BYTES];
        bytes[0] = if whole { WHOLE } else { PREFIX };
        bytes[1..9].copy_from_slice(&self.body_bytes.to_be_bytes());
        bytes[9..].copy_from_slice(&self.hash.finalize());
        Fingerprint(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [&[u8]; 3] = [b"POST", b"/orders", b"application/json"];

    fn whole(head: [&[u8]; 3], chunks: &[&[u8]]) -> Fingerprint {
        let mut hasher = Hasher::new(head);
        for chunk in chunks {
            hasher.update(chunk);
        }
        hasher.finish(true)
    }

    fn hex(fingerprint: &Fingerprint) -> String {
        let bytes = fingerprint.as_bytes().iter();
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    /// One that is computed in another way makes each retry another request.
    #[test]
    fn stored_fingerprints_stay_what_they_are() {
        assert_eq!(
            hex(&whole(HEAD, &[b"{\"a\":1}"])),
            "10000000000000000\
             73693d8b249e77c84aae14542b701441a8a349a8ce3939f0ff131466f44ad717a"
        );
        assert_eq!(
            hex(&Hasher::new(HEAD).finish(false)),
            "1100000000000000003\
             933eec04c9de8b8d2c19823e4aba9e12468013ac99c563e71c9cdefd9f51eed"
        );
    }

    #[test]
    fn chunks_do_not_matter() {
        let one = whole(HEAD, &[b"{\"a\":1}"]);
        assert_eq!(whole(HEAD, &[b"{", b"", b"\"a\":", b"1}"]), one);
        assert_eq!(one.body_bytes(), 7);
        assert!(one.is_whole());
    }

    #[test]
    fn every_part_matters() {
        let all = [
            whole(HEAD, &[]),
            whole(HEAD, &[b"a"]),
            whole(HEAD, &[b"b"]),
            whole([b"PUT", HEAD[1], HEAD[2]], &[]),
            whole([HEAD[0], b"/orders?a", HEAD[2]], &[]),
            whole([HEAD[0], HEAD[1], b""], &[]),
            // What moves from one part into the next.
            whole([b"POST/", b"orders", HEAD[2]], &[]),
            whole([HEAD[0], HEAD[1], b"application/jso"], &[b"n"]),
            Hasher::new(HEAD).finish(false),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn a_prefix_says_how_much_it_covers() {
        let mut hasher = Hasher::new(HEAD);
        hasher.update(&[0; 300]);
        assert_eq!(hasher.body_bytes(), 300);
        let prefix = hasher.clone().finish(false);
        assert_eq!(prefix.body_bytes(), 300);
        assert!(!prefix.is_whole());
        assert_ne!(prefix, hasher.finish(true));
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let fingerprint = whole(HEAD, &[b"a"]);
        let stored = fingerprint.as_bytes();
        assert_eq!(Fingerprint::from_bytes(stored), Some(fingerprint));
        for wrong in [&stored[..40], &stored[..0], &[stored, &[0][..]].concat()] {
            assert_eq!(Fingerprint::from_bytes(wrong), None);
        }
        assert_eq!(
            format!("{fingerprint:?}").len(),
            "Fingerprint(12345678…)".len()
        );
    }
}
