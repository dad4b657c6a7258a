mod notes;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use purlin_store::{StoreError, StoreErrorKind};

pub use self::notes::Waited;
use crate::store::{Enqueued, Entry};
use crate::{EnqueueError, Flow, JobStore, NewJob, PayloadCodec, TransactionalJobStore};

/// What enqueues jobs. Clones share the store.
///
/// ```
/// # use purlin_jobs::{Job, Jobs, MemoryStore, NewJob, Options};
/// # use serde::{Deserialize, Serialize};
/// # use std::time::Duration;
/// # #[derive(Serialize, Deserialize)] struct SendReceipt { order: u64 }
/// # impl Job for SendReceipt { const KIND: &'static str = "send_receipt"; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), purlin_jobs::EnqueueError> {
/// let jobs = Jobs::new(MemoryStore::new());
/// jobs.enqueue(SendReceipt { order: 7 }).await?;
/// let later = NewJob::new(&SendReceipt { order: 8 })
///     .with(|options| options.with_delay(Duration::from_secs(60)));
/// jobs.enqueue(later).await?;
/// # Ok(()) }
/// ```
pub struct Jobs<S> {
    store: Arc<S>,
    codec: Option<Arc<dyn PayloadCodec>>,
    max_payload_bytes: usize,
}

impl<S: JobStore> Jobs<S> {
    /// Enqueues into this store.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self {
            store: Arc::new(store),
            codec: None,
            max_payload_bytes: MAX_PAYLOAD_BYTES,
        }
    }

    /// Encrypts or compresses payloads. The workers need the same codec.
    #[must_use]
    pub fn with_codec(mut self, codec: impl PayloadCodec) -> Self {
        self.codec = Some(Arc::new(codec));
        self
    }

    /// Refuses larger payloads, measured as JSON, before the codec. Default 1 MiB.
    #[must_use]
    pub fn with_max_payload_bytes(mut self, bytes: usize) -> Self {
        self.max_payload_bytes = bytes;
        self
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Adds a job. One round trip.
    ///
    /// # Errors
    ///
    /// [`EnqueueError`]: nothing was added, but for an [`EnqueueError::Store`] whose outcome is
    /// unknown. [`NewJob::with_id`] makes it safe to try again.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the job is there or not.
    pub async fn enqueue(&self, job: impl Into<NewJob>) -> Result<Enqueued, EnqueueError> {
        let entry = self.entry(job.into())?;
        one(self.store.enqueue(&[entry]).await?)
    }

    /// Adds jobs, all or none. Says for each, in order, what became of it. One round trip.
    ///
    /// # Errors
    ///
    /// As of [`enqueue`](Self::enqueue).
    ///
    /// # Cancel safety
    ///
    /// Dropped early, all of them are there or none.
    pub async fn enqueue_many<J: Into<NewJob>>(
        &self,
        jobs: impl IntoIterator<Item = J>,
    ) -> Result<Vec<Enqueued>, EnqueueError> {
        let entries = self.entries(jobs)?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.store.enqueue(&entries).await?)
    }

    /// Adds a job in the caller's transaction: it is there when that commits, and never if it
    /// does not. One round trip.
    ///
    /// # Errors
    ///
    /// As of [`enqueue`](Self::enqueue). After an [`EnqueueError::Store`] the transaction can only be rolled back.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, roll the transaction back.
    pub async fn enqueue_in<C: Send>(
        &self,
        connection: &mut C,
        job: impl Into<NewJob>,
    ) -> Result<Enqueued, EnqueueError>
    where
        S: TransactionalJobStore<C>,
    {
        let entry = self.entry(job.into())?;
        one(self.store.enqueue_in(connection, &[entry]).await?)
    }

    /// Adds jobs in the caller's transaction. One round trip.
    ///
    /// # Errors
    ///
    /// As of [`enqueue_in`](Self::enqueue_in).
    ///
    /// # Cancel safety
    ///
    /// Dropped early, roll the transaction back.
    pub async fn enqueue_many_in<C: Send, J: Into<NewJob>>(
        &self,
        connection: &mut C,
        jobs: impl IntoIterator<Item = J>,
    ) -> Result<Vec<Enqueued>, EnqueueError>
    where
        S: TransactionalJobStore<C>,
    {
        let entries = self.entries(jobs)?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.store.enqueue_in(connection, &entries).await?)
    }

    /// Adds jobs of which some wait for others: a [`Chain`](crate::Chain), a
    /// [`Batch`](crate::Batch) or a [`Workflow`](crate::Workflow), all of it or nothing. Says for each job,
    /// in the order in which they were given, what became of it.
    ///
    /// # Errors
    ///
    /// As of [`enqueue`](Self::enqueue), and
    /// [`EnqueueError::Flow`] when the steps do not fit together, [`EnqueueError::NoFlows`] when the store
    /// keeps no dependencies, a [`Conflict`](purlin_store::StoreErrorKind::Conflict) when the id or
    /// the unique key of a job that others wait for is taken. Nothing was added then.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, all of it is there or nothing.
    pub async fn enqueue_flow(&self, flow: impl Into<Flow>) -> Result<Vec<Enqueued>, EnqueueError> {
        let flow = self.flow(flow.into())?;
        let enqueued = self.store.enqueue(&flow.entries).await?;
        flow.in_order(&enqueued)
    }

    /// Adds jobs of which some wait for others in the caller's transaction.
    ///
    /// # Errors
    ///
    /// As of [`enqueue_flow`](Self::enqueue_flow). After an [`EnqueueError::Store`] the transaction can
    /// only be rolled back.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, roll the transaction back.
    pub async fn enqueue_flow_in<C: Send>(
        &self,
        connection: &mut C,
        flow: impl Into<Flow>,
    ) -> Result<Vec<Enqueued>, EnqueueError>
    where
        S: TransactionalJobStore<C>,
    {
        let flow = self.flow(flow.into())?;
        let enqueued = self.store.enqueue_in(connection, &flow.entries).await?;
        flow.in_order(&enqueued)
    }

    fn flow(&self, flow: Flow) -> Result<Linked, EnqueueError> {
        if !self.store.carries_flows() {
            let store = self.store.name();
            return Err(EnqueueError::NoFlows { store });
        }
        let steps = flow.steps?;
        let mut entries = Vec::with_capacity(steps.len());
        let mut places = Vec::with_capacity(steps.len());
        for step in steps {
            let entry = self.entry(step.job)?;
            let parents = step.parents;
            entries.push(Entry { parents, ..entry });
            places.push(step.place);
        }
        Ok(Linked { entries, places })
    }

    fn entries<J: Into<NewJob>>(
        &self,
        jobs: impl IntoIterator<Item = J>,
    ) -> Result<Vec<Entry>, EnqueueError> {
        jobs.into_iter().map(|job| self.entry(job.into())).collect()
    }

    pub(crate) fn entry(&self, job: NewJob) -> Result<Entry, EnqueueError> {
        if job.options.group.is_some() && self.store.limits().is_none() {
            return Err(EnqueueError::Store(no_groups(self.store.name())));
        }
        entry(job, self.codec.as_deref(), self.max_payload_bytes)
    }
}

