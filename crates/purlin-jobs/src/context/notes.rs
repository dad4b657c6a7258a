use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use purlin_store::{StoreError, StoreErrorKind};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::desk::Remembered;
use super::{Cancellation, JobContext};
use crate::notes::{Label, MAX_MESSAGE_BYTES, MAX_NOTE_BYTES, MAX_RESULT_BYTES, open, seal};
use crate::outcome::Verdict;
use crate::store::{KeptResult, Note, NoteKind, NoteStore, Noted, Notes, no_notes};
use crate::worker::pause;
use crate::{JobError, NoteError, Progress, TransactionalJobStore};

impl JobContext {
    /// Leaves this behind for [`Jobs::result`](crate::Jobs::result), for `ttl` from when the job is done. It is
    /// written with the settlement, or by [`complete_in`](Self::complete_in), and not at all unless
    /// the job is done. The last one holds.
    ///
    /// # Errors
    ///
    /// It cannot be written as JSON, or has more than 1 MiB; or the store keeps no results.
    pub fn keep_result<T>(&self, value: &T, ttl: Duration) -> Result<(), NoteError>
    where
        T: Serialize + ?Sized,
    {
        self.note_store()?;
        let job = self.info.id;
        let value = seal(
            &self.desk.codec,
            Label::Result,
            job,
            value,
            MAX_RESULT_BYTES,
        )?;
        self.desk.keep(KeptResult { value, ttl });
        Ok(())
    }

    /// Says how far the work is, for [`Jobs::progress`](crate::Jobs::progress). The worker writes it, soon
    /// and at most once in the interval of its heartbeats: of what is reported in between, the last one. It
    /// stays until the job is done, also when the attempt fails.
    ///
    /// # Errors
    ///
    /// The message has more than 1 024 bytes; or the store keeps no progress.
    pub fn report_progress(&self, progress: &Progress) -> Result<(), NoteError> {
        self.note_store()?;
        if progress.message.len() > MAX_MESSAGE_BYTES {
            return Err(NoteError::TooLarge {
                what: "the message of a progress".to_owned(),
                bytes: progress.message.len(),
                limit: MAX_MESSAGE_BYTES,
            });
        }
        let job = self.info.id;
        let stored = seal(&self.desk.codec, Label::Progress, job, progress, usize::MAX)?;
        self.desk.report(stored);
        Ok(())
    }

    /// Does a part of the work, once: when it has ended well, its value is kept with the job, and later
    /// attempts get that and do not `run` it again. It is run again when the process dies between its end
    /// and the record; [`step_in`](Self::step_in) closes that gap where there is a database.
    ///
    /// One round trip for each step that is run, and one for the first of an attempt.
    ///
    /// # Errors
    ///
    /// Return them by `?`. What `run` says, as it is; a name that is used twice in the attempt, a value of more than
    /// 256 KiB or one that is kept and does not parse as `T` is a [`retry`](JobError::retry); and
    /// when the lease is lost, the error that ends the attempt: nothing was recorded, and somebody else has the job. A
    /// store that is down is waited for, as long as the lease lives.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the step is recorded or not, and if not, run again.
    pub async fn step<T, F, Fut>(&self, name: &str, run: F) -> Result<T, JobError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, JobError>>,
    {
        self.begin(NoteKind::Step, Label::Step(name))?;
        let remembered = self.remembered().await?;
        if let Some(value) = self.recorded(remembered, name)? {
            return Ok(value);
        }
        let value = run().await?;
        let note = self.record(name, &value)?;
        match self.write(&note).await? {
            Noted::Stale => Err(JobError(Verdict::Lost)),
            // Its answer was lost, and it was written again.
            Noted::Kept | Noted::Existing => Ok(value),
        }
    }

