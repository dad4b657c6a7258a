//! What a request is beside its content, and what is done with its answer.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use purlin_problem::{BoxError, Protocol};
use purlin_store::{StoreError, deadline};
use tokio::{sync::watch, time::Instant};

use super::{
    Answered, FAR,
    stop::{Stop, gone, tell},
    work::{Limits, Work},
};
use crate::{
    Answer, Event, Execution, Fingerprint, LeaseLost, Outcome, RecordId, Rejection, ResponseBody,
    config::Config,
    execution::RequestFingerprint,
    future::Working,
    headers::{announce, kept},
    in_process::{Finding, Occupied, Place},
    layer::Shared,
    replay_cache::Kept,
    store::{Completion, Existing, Lease, State},
};

/// How often a duplicate that waits asks about work in another process.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What is known of the request beside its content.
pub(super) struct Context {
    pub(super) config: Arc<Config>,
    pub(super) shared: Arc<Shared>,
    pub(super) working: Working,
    pub(super) protocol: Protocol,
    pub(super) id: RecordId,
    pub(super) request: RequestFingerprint,
    pub(super) wait_until: Option<Instant>,
    /// How often answers had been erased when the request began.
    pub(super) erasures: u64,
}

/// What becomes of the work, decided by its answer.
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) status: Option<StatusCode>,
    /// Whether it says that the effect took place.
    pub(super) succeeded: bool,
    /// What is kept of the answer, if there is one.
    pub(super) kept: Option<(Arc<Answer>, Completion)>,
}

impl Context {
    pub(super) fn enter(&self) -> Result<Place, Occupied> {
        let table = &self.shared.in_process;
        table.enter(self.id, self.request.known())
    }

    /// Whether this request would have been told the same.
    pub(super) fn would_find(&self, finding: &Finding) -> bool {
        let existing = finding.as_ref();
        let has_lapsed = existing.is_some_and(|existing| existing.state == State::Lapsed);
        // The other was refused what this one may be given: it is another request, or of another route.
        !(has_lapsed && self.config.lease_lost == LeaseLost::Reexecute)
    }

    /// Waits before the store is asked about work elsewhere again.
    pub(super) async fn wait(&self) -> Result<(), Stop> {
        let left = self.may_wait()?;
        tokio::time::sleep(left.min(POLL_INTERVAL)).await;
        Ok(())
    }

    pub(super) fn may_wait(&self) -> Result<Duration, Stop> {
        let now = Instant::now();
        match self.wait_until {
            Some(until) if now < until => Ok(until - now),
            _ => Err(self.in_flight()),
        }
    }

    pub(super) fn in_flight(&self) -> Stop {
        let retry_after = self.config.retry_after;
        Rejection::InFlight { retry_after }.into()
    }

    /// What somebody else has recorded is what counts.
    pub(super) async fn others_answer(&self) -> Stop {
        let get = self.shared.engine.store().get(&self.id);
        let existing = match self.ask("get", get).await {
            Err(error) => return self.outcome_unknown(error),
            Ok(None) => return self.in_flight(),
            Ok(Some(existing)) => existing,
        };
        let ours = self.request.current();
        if let Some(theirs) = existing.fingerprint
            && theirs != ours
        {
            // Of a streamed body only what was read is known; a retry is compared with all of it.
            return match theirs.covers_like(&ours) {
                true => Rejection::KeyReused.into(),
                false => self.in_flight(),
            };
        }
        match self.ended(existing) {
            Err(stop) => stop,
            Ok(()) => self.in_flight(),
        }
    }

    /// How a request ends whose record is there; `Ok` while that is not known.
    pub(super) fn ended(&self, existing: Existing) -> Result<(), Stop> {
        match existing.state {
            State::InFlight { .. } => Ok(()),
            State::Lapsed => Err(Rejection::Indeterminate.into()),
            State::Completed { answer, remaining } => {
                let answer = self.replay(existing.fingerprint, &answer, remaining)?;
                self.tell_replayed(&answer, false);
                Err(Stop::Replay(answer))
            }
        }
    }

    pub(super) fn replay(
        &self,
        fingerprint: Option<Fingerprint>,
        stored: &Bytes,
        remaining: Duration,
    ) -> Result<Arc<Answer>, Stop> {
        // Erased.
        if stored.is_empty() {
            return Err(gone(None).into());
        }
        let plain = match &self.config.codec {
            None => Ok(stored.clone()),
            Some(codec) => codec.decode(&self.id, stored.clone()),
        };
        let answer = plain.and_then(|plain| Ok(Answer::decode(&plain)?));
        let answer = answer.map_err(|error| {
            // It was executed: neither again, nor a guess.
            tracing::error!(error = &*error, record = %self.id, "a stored answer cannot be read");
            Stop::from(gone(None))
        })?;
        let answer = Arc::new(answer);
        self.remember(fingerprint, &answer, remaining);
        Ok(answer)
    }

    pub(super) fn remember(
        &self,
        fingerprint: Option<Fingerprint>,
        answer: &Arc<Answer>,
        remaining: Duration,
    ) {
        let kept = Kept {
            fingerprint,
            answer: Arc::clone(answer),
            remaining,
            erasures: self.erasures,
        };
        let max_bytes = self.config.replay_cache_bytes;
        self.shared.replay_cache.insert(self.id, kept, max_bytes);
    }

    /// What this process has in memory.
    pub(super) fn remembered(&self) -> Option<(Option<Fingerprint>, Arc<Answer>)> {
        // Another route, with another limit, may have put it there.
        let is_used = self.config.replay_cache_bytes > 0;
        is_used.then(|| self.shared.replay_cache.get(&self.id))?
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        tell(&self.config, event);
    }

