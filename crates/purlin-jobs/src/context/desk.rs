use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;

use crate::JobStore;
use crate::notes::Codec;
use crate::store::{KeptResult, Note, NoteKind, Notes};

/// What one attempt has at hand besides its job, and what it is about to leave.
pub(crate) struct Desk {
    pub(super) store: Arc<dyn JobStore>,
    pub(super) codec: Codec,
    is_completed: AtomicBool,
    papers: Mutex<Papers>,
    reported: Notify,
    /// As they were when they were first asked for.
    pub(super) remembered: OnceCell<Remembered>,
}

#[derive(Default)]
struct Papers {
    result: Option<KeptResult>,
    /// What was reported last, until it is written.
    progress: Option<Bytes>,
    /// The names that the attempt has used.
    used: HashSet<(NoteKind, String)>,
}

pub(super) struct Remembered {
    pub(super) at: Instant,
    pub(super) signals: u32,
    pub(super) notes: HashMap<(NoteKind, String), Note>,
}

impl Remembered {
    pub(super) fn new(read: Notes, at: Instant) -> Self {
        let notes = read.notes.into_iter();
        let notes = notes.map(|note| ((note.kind, note.name.clone()), note));
        Self {
            at,
            signals: read.signals,
            notes: notes.collect(),
        }
    }

    pub(super) fn find(&self, kind: NoteKind, name: &str) -> Option<&Note> {
        self.notes.get(&(kind, name.to_owned()))
    }
}

impl Desk {
    pub(crate) fn new(store: Arc<dyn JobStore>, codec: Codec) -> Self {
        Self {
            store,
            codec,
            is_completed: AtomicBool::new(false),
            papers: Mutex::default(),
            reported: Notify::new(),
            remembered: OnceCell::new(),
        }
    }

    fn papers(&self) -> MutexGuard<'_, Papers> {
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn complete(&self) {
        self.is_completed.store(true, Ordering::Release);
    }

    pub(super) fn is_completed(&self) -> bool {
        self.is_completed.load(Ordering::Acquire)
    }

    pub(super) fn keep(&self, result: KeptResult) {
        self.papers().result = Some(result);
    }

    pub(super) fn result(&self) -> Option<KeptResult> {
        self.papers().result.clone()
    }

    pub(super) fn take_result(&self) -> Option<KeptResult> {
        self.papers().result.take()
    }

    pub(super) fn report(&self, progress: Bytes) {
        self.papers().progress = Some(progress);
        self.reported.notify_one();
    }

    pub(super) async fn reported(&self) {
        self.reported.notified().await;
    }

    pub(super) fn progress(&self) -> Option<Bytes> {
        self.papers().progress.clone()
    }

    /// That this is written. What has been reported since then is not.
    pub(super) fn has_written(&self, written: &Bytes) {
        self.papers().progress.take_if(|last| last == written);
    }

    /// `false` when the name was used before.
    pub(super) fn begin(&self, kind: NoteKind, name: &str) -> bool {
        self.papers().used.insert((kind, name.to_owned()))
    }
}

impl fmt::Debug for Desk {
    /// Without what is on it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("store", &self.store.name())
            .field("is_completed", &self.is_completed)
            .finish_non_exhaustive()
    }
}
