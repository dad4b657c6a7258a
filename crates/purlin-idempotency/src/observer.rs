use std::{fmt, time::Duration};

use crate::{Outcome, RecordId, Rejection};

/// What the layer has done, for metrics.
///
/// Called in the path of the request: count, and return.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Something has happened.
    fn on_event(&self, event: &Event<'_>);
}

/// One thing that has happened. The guide has the table of them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A handler was run for a key.
    #[non_exhaustive]
    Executed {
        /// Its record.
        id: RecordId,
        /// How often it was begun, this time included.
        attempt: u64,
        /// What became of its answer.
        outcome: Outcome,
        /// From the claim to the end of the record.
        took: Duration,
    },
    /// An answer was repeated.
    #[non_exhaustive]
    Replayed {
        /// Its record.
        id: RecordId,
        /// Whether this process had it in memory.
        from_memory: bool,
    },
    /// A request was refused, or there was no answer to repeat.
    #[non_exhaustive]
    Rejected {
        /// Why.
        rejection: &'a Rejection,
    },
    /// The store could not be asked, and the handler ran without protection
    /// ([`OnStoreError::PassThrough`](crate::OnStoreError::PassThrough)).
    PassedThrough,
    /// The client left, and the handler was carried on without it.
    Detached,
    /// A lease was lost while its handler was at work.
    #[non_exhaustive]
    LeaseLost {
        /// Its record.
        id: RecordId,
        /// Which attempt it was.
        attempt: u64,
    },
    /// The record of work that was done could not be written yet; it is being tried again.
    #[non_exhaustive]
    NotRecorded {
        /// Its record.
        id: RecordId,
    },
}

impl Event<'_> {
    /// Whose it is.
    pub(crate) fn record(&self) -> Option<RecordId> {
        match self {
            Self::Executed { id, .. }
            | Self::Replayed { id, .. }
            | Self::LeaseLost { id, .. }
            | Self::NotRecorded { id } => Some(*id),
            Self::Rejected { .. } | Self::PassedThrough | Self::Detached => None,
        }
    }

    /// A name for it: the value of the tracing field `idempotency.event`, and of a metric's label.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Executed { .. } => "executed",
            Self::Replayed { .. } => "replayed",
            Self::Rejected { rejection } => {
                rejection.problem_type().slug_name().unwrap_or("rejected")
            }
            Self::PassedThrough => "passed_through",
            Self::Detached => "detached",
            Self::LeaseLost { .. } => "lease_lost",
            Self::NotRecorded { .. } => "not_recorded",
        }
    }
}
