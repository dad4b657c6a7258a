use std::{fmt, time::Duration};

use crate::{RecordId, Scope};

/// The messages that one consumer has dealt with: a queue, a webhook or a broker that delivers at
/// least once becomes effective once.
///
/// The id of a message is remembered in the transaction that does its work (`receive_in` of
/// `PostgresStore` and `SqliteStore`): both are there afterwards, or neither is, and then the next
/// delivery does it again.
#[derive(Clone)]
pub struct Inbox {
    consumer: Box<str>,
    retention: Duration,
}

impl Inbox {
    /// The inbox of `consumer`. Two consumers that both must see a message have two names.
    ///
    /// Ids are remembered for 30 days; it must be longer than a broker may deliver again.
    #[must_use]
    pub fn new(consumer: impl Into<Box<str>>) -> Self {
        Self {
            consumer: consumer.into(),
            retention: Duration::from_secs(30 * 24 * 3_600),
        }
    }

    /// Remembers ids for this long.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// For how long ids are remembered.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Under what a message is remembered. Ids are opaque, of any length, and compared byte by byte.
    #[must_use]
    pub fn record_id(&self, message_id: &[u8]) -> RecordId {
        RecordId::of(
            "purlin inbox",
            &Scope::principal(&*self.consumer),
            message_id,
        )
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("consumer", &self.consumer)
            .field("retention", &self.retention)
            .finish()
    }
}

/// Whether a message was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Received {
    /// It is new: do its work in this transaction.
    First,
    /// Its work is done: acknowledge it and do nothing.
    Duplicate,
}
