//! The lease guarantee: claim, work, complete.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use purlin_problem::BoxError;
use purlin_store::StoreError;
use tokio::{sync::watch, time::Instant};
use tower_service::Service;

use super::{Answered, Context, Exchange, Stop, Verdict, work};
use crate::{
    Answer, Event, IdempotencyStore, OnStoreError, Outcome, Rejection, RequestBody, ResponseBody,
    in_process::Place,
    store::{Claim, Claimed, Completion, Existing, Fenced, Lease, State},
};

type Store = Arc<dyn IdempotencyStore>;

/// The right to do the work, here and everywhere.
struct Held {
    place: Place,
    lease: Lease,
}

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) async fn run_leased<S, R>(
        mut self,
        store: &Store,
        mut ready: S,
    ) -> Answered<R, S::Error>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<R>>,
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let begun = Instant::now();
        let held = match self.claim(store).await {
            Ok(Some(held)) => held,
            Ok(None) => return self.pass_through(ready).await,
            Err(stop) => return Ok(self.cx.stop(stop)),
        };
        let lease = held.lease;
        let (lost, is_lost) = watch::channel(false);
        let execution = self.cx.execution(Some(lease), is_lost);
        let request = self.request(execution.clone());
        let limits = self.cx.limits();
        let work = tokio::select! {
            biased;
            work = work::execute(&mut ready, request, limits) => work,
            never = self.cx.keep_alive(store, lease, &lost) => match never {},
        };
        let verdict = self.cx.verdict(&work);
        let outcome = verdict.outcome;
        let joined = execution.joined().cloned();
        let succeeded = work.head().is_some_and(|head| head.status.as_u16() < 400);
        let settled = self.settle(store, held, verdict, joined, succeeded).await;
        self.cx.tell(&Event::Executed {
            id: self.cx.id,
            attempt: lease.attempt,
            outcome,
            took: begun.elapsed(),
        });
        match settled {
            Ok(()) => self.cx.respond(work),
            Err(stop) => Ok(self.cx.stop(stop)),
        }
    }

    /// The work, or `None` when it is to be done without protection.
    async fn claim(&mut self, store: &Store) -> Result<Option<Held>, Stop> {
        loop {
            self.look_around().await?;
            let claim = Claim::new(self.cx.id, self.cx.config.lease_ttl)
                .with_fingerprint(self.cx.request.known())
                .with_unresolved_ttl(self.cx.config.unresolved_ttl.max(self.cx.config.lease_ttl))
                .with_lease_lost(self.cx.config.lease_lost);
            // From here on a claim may be there that nobody else would end.
            self.cx.working.set(true);
            match self.cx.ask("claim", store.claim(&claim)).await {
                Ok(Claimed::Acquired(lease)) => {
                    let place = self.cx.enter();
                    return Ok(Some(Held { place, lease }));
                }
                Ok(Claimed::Existing(existing)) => {
                    self.cx.working.set(false);
                    self.judge(existing).await?;
                    self.cx.wait().await?;
                }
                Err(error) => {
                    self.cx.undo_later(store, claim);
                    self.cx.working.set(false);
                    if self.cx.config.on_store_error == OnStoreError::Reject {
                        return Err(self.cx.store_unavailable(error));
                    }
                    tracing::warn!(%error, "the store cannot be asked; executing without it");
                    self.cx.tell(&Event::PassedThrough);
                    return Ok(None);
                }
            }
        }
    }

    async fn pass_through<S, R>(mut self, mut ready: S) -> Answered<R, S::Error>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    {
        let request = self.bare_request();
        let response = ready.call(request).await?;
        Ok(response.map(ResponseBody::inner))
    }

    async fn settle(
        &mut self,
        store: &Store,
        held: Held,
        verdict: Verdict,
        joined: Option<Answer>,
        succeeded: bool,
    ) -> Result<(), Stop> {
        if let Some(answer) = joined {
            if self.cx.is_joined(store, held.lease, answer).await? {
                return Ok(());
            }
            // Rolled back. A handler that says otherwise has forgotten to commit.
            if succeeded {
                tracing::error!(record = %self.cx.id, "the handler did not commit its completion");
                self.cx.abandon(store, held.lease).await;
                return Err(Rejection::NotCommitted.into());
            }
        }
        match (verdict.outcome, verdict.kept) {
            (Outcome::Keep, Some((answer, completion))) => {
                self.complete(store, held, &answer, completion).await
            }
            (Outcome::Forget, _) => {
                let release = store.release(&held.lease);
                self.cx
                    .note("release", self.cx.ask("release", release).await);
                Ok(())
            }
            _ => {
                self.cx.abandon(store, held.lease).await;
                Ok(())
            }
        }
    }

    async fn complete(
        &mut self,
        store: &Store,
        held: Held,
        answer: &Arc<Answer>,
        completion: Completion,
    ) -> Result<(), Stop> {
        let complete = store.complete(&held.lease, &completion);
        match self.cx.ask("complete", complete).await {
            Ok(Fenced::Applied) => {
                self.cx.remember_own(answer, &completion);
                Ok(())
            }
            Ok(Fenced::Lost) => {
                self.cx.tell_lost(held.lease);
                Err(self.others_answer().await)
            }
            // The effect is there, and the client shall know it.
            Err(error) => {
                tracing::error!(%error, record = %self.cx.id, "an answer is not recorded yet");
                self.cx.tell(&Event::NotRecorded { id: self.cx.id });
                self.cx.complete_later(store, held, completion);
                Ok(())
            }
        }
    }
}

