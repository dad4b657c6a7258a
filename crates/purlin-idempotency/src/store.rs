//! What a store must do, and the records it does it with.

pub(crate) mod entry;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
mod transaction;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use purlin_store::StoreError;
use uuid::Uuid;

pub use self::entry::Entry;
pub use self::memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
#[cfg(feature = "redis")]
pub use self::redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
pub use self::transaction::{Begun, Settled, TransactionalStore, UnitOfWork};
use crate::{Fingerprint, RecordId, ScopeId};

/// Where claims and answers are kept.
///
/// # Contract
///
/// The conformance suite (`testing::conformance`, feature `testing`) checks each of these.
///
/// 1. [`claim`](Self::claim) is linearizable for each id, and one atomic step: an id never has two
///    live leases.
/// 2. [`Lease::attempt`] increases with every claim of an id for as long as it has a record.
/// 3. `extend`, `complete`, `release` and `abandon` compare the *whole* lease in the same atomic step
///    in which they write. When it is not the current one they change nothing and say
///    [`Fenced::Lost`].
/// 4. `complete` of an id that has no record succeeds and makes one: the work was done, and the
///    record that is missing has expired or was evicted.
/// 5. A completed record does not change until it expires, but for [`erase_scope`](Self::erase_scope).
///    `complete` by the lease that completed it is [`Fenced::Applied`] again.
/// 6. `release` and `abandon` do not touch a completed record.
/// 7. Leases and expiry are judged by the store's clock ([`Clock`](purlin_store::Clock)). A lease is
///    live before its end and lapsed from it on; a record is visible before its end, and also while
///    its lease is live.
/// 8. A lease that has lapsed stays what it was until somebody else takes it over: its owner may
///    still extend and complete it.
/// 9. Dropping a future at any await leaves the state from before or from after.
/// 10. An error means that it is *unknown* whether the write took effect. [`claim`](Self::claim) may
///     be asked again with the same [`Nonce`].
///
/// What is given to a store is trusted but for the answer, which is opaque: any bytes, and as
/// many as the layer's limit allows. A stored answer may hold personal data.
#[async_trait]
pub trait IdempotencyStore: fmt::Debug + Send + Sync + 'static {
    /// What it is called in errors, logs and metrics, in lower case.
    fn name(&self) -> &'static str;

    /// Begins the work of an id, or says what stands in the way.
    ///
    /// An id without a visible record is claimed with attempt 1. When the record is this very claim
    /// (the same nonce) and its lease is live, that lease is returned once more. A lapsed lease is
    /// taken over, with the next attempt, when the claim says [`LeaseLost::Reexecute`] and the two
    /// fingerprints, where both are known, are equal.
    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError>;

    /// Lets the lease last until `ttl` from now.
    async fn extend(&self, lease: &Lease, ttl: Duration) -> Result<Fenced, StoreError>;

    /// Ends the work and keeps its answer.
    async fn complete(&self, lease: &Lease, completion: &Completion) -> Result<Fenced, StoreError>;

    /// Forgets the work: the next claim begins anew.
    async fn release(&self, lease: &Lease) -> Result<Fenced, StoreError>;

    /// Lets the lease lapse now: the work ended, and nobody knows how.
    async fn abandon(&self, lease: &Lease) -> Result<Fenced, StoreError>;

    /// The record of an id, if it is visible.
    async fn get(&self, id: &RecordId) -> Result<Option<Existing>, StoreError>;

    /// Forgets an id, whatever its state: for an operator who has found out what happened. Says
    /// whether there was a visible record.
    async fn remove(&self, id: &RecordId) -> Result<bool, StoreError>;

    /// Erases the answers and the fingerprints of all completed records of a scope, and says how
    /// many had an answer. The records stay, so that a late retry is still not executed again.
    async fn erase_scope(&self, scope: &ScopeId) -> Result<u64, StoreError>;

    /// Deletes at most `limit` records that are not visible any more, and says how many; to be
    /// called until it says less than `limit`. A store that collects its garbage itself says 0.
    async fn purge_expired(&self, limit: u32) -> Result<u64, StoreError>;
}

/// What a claim asks for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Claim {
    /// What is claimed.
    pub id: RecordId,
    /// What makes this claim differ from all others.
    pub nonce: Nonce,
    /// What the request is, unless its body is only read with the work.
    pub fingerprint: Option<Fingerprint>,
    /// How long the lease lasts when it is not extended.
    pub lease_ttl: Duration,
    /// For how long a record is kept whose work never ends, so that a store cannot fill up with
    /// them. At least `lease_ttl`.
    pub unresolved_ttl: Duration,
    /// What to do when an earlier lease has lapsed.
    pub lease_lost: LeaseLost,
}

