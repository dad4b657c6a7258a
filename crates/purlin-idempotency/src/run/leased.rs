//! The lease guarantee: claim, work, complete.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use purlin_problem::BoxError;
use purlin_store::StoreError;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};
use tower_service::Service;

use super::{
    Answered, Context, Exchange, FAR, Stop, Turn, Verdict,
    later::{Ending, tell_lost},
    work,
};
use crate::{
    Answer, Event, Execution, IdempotencyStore, OnStoreError, Outcome, Rejection, RequestBody,
    ResponseBody,
    in_process::Place,
    store::{Claim, Claimed, Completion, Existing, Fenced, Lease, State},
};

pub(super) type Store = Arc<dyn IdempotencyStore>;

/// The right to do the work, here and everywhere.
pub(super) struct Held {
    /// Keeps it busy in this process.
    pub(super) _place: Place,
    pub(super) lease: Lease,
    /// Told when it was lost.
    pub(super) lost: watch::Sender<bool>,
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
        let execution = self.cx.execution(Some(lease), held.lost.subscribe());
        let request = self.request(execution.clone());
        let limits = self.cx.limits();
        let work = tokio::select! {
            biased;
            work = work::execute(&mut ready, request, limits) => work,
            never = self.cx.keep_alive(store, &held, &execution) => match never {},
        };
        let verdict = self.cx.verdict(&work);
        let outcome = verdict.outcome;
        let joined = execution.has_joined();
        let settled = self.cx.settle(store, held, verdict, joined).await;
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
            let finding = match self.look_around().await? {
                Turn::Ask(place, until) => {
                    let claim = self.cx.new_claim();
                    // From here on a claim may be there that nobody else would end.
                    self.cx.working.set(true);
                    match self.cx.ask_by(until, "claim", store.claim(&claim)).await {
                        Ok(Claimed::Acquired(lease)) => {
                            place.works();
                            return Ok(Some(Held {
                                _place: place,
                                lease,
                                lost: watch::Sender::new(false),
                            }));
                        }
                        Ok(Claimed::Existing(existing)) => {
                            self.cx.working.set(false);
                            place.refused(Some(existing))
                        }
                        Err(error) => {
                            self.cx.undo_later(store, claim);
                            self.cx.working.set(false);
                            return self.cx.without_store(error);
                        }
                    }
                }
                Turn::Told(finding) => finding,
                Turn::Missed(error) => return self.cx.without_store(error),
            };
            self.judge(finding).await?;
            self.cx.wait().await?;
        }
    }

    async fn pass_through<S, R>(mut self, mut ready: S) -> Answered<R, S::Error>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    {
        // Without a lease, but its child keys are those that a retry will have.
        let execution = self
            .cx
            .execution(None, watch::Sender::new(false).subscribe());
        let request = self.request(execution);
        let response = ready.call(request).await?;
        Ok(response.map(ResponseBody::inner))
    }
}

impl Context {
    fn new_claim(&self) -> Claim {
        let config = &self.config;
        Claim::new(self.id, config.lease_ttl)
            .with_fingerprint(self.request.known())
            .with_unresolved_ttl(config.unresolved_ttl.max(config.lease_ttl))
            .with_lease_lost(config.lease_lost)
    }

    /// What becomes of a request that cannot be claimed: nothing, or work without protection.
    fn without_store(&self, error: StoreError) -> Result<Option<Held>, Stop> {
        if self.config.on_store_error == OnStoreError::Reject {
            return Err(self.store_unavailable(error));
        }
        tracing::warn!(%error, "the store cannot be asked; executing without it");
        self.tell(&Event::PassedThrough);
        Ok(None)
    }