    pub(super) fn tell_replayed(&self, answer: &Answer, from_memory: bool) {
        // Without its body it is a refusal, and told as one.
        if answer.body.is_some() {
            let id = self.id;
            self.tell(&Event::Replayed { id, from_memory });
        }
    }

    pub(super) async fn ask<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.ask_by(self.ask_until(), operation, call).await
    }

    /// Until when a call that begins now may take.
    pub(super) fn ask_until(&self) -> Instant {
        Instant::now() + self.config.store_timeout.min(FAR)
    }

    pub(super) async fn ask_by<T>(
        &self,
        until: Instant,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let store = self.shared.engine.store().name();
        let left = until.saturating_duration_since(Instant::now());
        deadline(store, operation, left, call).await
    }

    pub(super) fn store_unavailable(&self, error: StoreError) -> Stop {
        let retry_after = self.config.retry_after;
        Stop::Reject(
            Rejection::StoreUnavailable { retry_after },
            Some(error.into()),
        )
    }

    pub(super) fn outcome_unknown(&self, error: StoreError) -> Stop {
        let retry_after = self.config.retry_after;
        Stop::Reject(
            Rejection::OutcomeUnknown { retry_after },
            Some(error.into()),
        )
    }

    pub(super) fn outcome<R, E>(&self, work: &Work<R, E>) -> Outcome {
        let Some(said) = work.said() else {
            return Outcome::Uncertain;
        };
        let head = said.head;
        let outcome = head.extensions.get::<Outcome>().copied();
        let outcome = outcome.or_else(|| self.config.outcome.as_ref()?(head));
        outcome.unwrap_or_else(|| match Outcome::of(&said) {
            // The handler was refused its input, half-way.
            Outcome::Keep if self.request.has_failed() && head.status.is_client_error() => {
                Outcome::Forget
            }
            outcome => outcome,
        })
    }

    /// What is kept of an answer.
    pub(super) fn completion<R, E>(&self, work: &Work<R, E>) -> Option<(Arc<Answer>, Completion)> {
        let (head, body, trailers) = match work {
            Work::Whole(head, body, trailers) => (head, Some(body.clone()), trailers.clone()),
            Work::GoesOn(head, ..) => (head, None, None),
            _ => return None,
        };
        let answer = Answer {
            status: head.status,
            headers: kept(&head.headers, &self.config.not_kept),
            body,
            trailers: trailers.map(|trailers| kept(&trailers, &self.config.not_kept)),
        };
        let stored = encode(&self.config, &self.id, &answer).unwrap_or_else(|error| {
            tracing::error!(error = &*error, record = %self.id, "an answer cannot be encoded");
            Bytes::new()
        });
        let retention = self.config.retention;
        let completion = Completion::new(self.request.current(), stored, retention);
        Some((Arc::new(answer), completion))
    }

    /// What the handler has said.
    pub(super) fn respond<R, E>(&self, work: Work<R, E>) -> Answered<R, E> {
        let retry_after = self.config.retry_after;
        Ok(match work {
            Work::Whole(mut head, data, trailers) => {
                if let Some(trailers) = &trailers {
                    announce(&mut head.headers, trailers);
                }
                Response::from_parts(head, ResponseBody::whole(data, trailers))
            }
            Work::GoesOn(head, data, rest) => {
                Response::from_parts(head, ResponseBody::rest(data, rest))
            }
            Work::BrokeOff(error) => self.stop(Stop::Reject(Rejection::AnswerFailed, Some(error))),
            Work::TooSlow => self.stop(Rejection::TooSlow { retry_after }.into()),
            Work::Failed(error) => return Err(error),
            Work::Panicked(payload) => resume_unwind(payload),
        })
    }

    pub(super) fn stop<R>(&self, stop: Stop) -> Response<ResponseBody<R>> {
        stop.into_response(&self.config, &self.protocol)
    }

    /// What was just recorded.
    pub(super) fn remember_own(&self, answer: &Arc<Answer>, completion: &Completion) {
        // One that could not be encoded is replayed by nobody.
        if !completion.answer.is_empty() {
            // A handler's body may be a slice of something far larger.
            let mut answer = (**answer).clone();
            answer.body = answer.body.map(|body| Bytes::copy_from_slice(&body));
            let fingerprint = Some(completion.fingerprint);
            self.remember(fingerprint, &Arc::new(answer), completion.retention);
        }
    }

    pub(super) fn execution(&self, lease: Option<Lease>, lost: watch::Receiver<bool>) -> Execution {
        let (request, config) = (self.request.clone(), Arc::clone(&self.config));
        Execution::new(self.id, lease, lost, request, config)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            answer_bytes: self.config.max_answer_bytes,
            execution: self.config.max_execution,
        }
    }

    pub(super) fn verdict<R, E>(&self, work: &Work<R, E>) -> Verdict {
        let outcome = self.outcome(work);
        let kept = match outcome {
            Outcome::Keep => self.completion(work),
            Outcome::Forget | Outcome::Uncertain => None,
        };
        let succeeded = work.said().is_some_and(|said| said.has_succeeded());
        let status = work.said().map(|said| said.head.status);
        Verdict {
            outcome,
            status,
            succeeded,
            kept,
        }
    }
}

pub(crate) fn encode(config: &Config, id: &RecordId, answer: &Answer) -> Result<Bytes, BoxError> {
    let plain = answer.encode();
    let stored = match &config.codec {
        None => plain,
        Some(codec) => codec.encode(id, plain)?,
    };
    // Empty means erased.
    if stored.is_empty() {
        return Err("the codec has made nothing of it".into());
    }
    Ok(stored.into())
}
