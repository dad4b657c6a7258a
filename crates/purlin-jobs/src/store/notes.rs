//! What a job leaves behind, and what it remembers between its attempts.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use purlin_store::{StoreError, StoreErrorKind};

use crate::{JobId, LeaseId};

/// The power of a store to keep notes of jobs: steps, timers, signals, progress, and results.
///
/// What a store that has it keeps besides the contract of [`JobStore`](crate::JobStore):
///
/// 1. A [`Note`] lives as long as its job has a row: until the job is done, or replaced, or purged as dead or
///    cancelled. A replay finds it again; a later job of the same id does not.
/// 2. [`note`](Self::note) is fenced by the lease as a settlement is.
/// 3. [`Outcome::DoneWith`](super::Outcome::DoneWith) writes the result in the step that ends the job.
/// 4. No signal is lost to a wait: either [`Outcome::Await`](super::Outcome::Await) finds that more
///    signals have come than the attempt knew of, and makes the job ready, or
///    [`signal`](Self::signal) finds the job waiting.
/// 5. [`purge_finished`](crate::JobAdmin::purge_finished) deletes results whose time is over.
///
/// A job that has no notes costs none of this.
#[async_trait]
pub trait NoteStore: fmt::Debug + Send + Sync {
    /// The notes of a job that is not done; `None` when it is, or was never there.
    async fn recall(&self, job: JobId) -> Result<Option<Notes>, StoreError>;

    /// Keeps a note of a job that this lease is on. One of its kind and name that is there stays as it is,
    /// but for [`NoteKind::Progress`], which is overwritten.
    async fn note(&self, lease: LeaseId, job: JobId, note: &Note) -> Result<Noted, StoreError>;

    /// Keeps a [`NoteKind::Signal`] for a job that is neither done nor dead nor cancelled, and makes
    /// it ready if it is scheduled and has a [`NoteKind::Wait`] of this name.
    async fn signal(&self, job: JobId, name: &str, value: &Bytes) -> Result<Signalled, StoreError>;

    /// What a job has left behind.
    async fn result(&self, job: JobId) -> Result<Found, StoreError>;
}

/// What a note is of. A name is one of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NoteKind {
    /// A step that is finished, with its value.
    Step,
    /// A timer that was set, with its time.
    Timer,
    /// That the job waits for a signal, and until when.
    Wait,
    /// A signal, with its value; without one: that the wait for it is over.
    Signal,
    /// How far the work is. Its name is empty.
    Progress,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl NoteKind {
    /// As the tables have it.
    pub(super) fn number(self) -> i16 {
        match self {
            Self::Step => 0,
            Self::Timer => 1,
            Self::Wait => 2,
            Self::Signal => 3,
            Self::Progress => 4,
        }
    }

    pub(super) fn from_number(number: i16) -> Option<Self> {
        let kinds = [
            Self::Step,
            Self::Timer,
            Self::Wait,
            Self::Signal,
            Self::Progress,
        ];
        kinds.into_iter().find(|kind| kind.number() == number)
    }
}

/// One thing that is kept with a job.
#[derive(Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is of.
    pub kind: NoteKind,
    /// Which one of its kind. At most 128 bytes.
    pub name: String,
    /// What the codec has made of its value: a store does not look into it.
    pub value: Option<Bytes>,
    /// How long it is until it is due, by the store's clock. Zero when it is.
    pub due_in: Option<Duration>,
}

impl fmt::Debug for Note {
    /// Without the value, which is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("due_in", &self.due_in)
            .finish_non_exhaustive()
    }
}

/// What is kept with a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    /// How many signals have come so far.
    pub signals: u32,
    /// In the order of kinds and names.
    pub notes: Vec<Note>,
}

/// What became of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Noted {
    /// It is kept.
    Kept,
    /// There is one already, which stays.
    Existing,
    /// The lease is gone or not on this job, or not any more: nothing was changed.
    Stale,
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signalled {
    /// The job has it, and gets it when it waits for it.
    Sent,
    /// One of this name was sent before, or the job has waited in vain: nothing was changed.
    Existing,
    /// The job is dead or cancelled: nothing was changed.
    Ended,
    /// The job is done, or was never there.
    Unknown,
}

/// What was found where a result may be.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// The result.
    Result(Bytes),
    /// The job has not come to its end yet.
    Pending,
    /// The job has ended, or was never there, and there is no result, or not any more.
    Nothing,
}

impl fmt::Debug for Found {
    /// Without the result.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Result(_) => "Result",
            Self::Pending => "Pending",
            Self::Nothing => "Nothing",
        })
    }
}

/// What a job leaves behind when it is done.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptResult {
    /// What the codec has made of it: a store does not look into it.
    pub value: Bytes,
    /// For how long it is kept, by the store's clock.
    pub ttl: Duration,
}

impl fmt::Debug for KeptResult {
    /// Without the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptResult")
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// The error of a store without this power.
pub(crate) fn no_notes(store: &'static str, operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, store, operation)
        .with_source("this store keeps no notes of jobs (`JobStore::notes`)")
}
