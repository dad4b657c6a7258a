use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep};

use super::Jobs;
use crate::notes::{Label, MAX_NOTE_BYTES, open, seal};
use crate::store::{Found, NoteKind, NoteStore, Signalled, no_notes};
use crate::{JobId, JobStore, NoteError, Progress};

/// What [`Jobs::wait_for_result`] has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waited<T> {
    /// The result.
    Result(T),
    /// There will be none: the job is done without one, or dead, or cancelled, or was never there.
    Nothing,
    /// The job has not come to its end in this time.
    Deadline,
}

impl<S: JobStore> Jobs<S> {
    /// What a job has left behind by [`keep_result`](crate::JobContext::keep_result); `None` as long as it is
    /// not done, and when the time is over for which it was kept. One round trip.
    ///
    /// # Errors
    ///
    /// It is no `T`, or the store has failed or keeps no results.
    ///
    /// # Cancel safety
    ///
    /// Reads only.
    pub async fn result<T: DeserializeOwned>(&self, id: JobId) -> Result<Option<T>, NoteError> {
        match self.note_store("result")?.result(id).await? {
            Found::Result(stored) => open(&self.codec, Label::Result, id, stored).map(Some),
            Found::Pending | Found::Nothing => Ok(None),
        }
    }

    /// Waits for what a job leaves behind, for up to `deadline`. It looks after 50 ms, and then less
    /// and less often, down to once in a second: one round trip each time.
    ///
    /// # Errors
    ///
    /// As of [`result`](Self::result).
    ///
    /// # Cancel safety
    ///
    /// Reads only.
    pub async fn wait_for_result<T: DeserializeOwned>(
        &self,
        id: JobId,
        deadline: Duration,
    ) -> Result<Waited<T>, NoteError> {
        const OFTEN: Duration = Duration::from_millis(50);
        const SELDOM: Duration = Duration::from_secs(1);
        let store = self.note_store("wait for result")?;
        let (begun, mut interval) = (Instant::now(), OFTEN);
        loop {
            match store.result(id).await? {
                Found::Result(stored) => {
                    return open(&self.codec, Label::Result, id, stored).map(Waited::Result);
                }
                Found::Nothing => return Ok(Waited::Nothing),
                Found::Pending => {}
            }
            let left = deadline.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(Waited::Deadline);
            }
            sleep(interval.min(left)).await;
            interval = (interval * 2).min(SELDOM);
        }
    }

    /// How far the work on a job was when it was last
    /// [reported](crate::JobContext::report_progress); `None` when it never was, and when the job is done.
    /// One round trip.
    ///
    /// # Errors
    ///
    /// It cannot be read, or the store has failed or keeps no progress.
    ///
    /// # Cancel safety
    ///
    /// Reads only.
    pub async fn progress(&self, id: JobId) -> Result<Option<Progress>, NoteError> {
        let notes = self.note_store("progress")?.recall(id).await?;
        let mut notes = notes.into_iter().flat_map(|notes| notes.notes);
        let progress = notes.find(|note| note.kind == NoteKind::Progress);
        let stored = progress.and_then(|progress| progress.value);
        let progress = stored.map(|stored| open(&self.codec, Label::Progress, id, stored));
        progress.transpose()
    }

    /// Sends something to a job that waits for it by this name, or will:
    /// [`wait_for_signal`](crate::JobContext::wait_for_signal). The first one of a name is kept until
    /// the job is done, and another one changes nothing, so that it may be sent again when it is not known whether it has arrived.
    ///
    /// # Errors
    ///
    /// The value cannot be written as JSON or has more than 256 KiB, the name is none, or the store has
    /// failed or keeps no signals.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, it was sent or not.
    pub async fn signal<T: Serialize + ?Sized>(
        &self,
        id: JobId,
        name: &str,
        value: &T,
    ) -> Result<Signalled, NoteError> {
        let store = self.note_store("signal")?;
        let label = Label::Signal(name);
        label.check()?;
        let value = seal(&self.codec, label, id, value, MAX_NOTE_BYTES)?;
        Ok(store.signal(id, name, &value).await?)
    }

    fn note_store(&self, operation: &'static str) -> Result<&dyn NoteStore, NoteError> {
        let notes = self.store.notes();
        Ok(notes.ok_or_else(|| no_notes(self.store.name(), operation))?)
    }
}