impl Context {
    /// The claim may have been made and its answer been lost: a lease that nobody knows of would
    /// make the outcome of work unknown that was never begun.
    fn undo_later(&self, store: &Store, claim: Claim) {
        let store = Arc::clone(store);
        let (pause, limit) = (self.config.heartbeat_interval(), self.config.store_timeout);
        let running = self.shared.running.enter();
        let give_up_at = Instant::now() + self.config.lease_ttl.min(FAR);
        tokio::spawn(async move {
            let _running = running;
            while Instant::now() < give_up_at {
                let undo = async {
                    // The same nonce finds the same claim, if it was made.
                    match store.claim(&claim).await? {
                        Claimed::Acquired(lease) => store.release(&lease).await.map(drop),
                        Claimed::Existing(_) => Ok(()),
                    }
                };
                let undone = purlin_store::deadline(store.name(), "release", limit, undo).await;
                match undone {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(%error, "a claim cannot be undone yet"),
                }
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Extends the lease for as long as it is polled.
    async fn keep_alive(
        &self,
        store: &Store,
        lease: Lease,
        lost: &watch::Sender<bool>,
    ) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(self.config.heartbeat_interval()).await;
            let extend = store.extend(&lease, self.config.lease_ttl);
            match self.ask("extend", extend).await {
                Ok(Fenced::Applied) => {}
                Ok(Fenced::Lost) => {
                    self.tell_lost(lease);
                    lost.send_replace(true);
                    return std::future::pending().await;
                }
                Err(error) => tracing::warn!(%error, "a lease could not be extended"),
            }
        }
    }

    /// Whether the record was completed by the handler's own transaction.
    async fn is_joined(&self, store: &Store, lease: Lease, answer: Answer) -> Result<bool, Stop> {
        let found = self.ask("get", store.get(&self.id)).await;
        match found.map_err(|error| self.outcome_unknown(error))? {
            Some(Existing {
                fingerprint,
                attempt,
                state: State::Completed { remaining, .. },
            }) if attempt == lease.attempt => {
                self.remember(fingerprint, &Arc::new(answer), remaining);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn abandon(&self, store: &Store, lease: Lease) {
        self.note("abandon", self.ask("abandon", store.abandon(&lease)).await);
    }

    /// Tries for as long as the work itself might have taken.
    fn complete_later(&self, store: &Store, held: Held, completion: Completion) {
        let store = Arc::clone(store);
        let (pause, limit) = (self.config.heartbeat_interval(), self.config.store_timeout);
        let running = self.shared.running.enter();
        let give_up_at = Instant::now() + self.config.max_execution.min(FAR);
        tokio::spawn(async move {
            let _running = running;
            while Instant::now() < give_up_at {
                tokio::time::sleep(pause).await;
                let complete = store.complete(&held.lease, &completion);
                let completed =
                    purlin_store::deadline(store.name(), "complete", limit, complete).await;
                match completed {
                    Ok(_) => break,
                    Err(error) => tracing::warn!(%error, "an answer is not recorded yet"),
                }
            }
            drop(held.place);
        });
    }

    fn tell_lost(&self, lease: Lease) {
        tracing::warn!(record = %self.id, attempt = lease.attempt, "a lease was lost");
        self.tell(&Event::LeaseLost {
            id: self.id,
            attempt: lease.attempt,
        });
    }

    fn note(&self, operation: &'static str, result: Result<Fenced, StoreError>) {
        match result {
            Ok(Fenced::Applied) => {}
            Ok(Fenced::Lost) => tracing::debug!(record = %self.id, operation, "lease lost before"),
            // The lease lapses by itself.
            Err(error) => tracing::warn!(%error, record = %self.id, "a lease could not be ended"),
        }
    }
}

/// A sum with an instant that does not overflow.
const FAR: Duration = Duration::from_secs(365 * 86_400);