    /// As [`step`](Self::step), in the transaction of `connection`, which `run` is given for its writes:
    /// they and the record commit together, or neither does. Commit it after this.
    ///
    /// # Errors
    ///
    /// As of `step`, and what the store says. Roll the transaction back.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, roll the transaction back.
    pub async fn step_in<S, C, T, F>(
        &self,
        store: &S,
        connection: &mut C,
        name: &str,
        run: F,
    ) -> Result<T, JobError>
    where
        S: TransactionalJobStore<C> + ?Sized,
        C: Send,
        T: Serialize + DeserializeOwned,
        F: AsyncFnOnce(&mut C) -> Result<T, JobError>,
    {
        self.begin(NoteKind::Step, Label::Step(name))?;
        let (lease, job) = (self.lease, self.info.id);
        let remembered = &self.desk.remembered;
        // Over the same connection: when all of a pool wait for another one, none of them gets it.
        let read = remembered.get_or_try_init(|| async {
            let read = store.recall_in(connection, job).await?;
            remember(read)
        });
        if let Some(value) = self.recorded(read.await?, name)? {
            return Ok(value);
        }
        let value = run(connection).await?;
        let note = self.record(name, &value)?;
        match store.note_in(connection, lease, job, &note).await? {
            Noted::Stale => Err(JobError(Verdict::Lost)),
            Noted::Kept | Noted::Existing => Ok(value),
        }
    }

    /// Goes on when `duration` has passed since the first attempt came here, by the store's clock. Until
    /// then the job is scheduled: it takes no slot, and spends no attempt. It starts anew, so
    /// put what is not to be done again into [steps](Self::step).
    ///
    /// # Errors
    ///
    /// Return them by `?`: the one that lets the job wait, and those of `step`.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the time has begun or not.
    pub async fn sleep(&self, name: &str, duration: Duration) -> Result<(), JobError> {
        self.begin(NoteKind::Timer, Label::Timer(name))?;
        let remembered = self.remembered().await?;
        let left = match remembered.find(NoteKind::Timer, name) {
            Some(timer) => {
                let due_in = timer.due_in.unwrap_or_default();
                due_in.saturating_sub(remembered.at.elapsed())
            }
            None => {
                let timer = note(NoteKind::Timer, name, None, Some(duration));
                if self.write(&timer).await? == Noted::Stale {
                    return Err(JobError(Verdict::Lost));
                }
                duration
            }
        };
        if left.is_zero() {
            return Ok(());
        }
        Err(JobError::snooze(left))
    }

    /// What [`Jobs::signal`](crate::Jobs::signal) sends under this name; `None` when it has not come
    /// within `timeout` of the first attempt that came here. It may have come before that. Until then the job
    /// is scheduled, as by [`sleep`](Self::sleep), and the signal makes it ready. Once it was given out
    /// here, or `None` was, every later attempt gets the same.
    ///
    /// # Errors
    ///
    /// Return them by `?`: the one that lets the job wait, and those of `step`.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the time has begun or not. No signal is lost.
    pub async fn wait_for_signal<T>(
        &self,
        name: &str,
        timeout: Duration,
    ) -> Result<Option<T>, JobError>
    where
        T: DeserializeOwned,
    {
        self.begin(NoteKind::Signal, Label::Signal(name))?;
        loop {
            let remembered = remember(self.read().await?)?;
            let signals = remembered.signals;
            if let Some(signal) = remembered.find(NoteKind::Signal, name) {
                let codec = &self.desk.codec;
                let value = signal.value.clone();
                let value =
                    value.map(|value| open(codec, Label::Signal(name), self.info.id, value));
                return Ok(value.transpose()?);
            }
            let wait = remembered.find(NoteKind::Wait, name);
            let left = wait.map_or(timeout, |wait| wait.due_in.unwrap_or_default());
            let written = if left.is_zero() {
                note(NoteKind::Signal, name, None, None)
            } else {
                note(NoteKind::Wait, name, None, Some(timeout))
            };
            let noted = match wait {
                Some(_) if !left.is_zero() => Noted::Existing,
                _ => self.write(&written).await?,
            };
            match noted {
                Noted::Stale => return Err(JobError(Verdict::Lost)),
                _ if !left.is_zero() => {
                    let up_to = left;
                    return Err(JobError(Verdict::Await { up_to, signals }));
                }
                Noted::Kept => return Ok(None),
                // It has come at the last moment, or the answer to the first write was lost.
                Noted::Existing => {}
            }
        }
    }

