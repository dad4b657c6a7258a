use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use purlin_store::StoreError;

use super::{MemoryStore, Micros, Place, Shelf, micros};
use crate::store::{Found, Note, NoteKind, NoteStore, Noted, Notes, Signalled};
use crate::{JobId, LeaseId};

/// The notes of one job.
#[derive(Default)]
pub(super) struct Remembered {
    signals: u32,
    notes: BTreeMap<(NoteKind, String), Kept>,
}

struct Kept {
    value: Option<Bytes>,
    due_at: Option<Micros>,
}

impl fmt::Debug for Remembered {
    /// Without the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.notes.keys()).finish()
    }
}

impl Remembered {
    fn view(&self, now: Micros) -> Notes {
        let left = |due_at: Micros| {
            Duration::from_micros(u64::try_from(due_at.saturating_sub(now)).unwrap_or_default())
        };
        let notes = self.notes.iter().map(|((kind, name), kept)| Note {
            kind: *kind,
            name: name.clone(),
            value: kept.value.clone(),
            due_in: kept.due_at.map(left),
        });
        Notes {
            signals: self.signals,
            notes: notes.collect(),
        }
    }

    fn keep(&mut self, note: &Note, now: Micros) -> Noted {
        let key = (note.kind, note.name.clone());
        if note.kind != NoteKind::Progress && self.notes.contains_key(&key) {
            return Noted::Existing;
        }
        let due_at = note.due_in.map(|due_in| now.saturating_add(micros(due_in)));
        let value = note.value.clone();
        self.notes.insert(key, Kept { value, due_at });
        Noted::Kept
    }
}

impl Shelf {
    /// Whether a job has got more signals than these.
    pub(super) fn has_heard_more(&self, id: JobId, signals: u32) -> bool {
        let row = self.jobs.get(&id);
        row.is_some_and(|row| row.remembered.signals > signals)
    }

    pub(super) fn purge_results(&mut self, limit: usize, now: Micros) -> usize {
        let over = self.results.iter().filter(|(_, (_, until))| *until <= now);
        let over: Vec<_> = over.map(|(job, _)| *job).take(limit).collect();
        for job in &over {
            self.results.remove(job);
        }
        over.len()
    }
}

#[async_trait]
impl NoteStore for MemoryStore {
    async fn recall(&self, job: JobId) -> Result<Option<Notes>, StoreError> {
        let (shelf, now) = self.shelf();
        let row = shelf.jobs.get(&job);
        Ok(row.map(|row| row.remembered.view(now)))
    }

    async fn note(&self, lease: LeaseId, job: JobId, note: &Note) -> Result<Noted, StoreError> {
        let (mut shelf, now) = self.shelf();
        let held = shelf.leases.get(&lease);
        if !held.is_some_and(|lease| lease.jobs.contains(&job)) {
            return Ok(Noted::Stale);
        }
        let row = shelf.jobs.get_mut(&job);
        Ok(row.map_or(Noted::Stale, |row| row.remembered.keep(note, now)))
    }

    async fn signal(&self, job: JobId, name: &str, value: &Bytes) -> Result<Signalled, StoreError> {
        let (mut shelf, now) = self.shelf();
        let Some(row) = shelf.jobs.get_mut(&job) else {
            return Ok(Signalled::Unknown);
        };
        if matches!(row.place, Place::Dead { .. } | Place::Cancelled { .. }) {
            return Ok(Signalled::Ended);
        }
        let signal = Note {
            kind: NoteKind::Signal,
            name: name.to_owned(),
            value: Some(value.clone()),
            due_in: None,
        };
        if row.remembered.keep(&signal, now) != Noted::Kept {
            return Ok(Signalled::Existing);
        }
        row.remembered.signals += 1;
        let wait = (NoteKind::Wait, name.to_owned());
        let is_scheduled = matches!(row.place, Place::Scheduled { .. });
        if is_scheduled && row.remembered.notes.contains_key(&wait) {
            shelf.unplace(job);
            shelf.give_back(job, now);
            self.changed();
        }
        Ok(Signalled::Sent)
    }

    async fn result(&self, job: JobId) -> Result<Found, StoreError> {
        let (shelf, now) = self.shelf();
        if let Some((result, until)) = shelf.results.get(&job)
            && *until > now
        {
            return Ok(Found::Result(result.value.clone()));
        }
        let is_pending = shelf
            .jobs
            .get(&job)
            .is_some_and(|row| !matches!(row.place, Place::Dead { .. } | Place::Cancelled { .. }));
        Ok(if is_pending {
            Found::Pending
        } else {
            Found::Nothing
        })
    }
}
