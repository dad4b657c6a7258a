use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The id of a job: a UUID of version 7, chosen where the job is enqueued, so that it is known before
/// the transaction commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Uuid);

impl JobId {
    /// One that nothing else has.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self(fresh(Uuid::now_v7))
    }

    /// This UUID, of whatever version.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// One run of a worker, from its start to its end. A worker that is started again is another one, so
/// that nothing of the first can be taken for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(Uuid);

impl WorkerId {
    /// One that nothing else has.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self(fresh(Uuid::new_v4))
    }

    /// This UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

/// The lease on the jobs of one claim: the token by which every write on them is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(Uuid);

impl LeaseId {
    /// One that nothing else has.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self(fresh(Uuid::now_v7))
    }

    /// This UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

/// One of the [`SeededIds`](crate::testing::SeededIds) of this thread, if it has any.
#[cfg(feature = "testing")]
fn fresh(id: impl FnOnce() -> Uuid) -> Uuid {
    crate::testing::seeded_id().unwrap_or_else(id)
}

#[cfg(not(feature = "testing"))]
fn fresh(id: impl FnOnce() -> Uuid) -> Uuid {
    id()
}
