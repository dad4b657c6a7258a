use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// What a job must be the only one of, for how long, and what becomes of a second one.
///
/// The key is kept with the job in one transaction, never as a lock that expires by itself: it is
/// free when the job that holds it has started or ended, however that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unique {
    pub(crate) key: UniqueKey,
    pub(crate) span: Span,
    pub(crate) on_conflict: OnConflict,
}

impl Unique {
    /// The only one of this key until it is done, dead or cancelled. Keys are digested: they may be
    /// long, and do not stand in the store. Two kinds of job with one key exclude each other; put the
    /// kind into the key where they should not.
    #[must_use]
    pub fn until_done(key: impl AsRef<[u8]>) -> Self {
        Self::new(key.as_ref(), Span::UntilDone)
    }

    /// The only one of this key until it starts: what is enqueued while it runs is another job, so
    /// that no change is missed that came after it had begun to look.
    #[must_use]
    pub fn until_start(key: impl AsRef<[u8]>) -> Self {
        Self::new(key.as_ref(), Span::UntilStart)
    }

    /// The only one of this key for so long from when it is enqueued, whether or not it is done.
    #[must_use]
    pub fn for_period(key: impl AsRef<[u8]>, period: Duration) -> Self {
        Self::new(key.as_ref(), Span::For(period))
    }

    /// Lets a second job take the place of the first one, with its own payload and options, while that
    /// waits. One that runs is kept.
    #[must_use]
    pub fn or_replace(mut self) -> Self {
        self.on_conflict = OnConflict::Replace;
        self
    }

    fn new(key: &[u8], span: Span) -> Self {
        Self {
            key: UniqueKey(Sha256::digest(key).into()),
            span,
            on_conflict: OnConflict::Keep,
        }
    }

    /// The digest of the key.
    #[must_use]
    pub fn key(&self) -> &UniqueKey {
        &self.key
    }

    /// For how long.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// What becomes of a second one.
    #[must_use]
    pub fn on_conflict(&self) -> OnConflict {
        self.on_conflict
    }
}

/// The SHA-256 digest of what a job is the only one of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniqueKey([u8; 32]);

impl UniqueKey {
    /// 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UniqueKey(")?;
        self.0[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

/// For how long a job is the only one of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Span {
    /// Until it is claimed for the first time.
    UntilStart,
    /// Until it is done, dead, cancelled or replaced.
    UntilDone,
    /// For so long after it was enqueued, whatever became of it.
    For(Duration),
}

/// What becomes of a second job of a key that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnConflict {
    /// It is not enqueued.
    Keep,
    /// It takes the place of the first one if that waits; else it is not enqueued.
    Replace,
}