/// A job as it is given to a store.
pub(crate) fn entry(
    job: NewJob,
    codec: Option<&dyn PayloadCodec>,
    max_payload_bytes: usize,
) -> Result<Entry, EnqueueError> {
    let kind = job.kind;
    if !(1..=MAX_KIND_BYTES).contains(&kind.len()) {
        return Err(EnqueueError::Kind);
    }
    let group = job.options.group.as_ref();
    if group.is_some_and(|group| !group.is_valid()) {
        return Err(EnqueueError::Group);
    }
    let payload = job
        .payload
        .map_err(|reason| EnqueueError::Payload { kind, reason })?;
    if payload.len() > max_payload_bytes {
        return Err(EnqueueError::PayloadTooLarge {
            kind,
            bytes: payload.len(),
            limit: max_payload_bytes,
        });
    }
    let payload = match codec {
        None => Bytes::from(payload),
        Some(codec) => codec.encode(kind, job.id, payload.into()),
    };
    Ok(Entry {
        id: job.id,
        kind: kind.to_owned(),
        version: job.version,
        payload,
        traceparent: job.traceparent,
        options: job.options,
        parents: Vec::new(),
    })
}

pub(crate) const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// The jobs of a flow as the store takes them, and where each was given.
struct Linked {
    entries: Vec<Entry>,
    places: Vec<usize>,
}

impl Linked {
    fn in_order(&self, enqueued: &[Enqueued]) -> Result<Vec<Enqueued>, EnqueueError> {
        if enqueued.len() != self.entries.len() {
            return Err(EnqueueError::Store(unanswered()));
        }
        let mut told: Vec<_> = self.places.iter().zip(enqueued).collect();
        told.sort_unstable_by_key(|(place, _)| **place);
        Ok(told.into_iter().map(|(_, enqueued)| *enqueued).collect())
    }
}

#[cfg(feature = "testing")]
impl<S> Jobs<S> {
    /// What was enqueued, as it was before the codec.
    pub(crate) fn decoded(
        &self,
        kind: &str,
        id: crate::JobId,
        payload: &Bytes,
    ) -> Result<Bytes, String> {
        match &self.codec {
            None => Ok(payload.clone()),
            Some(codec) => {
                let decoded = codec.decode(kind, id, payload.clone());
                decoded.map_err(|error| error.to_string())
            }
        }
    }
}

const MAX_KIND_BYTES: usize = 128;

/// What a store says of one job.
fn one(enqueued: Vec<Enqueued>) -> Result<Enqueued, EnqueueError> {
    let told = enqueued.into_iter().next();
    told.ok_or_else(|| EnqueueError::Store(unanswered()))
}

fn no_groups(store: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, store, "enqueue")
        .with_source("this store keeps no groups: it is no `LimitStore`")
}

fn unanswered() -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "store", "enqueue")
        .with_source("it says nothing of a job that it was given")
}

impl<S> Clone for Jobs<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            codec: self.codec.clone(),
            max_payload_bytes: self.max_payload_bytes,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Jobs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs")
            .field("store", &self.store)
            .field("has_codec", &self.codec.is_some())
            .field("max_payload_bytes", &self.max_payload_bytes)
            .finish()
    }
}
