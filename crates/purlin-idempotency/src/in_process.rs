//! What this process is at work on.

use std::{
    collections::{HashMap, hash_map::Entry},
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

use crate::{DrainError, Fingerprint, RecordId, store::Existing};

/// The keys under way in this process. Of the copies of a request that arrive at the same process,
/// one at a time asks the store; while one of them is at work, the others are told so by this.
#[derive(Default)]
pub(crate) struct InProcess(Mutex<HashMap<RecordId, Work>>);

struct Work {
    fingerprint: Option<Fingerprint>,
    /// Closed when the place is given back.
    stage: watch::Receiver<Stage>,
}

/// How far the request is that has the place.
#[derive(Clone, Debug)]
enum Stage {
    /// It asks the store.
    Asking,
    /// The work is its own.
    AtWork,
    /// The store has answered that it is not.
    Refused(Finding),
}

/// What stands in the way of work: a record, or somebody elsewhere who has none yet.
pub(crate) type Finding = Option<Existing>;

/// Another request of this process has the place.
#[derive(Debug)]
pub(crate) struct Occupied {
    pub(crate) fingerprint: Option<Fingerprint>,
    stage: watch::Receiver<Stage>,
}

/// What came of another request's question to the store.
pub(crate) enum Asked {
    AtWork,
    Refused(Finding),
    /// It has failed, or was not asked to its end.
    Unanswered,
}

/// The right to ask the store about an id and to work on it, within this process. Given back when it
/// is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    table: Arc<InProcess>,
    id: RecordId,
    stage: watch::Sender<Stage>,
    /// What the store has answered, if it is not to work.
    refused: Option<Finding>,
}

impl InProcess {
    /// Takes the place of `id`, unless somebody has it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        id: RecordId,
        fingerprint: Option<Fingerprint>,
    ) -> Result<Place, Occupied> {
        match self.lock().entry(id) {
            Entry::Occupied(work) => Err(Occupied {
                fingerprint: work.get().fingerprint,
                stage: work.get().stage.clone(),
            }),
            Entry::Vacant(vacant) => {
                let (sender, stage) = watch::channel(Stage::Asking);
                vacant.insert(Work { fingerprint, stage });
                Ok(Place {
                    table: Arc::clone(self),
                    id,
                    stage: sender,
                    refused: None,
                })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RecordId, Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occupied {
    /// Until the store has answered.
    pub(crate) async fn asked(&mut self) -> Asked {
        let answered = self.stage.wait_for(|stage| !matches!(stage, Stage::Asking));
        match answered.await.as_deref() {
            Ok(Stage::AtWork) => Asked::AtWork,
            Ok(Stage::Refused(finding)) => Asked::Refused(finding.clone()),
            Ok(Stage::Asking) | Err(_) => Asked::Unanswered,
        }
    }

    /// Until the work has ended, or for this long.
    pub(crate) async fn ended(mut self, at_most: Duration) {
        // Nothing is sent any more: what comes is the end of the sender.
        let _ = timeout(at_most, self.stage.changed()).await;
    }
}

impl Place {
    pub(crate) fn works(&self) {
        self.stage.send_replace(Stage::AtWork);
    }

    /// Gives it back, and tells those who wait what was found.
    pub(crate) fn refused(mut self, finding: Finding) -> Finding {
        self.refused = Some(finding.clone());
        finding
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
        // Afterwards: whoever is told meets nobody here who asked before.
        if let Some(finding) = self.refused.take() {
            self.stage.send_replace(Stage::Refused(finding));
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