impl Claim {
    /// A claim of `id` for `lease_ttl`, with a new nonce, without a fingerprint, kept for 30 days if
    /// its work never ends, that does not take over a lapsed lease.
    #[must_use]
    pub fn new(id: RecordId, lease_ttl: Duration) -> Self {
        Self {
            id,
            nonce: Nonce::new(),
            fingerprint: None,
            lease_ttl,
            unresolved_ttl: UNRESOLVED_TTL,
            lease_lost: LeaseLost::default(),
        }
    }

    /// The same claim for a request that is known already.
    #[must_use]
    pub fn with_fingerprint(mut self, fingerprint: Option<Fingerprint>) -> Self {
        self.fingerprint = fingerprint;
        self
    }

    /// The same claim with another answer to a lapsed lease.
    #[must_use]
    pub fn with_lease_lost(mut self, lease_lost: LeaseLost) -> Self {
        self.lease_lost = lease_lost;
        self
    }

    /// The same claim, kept for `ttl` if its work never ends.
    #[must_use]
    pub fn with_unresolved_ttl(mut self, ttl: Duration) -> Self {
        self.unresolved_ttl = ttl;
        self
    }
}

pub(crate) const UNRESOLVED_TTL: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What is to be done when a lease has lapsed: the process that held it died, was cut off from the
/// store, or stood still. Also what is to be done after a failure that leaves open how far
/// the work went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LeaseLost {
    /// Nobody executes it again, and who asks is told that its outcome is not known. For effects
    /// that must not happen twice and cannot be asked about.
    #[default]
    Indeterminate,
    /// The next request executes it again. For work that may be repeated, such as a call to a
    /// provider that takes an idempotency key itself
    /// (`Execution::child_key`).
    Reexecute,
}

/// What came of a claim.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// The work is yours.
    Acquired(Lease),
    /// There is a record already.
    Existing(Existing),
}

/// A record that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Existing {
    /// What the request was; `None` while that is not known, and after it was erased.
    pub fingerprint: Option<Fingerprint>,
    /// How often the work was begun.
    pub attempt: u64,
    /// How far it is.
    pub state: State,
}

impl Existing {
    /// A record as a store has read it.
    #[must_use]
    pub fn new(fingerprint: Option<Fingerprint>, attempt: u64, state: State) -> Self {
        Self {
            fingerprint,
            attempt,
            state,
        }
    }
}

/// How far the work of a record is.
#[derive(Clone, PartialEq, Eq)]
pub enum State {
    /// Somebody is at work.
    InFlight {
        /// When the lease ends, from now.
        remaining: Duration,
    },
    /// The lease has ended and the work has not.
    Lapsed,
    /// It is done.
    Completed {
        /// What the layer gave to [`IdempotencyStore::complete`]; empty when it was erased.
        answer: Bytes,
        /// When the record expires, from now.
        remaining: Duration,
    },
}

/// The end of some work.
#[derive(Clone)]
#[non_exhaustive]
pub struct Completion {
    /// What the request was.
    pub fingerprint: Fingerprint,
    /// The answer, encoded by the layer.
    pub answer: Bytes,
    /// For how long it is kept, from now.
    pub retention: Duration,
}

impl Completion {
    /// The end of some work.
    #[must_use]
    pub fn new(fingerprint: Fingerprint, answer: Bytes, retention: Duration) -> Self {
        Self {
            fingerprint,
            answer,
            retention,
        }
    }
}

/// The right to do the work of an id, and to say how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// What was claimed.
    pub id: RecordId,
    /// The fencing token: greater than that of every lease of this id before it. A system that
    /// remembers the greatest it has seen can refuse the late writes of an owner who lost it.
    pub attempt: u64,
    /// Which claim it was. After a record has expired attempts begin at 1 again.
    pub nonce: Nonce,
}

/// 16 random bytes that make one claim differ from all others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// A new one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "two of them are never equal")]
    pub fn new() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }

    /// The one that was stored as `bytes`; `None` when this is not one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// What a store keeps.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({})", Uuid::from_bytes(self.0))
    }
}

/// Whether a write by the owner of a lease took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Fenced {
    /// It did.
    Applied,
    /// The lease is not the current one; nothing was changed.
    Lost,
}

// A stored answer may hold personal data: its length is what a log may show.

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight { remaining } => write!(f, "InFlight({remaining:?})"),
            Self::Lapsed => f.write_str("Lapsed"),
            Self::Completed { answer, remaining } => {
                write!(f, "Completed({} bytes, {remaining:?})", answer.len())
            }
        }
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fingerprint,
            answer,
            retention,
        } = self;
        let bytes = answer.len();
        write!(
            f,
            "Completion({fingerprint:?}, {bytes} bytes, {retention:?})"
        )
    }
}