    async fn settle(
        &self,
        store: &Store,
        held: Held,
        verdict: Verdict,
        joined: bool,
    ) -> Result<(), Stop> {
        if joined {
            if let Some(recorded) = self.joined_answer(store, held.lease).await? {
                let said = verdict.status;
                return match recorded {
                    // The handler was told that its commit had failed, or has failed after it.
                    Ok(answer) if said != Some(answer.status) => Err(Stop::Replay(answer)),
                    Err(stop) if verdict.outcome == Outcome::Uncertain => Err(stop),
                    _ => Ok(()),
                };
            }
            // Rolled back. A handler that says otherwise has forgotten to commit.
            if verdict.succeeded {
                tracing::error!(record = %self.id, "the handler did not commit its completion");
                self.abandon(store, &held).await?;
                return Err(Rejection::NotCommitted.into());
            }
        }
        match (verdict.outcome, verdict.kept) {
            (Outcome::Keep, Some((answer, completion))) => {
                self.complete(store, held, &answer, completion).await
            }
            // Forgotten, the attempts would begin at 1 again, while an earlier one may still be at work.
            (Outcome::Forget, _) if held.lease.attempt > 1 => self.abandon(store, &held).await,
            (Outcome::Forget, _) => {
                let released = self.ask("release", store.release(&held.lease)).await;
                if let Err(error) = released {
                    tracing::warn!(%error, record = %self.id, "a lease could not be released");
                    // Left to lapse, it would be work whose outcome is not known.
                    self.end_later(store, held, Ending::Release);
                }
                Ok(())
            }
            _ => self.abandon(store, &held).await,
        }
    }

    async fn complete(
        &self,
        store: &Store,
        held: Held,
        answer: &Arc<Answer>,
        completion: Completion,
    ) -> Result<(), Stop> {
        let complete = store.complete(&held.lease, &completion);
        match self.ask("complete", complete).await {
            Ok(Fenced::Applied) => {
                self.remember_own(answer, &completion);
                Ok(())
            }
            Ok(Fenced::Lost) => {
                tell_lost(&self.config, &held);
                Err(self.others_answer().await)
            }
            // The effect is there, and the client shall know it.
            Err(error) => {
                tracing::error!(%error, record = %self.id, "an answer is not recorded yet");
                self.tell(&Event::NotRecorded { id: self.id });
                self.end_later(store, held, Ending::Complete(completion));
                Ok(())
            }
        }
    }

    /// Extends the lease for as long as it is polled.
    async fn keep_alive(
        &self,
        store: &Store,
        held: &Held,
        execution: &Execution,
    ) -> std::convert::Infallible {
        let interval = self.config.heartbeat_interval();
        let mut beats = tokio::time::interval_at(Instant::now() + interval.min(FAR), interval);
        // A call that fails slowly does not put off the next.
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let extend = store.extend(&held.lease, self.config.lease_ttl);
            match self.ask("extend", extend).await {
                Ok(Fenced::Applied) => {}
                // By the handler's own completion, it seems.
                Ok(Fenced::Lost) if execution.has_joined() => {}
                Ok(Fenced::Lost) => {
                    tell_lost(&self.config, held);
                    return std::future::pending().await;
                }
                Err(error) => tracing::warn!(%error, "a lease could not be extended"),
            }
        }
    }

    /// What is recorded, if the record was completed by the handler's own transaction.
    async fn joined_answer(
        &self,
        store: &Store,
        lease: Lease,
    ) -> Result<Option<Result<Arc<Answer>, Stop>>, Stop> {
        let found = self.ask("get", store.get(&self.id)).await;
        match found.map_err(|error| self.outcome_unknown(error))? {
            Some(Existing {
                fingerprint,
                attempt,
                state: State::Completed { answer, remaining },
            }) if attempt == lease.attempt => {
                // Not what the handler gave last: of several transactions one was committed.
                Ok(Some(self.replay(fingerprint, &answer, remaining)))
            }
            _ => Ok(None),
        }
    }

    /// The work has failed, nobody knows where. If the lease was lost, it is somebody else's work, and
    /// this is not how it ends.
    async fn abandon(&self, store: &Store, held: &Held) -> Result<(), Stop> {
        match self.ask("abandon", store.abandon(&held.lease)).await {
            Ok(Fenced::Applied) => Ok(()),
            Ok(Fenced::Lost) => {
                tell_lost(&self.config, held);
                Err(self.others_answer().await)
            }
            Err(error) => {
                // It lapses by itself.
                tracing::warn!(%error, record = %self.id, "a lease could not be abandoned");
                Ok(())
            }
        }
    }
}