    pub(crate) fn take_result(&self) -> Option<KeptResult> {
        self.desk.take_result()
    }

    /// Returns when progress was reported.
    pub(crate) async fn reported(&self) {
        self.desk.reported().await;
    }

    /// Writes what was reported last, if it is not written yet.
    pub(crate) async fn write_progress(&self) -> Result<(), StoreError> {
        let Some(stored) = self.desk.progress() else {
            return Ok(());
        };
        let Some(store) = self.desk.store.notes() else {
            return Ok(());
        };
        let note = note(NoteKind::Progress, "", Some(stored.clone()), None);
        store.note(self.lease, self.info.id, &note).await?;
        self.desk.has_written(&stored);
        Ok(())
    }

    fn note_store(&self) -> Result<&dyn NoteStore, StoreError> {
        let store = &self.desk.store;
        store.notes().ok_or_else(|| no_notes(store.name(), "note"))
    }

    fn begin(&self, kind: NoteKind, label: Label<'_>) -> Result<(), NoteError> {
        label.check()?;
        let (Label::Step(name) | Label::Timer(name) | Label::Signal(name)) = label else {
            return Ok(());
        };
        if self.desk.begin(kind, name) {
            Ok(())
        } else {
            Err(NoteError::Twice(label.to_string()))
        }
    }

    /// The value of a step that is finished.
    fn recorded<T: DeserializeOwned>(
        &self,
        remembered: &Remembered,
        name: &str,
    ) -> Result<Option<T>, NoteError> {
        let label = Label::Step(name);
        let step = remembered.find(NoteKind::Step, name);
        let Some(stored) = step.and_then(|step| step.value.clone()) else {
            return Ok(None);
        };
        open(&self.desk.codec, label, self.info.id, stored).map(Some)
    }

    fn record<T: Serialize>(&self, name: &str, value: &T) -> Result<Note, NoteError> {
        let (label, job) = (Label::Step(name), self.info.id);
        let value = seal(&self.desk.codec, label, job, value, MAX_NOTE_BYTES)?;
        Ok(note(NoteKind::Step, name, Some(value), None))
    }

    async fn remembered(&self) -> Result<&Remembered, JobError> {
        let remembered = &self.desk.remembered;
        let read = || async { remember(self.read().await?) };
        remembered.get_or_try_init(read).await
    }

    async fn read(&self) -> Result<Option<Notes>, JobError> {
        let store = self.note_store()?;
        Ok(self.insist(|| store.recall(self.info.id)).await?)
    }

    async fn write(&self, note: &Note) -> Result<Noted, JobError> {
        let store = self.note_store()?;
        let write = || store.note(self.lease, self.info.id, note);
        Ok(self.insist(write).await?)
    }

    /// Makes a call until the store answers: what was done is not to be done again since the store was
    /// away for a moment. The worker drops the attempt when its lease is over.
    async fn insist<T, F>(&self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut errors = 0;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may_pass = matches!(
                error.kind(),
                StoreErrorKind::Unavailable | StoreErrorKind::Timeout | StoreErrorKind::Conflict
            );
            let is_over = self.cancellation.has_changed().is_err()
                || self.cancellation() == Some(Cancellation::LeaseLost);
            if !may_pass || is_over {
                return Err(error);
            }
            errors += 1;
            tokio::time::sleep(pause(errors)).await;
        }
    }
}

/// What was read just now: after the call, so that nothing is due too early.
fn remember(read: Option<Notes>) -> Result<Remembered, JobError> {
    // Without a row the job is done: by somebody else.
    let read = read.ok_or(JobError(Verdict::Lost))?;
    Ok(Remembered::new(read, Instant::now()))
}

fn note(kind: NoteKind, name: &str, value: Option<Bytes>, due_in: Option<Duration>) -> Note {
    Note {
        kind,
        name: name.to_owned(),
        value,
        due_in,
    }
}
