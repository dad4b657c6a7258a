use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use http::Extensions;
use purlin_store::StoreError;
use tokio::sync::watch;
use uuid::Builder;

use crate::{
    Answer, CompleteError, Fingerprint, RecordId,
    body::Seen,
    config::Config,
    run::encode,
    store::{Completion, Fenced, Lease},
};

/// What a handler may know of the key it works for: in the extensions of every request that is executed
/// under one, and an extractor with the feature `axum`.
#[derive(Clone, Debug)]
pub struct Execution(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: RecordId,
    lease: Option<Lease>,
    lost: watch::Receiver<bool>,
    request: RequestFingerprint,
    config: Arc<Config>,
    joined: AtomicBool,
}

/// The fingerprint of a request, known or in the making.
#[derive(Clone, Debug)]
pub(crate) enum RequestFingerprint {
    Known(Fingerprint),
    Streamed(Seen),
}

impl RequestFingerprint {
    /// What is known before the handler reads.
    pub(crate) fn known(&self) -> Option<Fingerprint> {
        match self {
            Self::Known(fingerprint) => Some(*fingerprint),
            Self::Streamed(_) => None,
        }
    }

    /// By what the handler has read.
    pub(crate) fn current(&self) -> Fingerprint {
        match self {
            Self::Known(fingerprint) => *fingerprint,
            Self::Streamed(seen) => seen.fingerprint(),
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self, Self::Streamed(seen) if seen.has_failed())
    }
}

impl Execution {
    pub(crate) fn new(
        id: RecordId,
        lease: Option<Lease>,
        lost: watch::Receiver<bool>,
        request: RequestFingerprint,
        config: Arc<Config>,
    ) -> Self {
        Self(Arc::new(Inner {
            id,
            lease,
            lost,
            request,
            config,
            joined: AtomicBool::new(false),
        }))
    }

    /// The execution that a request belongs to; `None` when it has no key.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Under what it is remembered.
    #[must_use]
    pub fn record_id(&self) -> RecordId {
        self.0.id
    }

    /// How often the work was begun, this time included; 1 in a transaction. Also a fencing token: greater
    /// than that of every attempt before.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.0.lease.map_or(1, |lease| lease.attempt)
    }

    /// A key for a call that the handler makes to somebody else: the same in every attempt, different
    /// for each `label`, and without anything in it that leads back to the client's key. A UUID
    /// (version 8, RFC 9562 section 5.8) in its usual form.
    ///
    /// With a provider that takes keys itself, the work may be executed again.
    #[must_use]
    pub fn child_key(&self, label: &str) -> String {
        let uuid = Builder::from_custom_bytes(self.0.id.derive(label)).into_uuid();
        uuid.hyphenated().to_string()
    }

    /// Returns when the lease was lost to somebody else; never, if it is not. A handler that sees it
    /// should begin nothing new. What it answers is not kept.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn lease_lost(&self) {
        let mut lost = self.0.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Completes the lease in the handler's own transaction: record and effect commit together, and the
    /// handler must then answer with this very answer (`Response::from(answer)`).
    ///
    /// One statement. When the transaction is rolled back, nothing was completed. When it commits, the lease
    /// was the current one at that moment: somebody who would take it over waits for the commit
    /// or sees it. After the handler the layer reads the record once.
    ///
    /// # Errors
    ///
    /// Each [`CompleteError`]; roll the transaction back.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the transaction decides.
    pub async fn complete_in<S: CompleteIn>(
        &self,
        store: &S,
        connection: &mut S::Connection,
        answer: &Answer,
    ) -> Result<(), CompleteError> {
        let lease = self.0.lease.ok_or(CompleteError::NoLease)?;
        let config = &self.0.config;
        let mut answer = answer.clone();
        if answer
            .body
            .as_ref()
            .is_some_and(|body| body.len() > config.max_answer_bytes)
        {
            answer.body = None;
        }
        answer.headers = crate::headers::kept(&answer.headers, &config.not_kept);
        let completion = Completion::new(
            self.0.request.current(),
            encode(config, &self.0.id, &answer).map_err(CompleteError::Encode)?,
            config.retention,
        );
        match store.complete_in(connection, &lease, &completion).await? {
            Fenced::Lost => Err(CompleteError::LeaseLost),
            Fenced::Applied => {
                self.0.joined.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Whether a completion has joined a transaction, which may have been rolled back since.
    pub(crate) fn has_joined(&self) -> bool {
        self.0.joined.load(Ordering::Relaxed)
    }
}

/// A store whose leases can be completed in a transaction of the caller.
#[async_trait]
pub trait CompleteIn: fmt::Debug + Send + Sync {
    /// What is written to.
    type Connection: Send;

    /// [`IdempotencyStore::complete`](crate::IdempotencyStore::complete) as a part of the
    /// transaction that is open on `connection`.
    async fn complete_in(
        &self,
        connection: &mut Self::Connection,
        lease: &Lease,
        completion: &Completion,
    ) -> Result<Fenced, StoreError>;
}

macro_rules! complete_in {
    ($feature:literal, $store:ident, $connection:ident) => {
        #[cfg(feature = $feature)]
        #[async_trait]
        impl CompleteIn for crate::$store {
            type Connection = sqlx::$connection;

            async fn complete_in(
                &self,
                connection: &mut sqlx::$connection,
                lease: &Lease,
                completion: &Completion,
            ) -> Result<Fenced, StoreError> {
                Self::complete_in(self, connection, lease, completion).await
            }
        }
    };
}

complete_in!("postgres", PostgresStore, PgConnection);
complete_in!("sqlite", SqliteStore, SqliteConnection);
