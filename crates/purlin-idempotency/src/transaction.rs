//! The transaction that a request's handler and its record share.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::Extensions;
use sqlx::{Database, Transaction};

/// The transaction of this request, taken by the handler; what it writes is committed with the
/// record of the request, after the handler has answered.
///
/// It dereferences to the connection: `sqlx::query(…).execute(&mut *transaction)`. Savepoints
/// (`transaction.begin()`) work; committing is the layer's, which does it exactly once, and
/// only when this value has been dropped: a handler that keeps it, in a task it has spawned for
/// instance, is answered with 500 and nothing is kept.
///
/// With the feature `axum` it is an extractor; an `Option` of it is `None` for a request without a key.
pub struct RequestTransaction<DB: Database> {
    transaction: Option<Lent<DB>>,
    slot: Slot<DB>,
}

/// A transaction that its store takes back wherever it is dropped.
pub(crate) struct Lent<DB: Database> {
    transaction: Option<Transaction<'static, DB>>,
    dropped: fn(Transaction<'static, DB>),
}

/// Where it is while nobody uses it.
pub(crate) struct Slot<DB: Database>(Arc<Mutex<Place<DB>>>);

enum Place<DB: Database> {
    AtHome(Lent<DB>),
    Away,
    /// The unit of work is over: what comes back is rolled back.
    Closed,
}

impl<DB: Database> RequestTransaction<DB> {
    /// Takes the transaction out of the extensions of a request.
    ///
    /// `None` when there is none: the request has no key, the layer is not transactional or of another
    /// database, or somebody else has it at the moment.
    #[must_use]
    pub fn take(extensions: &Extensions) -> Option<Self> {
        let slot = extensions.get::<Slot<DB>>()?.clone();
        let transaction = Some(slot.take()?);
        Some(Self { transaction, slot })
    }
}

impl<DB: Database> Lent<DB> {
    /// `dropped` gets it when nobody else has ended it.
    pub(crate) fn new(
        transaction: Transaction<'static, DB>,
        dropped: fn(Transaction<'static, DB>),
    ) -> Self {
        let transaction = Some(transaction);
        Self {
            transaction,
            dropped,
        }
    }

    pub(crate) fn into_inner(mut self) -> Transaction<'static, DB> {
        self.transaction.take().expect(NEVER_EMPTY)
    }
}

/// The slot of a unit of work. On drop the transaction is taken out of it and rolled back: the
/// extensions of the request have the slot too, and may live longer.
pub(crate) struct Home<DB: Database>(Slot<DB>);

impl<DB: Database> Home<DB> {
    pub(crate) fn new(transaction: Lent<DB>) -> Self {
        Self(Slot(Arc::new(Mutex::new(Place::AtHome(transaction)))))
    }

    /// What the handler finds it by.
    pub(crate) fn slot(&self) -> Slot<DB> {
        self.0.clone()
    }

    /// The transaction, if it is at home.
    pub(crate) fn take(&self) -> Option<Lent<DB>> {
        self.0.take()
    }
}

impl<DB: Database> Drop for Home<DB> {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut *self.0.place(), Place::Closed);
        drop(left);
    }
}

impl<DB: Database> Slot<DB> {
    fn take(&self) -> Option<Lent<DB>> {
        let mut place = self.place();
        match std::mem::replace(&mut *place, Place::Away) {
            Place::AtHome(transaction) => Some(transaction),
            other => {
                *place = other;
                None
            }
        }
    }

    fn place(&self) -> MutexGuard<'_, Place<DB>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> Clone for Slot<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

const NEVER_EMPTY: &str = "it is only taken at the end";

impl<DB: Database> Deref for Lent<DB> {
    type Target = Transaction<'static, DB>;

    fn deref(&self) -> &Self::Target {
        self.transaction.as_ref().expect(NEVER_EMPTY)
    }
}

impl<DB: Database> DerefMut for Lent<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.transaction.as_mut().expect(NEVER_EMPTY)
    }
}

impl<DB: Database> Drop for Lent<DB> {
    fn drop(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            (self.dropped)(transaction);
        }
    }
}

impl<DB: Database> Deref for RequestTransaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.transaction.as_ref().expect(NEVER_EMPTY)
    }
}

impl<DB: Database> DerefMut for RequestTransaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.transaction.as_mut().expect(NEVER_EMPTY)
    }
}

impl<DB: Database> Drop for RequestTransaction<DB> {
    fn drop(&mut self) {
        let mut place = self.slot.place();
        if let (Place::Away, Some(transaction)) = (&*place, self.transaction.take()) {
            *place = Place::AtHome(transaction);
        }
    }
}

impl<DB: Database> fmt::Debug for RequestTransaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTransaction").finish_non_exhaustive()
    }
}

impl<DB: Database> fmt::Debug for Home<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").finish_non_exhaustive()
    }
}

impl<DB: Database> fmt::Debug for Slot<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}
