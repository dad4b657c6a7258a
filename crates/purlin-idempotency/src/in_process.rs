//! What this process is at work on.

use std::{
    collections::{HashMap, hash_map},
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{DrainError, Fingerprint, RecordId};

/// The keys under way in this process. A duplicate that arrives at the same process is told so
/// without a question to the store.
#[derive(Default)]
pub(crate) struct InProcess(Mutex<HashMap<RecordId, Work>>);

struct Work {
    fingerprint: Option<Fingerprint>,
    /// Closed when the work ends.
    end: watch::Receiver<()>,
}

/// Somebody in this process is at work.
#[derive(Debug)]
pub(crate) struct Occupied {
    pub(crate) fingerprint: Option<Fingerprint>,
    end: watch::Receiver<()>,
}

/// The right to work on an id, within this process. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    table: Arc<InProcess>,
    id: RecordId,
    end: watch::Sender<()>,
}

impl InProcess {
    /// Somebody in this process who is at work on `id`.
    pub(crate) fn find(&self, id: &RecordId) -> Option<Occupied> {
        let table = self.lock();
        let work = table.get(id)?;
        Some(Occupied {
            fingerprint: work.fingerprint,
            end: work.end.clone(),
        })
    }

    /// Takes the place of `id`; also from somebody who has lost its lease and does not know it yet.
    pub(crate) fn enter(self: &Arc<Self>, id: RecordId, fingerprint: Option<Fingerprint>) -> Place {
        let (sender, end) = watch::channel(());
        self.lock().insert(id, Work { fingerprint, end });
        Place {
            table: Arc::clone(self),
            id,
            end: sender,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RecordId, Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occupied {
    /// Until the work has ended, or for this long.
    pub(crate) async fn ended(mut self, at_most: Duration) {
        // Nothing is ever sent: what comes is the end of the sender.
        let _ = timeout(at_most, self.end.changed()).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let hash_map::Entry::Occupied(work) = self.table.lock().entry(self.id)
            && work.get().end.same_channel(&self.end.subscribe())
        {
            work.remove();
        }
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InProcess({})", self.lock().len())
    }
}

/// How many requests are being worked on, whether or not their client is still there.
#[derive(Debug, Default)]
pub(crate) struct Running {
    count: AtomicUsize,
    none_left: Notify,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct RunningGuard(Arc<Running>);

impl Running {
    pub(crate) fn enter(self: &Arc<Self>) -> RunningGuard {
        self.count.fetch_add(1, Ordering::Relaxed);
        RunningGuard(Arc::clone(self))
    }

    pub(crate) async fn drain(&self, deadline: Duration) -> Result<(), DrainError> {
        let drained = async {
            loop {
                // Before the look: whoever leaves after it is not missed.
                let mut none_left = pin!(self.none_left.notified());
                none_left.as_mut().enable();
                if self.count() == 0 {
                    return;
                }
                none_left.await;
            }
        };
        timeout(deadline, drained).await.map_err(|_| DrainError {
            running: self.count(),
        })
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.notify_waiters();
        }
    }
}
