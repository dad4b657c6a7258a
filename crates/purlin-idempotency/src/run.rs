//! The way of a request that has a key.

mod leased;
mod transactional;
mod work;

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Response,
    header::{CONTENT_TYPE, LOCATION},
    request,
};
use http_body::Body;
use purlin_problem::{BoxError, Protocol};
use purlin_store::{StoreError, deadline};
use tokio::{sync::watch, time::Instant};
use tower_service::Service;

use self::work::{Limits, Work};

use crate::{
    Answer, Event, Execution, Fingerprint, InFlight, Key, Outcome, RecordId, Rejection,
    RequestBody, ResponseBody,
    body::Seen,
    config::Config,
    execution::RequestFingerprint,
    fingerprint::Hasher,
    future::Working,
    headers::kept,
    in_process::Place,
    layer::{Engine, Shared},
    store::{Completion, Existing, Lease, State},
};

/// What a replay is marked by. Stripe's spelling; the draft has none.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// How often a duplicate that waits asks about work in another process.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long a body may take that is only read to compare it.
const COMPARE_LIMIT: Duration = Duration::from_secs(30);

/// One request on its way.
struct Exchange<B> {
    cx: Context,
    /// The head of a fingerprint, to compare with one that covers less of the body.
    head: Hasher,
    parts: request::Parts,
    body: Incoming<B>,
}

/// What is known of the request beside its content.
struct Context {
    config: Arc<Config>,
    shared: Arc<Shared>,
    working: Working,
    protocol: Protocol,
    id: RecordId,
    request: RequestFingerprint,
    wait_until: Option<Instant>,
}

/// What becomes of the work, decided by its answer.
struct Verdict {
    outcome: Outcome,
    /// What is kept of the answer, if there is one.
    kept: Option<(Arc<Answer>, Completion)>,
}

/// The body of the request: read, or still to be read by the handler.
enum Incoming<B> {
    Read(Bytes),
    Streamed(B),
}

/// Why the handler is not called: the answer is there, or there is none.
enum Stop {
    Replay(Arc<Answer>),
    Reject(Rejection, Option<BoxError>),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection, None)
    }
}

type Answered<R, E> = Result<Response<ResponseBody<R>>, E>;

pub(crate) async fn run<S, B, R>(
    ready: S,
    request: Request<B>,
    key: Key,
    config: Arc<Config>,
    shared: Arc<Shared>,
    working: Working,
) -> Answered<R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let _running = shared.running.enter();
    let protocol = Protocol::of(request.headers());
    let engine = shared.engine.clone();
    let exchange = match Exchange::prepare(request, &key, &config, &shared, working).await {
        Ok(exchange) => exchange,
        Err(stop) => return Ok(stop.into_response(&config, &protocol)),
    };
    match engine {
        Engine::Leased(store) => exchange.run_leased(&store, ready).await,
        Engine::Transactional(store) => exchange.run_transactional(&*store, ready).await,
    }
}

impl<B> Exchange<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    async fn prepare(
        request: Request<B>,
        key: &Key,
        config: &Arc<Config>,
        shared: &Arc<Shared>,
        working: Working,
    ) -> Result<Self, Stop> {
        let protocol = Protocol::of(request.headers());
        let (parts, body) = request.into_parts();
        let Some(scope) = (config.scope)(&parts) else {
            tracing::error!(
                "a request with an Idempotency-Key has no principal: is the idempotency layer inside \
                 of authentication?"
            );
            return Err(Rejection::ScopeMissing.into());
        };
        check_first_sent(config, &parts)?;
        let id = RecordId::new(&config.namespace, &scope, key);
        let head = hash_head(config, &parts);
        let (request, body) = if config.streams_request {
            let seen = Seen::new(head.clone());
            (RequestFingerprint::Streamed(seen), Incoming::Streamed(body))
        } else {
            let data = read(body, config.max_request_bytes).await?;
            let mut hasher = head.clone();
            hasher.update(&data);
            let fingerprint = hasher.finish(true);
            (RequestFingerprint::Known(fingerprint), Incoming::Read(data))
        };
        let wait_until = match config.in_flight {
            InFlight::Reject => None,
            InFlight::Wait { timeout } => Instant::now().checked_add(timeout),
        };
        Ok(Self {
            cx: Context {
                config: Arc::clone(config),
                shared: Arc::clone(shared),
                working,
                protocol,
                id,
                request,
                wait_until,
            },
            head,
            parts,
            body,
        })
    }

    /// What this process knows itself: an answer that it has in memory, or that it is at work.
    async fn look_around(&mut self) -> Result<(), Stop> {
        loop {
            if let Some((fingerprint, answer)) = self.cx.shared.replay_cache.get(&self.cx.id) {
                self.compare(fingerprint).await?;
                self.cx.tell(&Event::Replayed {
                    id: self.cx.id,
                    from_memory: true,
                });
                return Err(Stop::Replay(answer));
            }
            let Some(occupied) = self.cx.shared.in_process.find(&self.cx.id) else {
                return Ok(());
            };
            if let (Some(theirs), Some(ours)) = (occupied.fingerprint, self.cx.request.known())
                && theirs != ours
            {
                return Err(Rejection::KeyReused.into());
            }
            let left = self.cx.may_wait()?;
            occupied.ended(left).await;
        }
    }

    /// What a record that is there means for this request: to wait, or how it ends.
    async fn judge(&mut self, existing: Existing) -> Result<(), Stop> {
        self.compare(existing.fingerprint).await?;
        match existing.state {
            State::InFlight { .. } => Ok(()),
            State::Lapsed => Err(Rejection::Indeterminate.into()),
            State::Completed { answer, remaining } => {
                let answer = self.cx.replay(existing.fingerprint, &answer, remaining)?;
                self.cx.tell(&Event::Replayed {
                    id: self.cx.id,
                    from_memory: false,
                });
                Err(Stop::Replay(answer))
            }
        }
    }

    /// That this is the request it claims to be.
    async fn compare(&mut self, known: Option<Fingerprint>) -> Result<(), Stop> {
        let Some(known) = known else { return Ok(()) };
        let mut hasher = self.head.clone();
        let same = match &mut self.body {
            Incoming::Read(data) => {
                let covered = usize::try_from(known.body_bytes()).unwrap_or(usize::MAX);
                hasher.update(&data[..covered.min(data.len())]);
                hasher.finish(known.is_whole() && covered == data.len()) == known
            }
            Incoming::Streamed(_) => {
                let Incoming::Streamed(body) =
                    std::mem::replace(&mut self.body, Incoming::Read(Bytes::new()))
                else {
                    return Ok(());
                };
                let fingerprint = work::hash_prefix(body, hasher, known);
                let fingerprint = tokio::time::timeout(COMPARE_LIMIT, fingerprint).await;
                let Ok(Some(fingerprint)) = fingerprint else {
                    return Err(Rejection::BodyUnreadable.into());
                };
                fingerprint == known
            }
        };
        if same {
            Ok(())
        } else {
            Err(Rejection::KeyReused.into())
        }
    }

    /// What somebody else has recorded is what counts.
    async fn others_answer(&mut self) -> Stop {
        let shared = Arc::clone(&self.cx.shared);
        match self
            .cx
            .ask("get", shared.engine.store().get(&self.cx.id))
            .await
        {
            Err(error) => self.cx.outcome_unknown(error),
            Ok(None) => self.cx.in_flight(),
            Ok(Some(existing)) => match self.judge(existing).await {
                Err(stop) => stop,
                Ok(()) => self.cx.in_flight(),
            },
        }
    }

    /// The request as the handler gets it.
    fn request(&mut self, execution: Execution) -> Request<RequestBody<B>> {
        let mut request = self.bare_request();
        request.extensions_mut().insert(execution);
        request
    }

    fn bare_request(&mut self) -> Request<RequestBody<B>> {
        let (empty, ()) = Request::new(()).into_parts();
        let parts = std::mem::replace(&mut self.parts, empty);
        let body = match std::mem::replace(&mut self.body, Incoming::Read(Bytes::new())) {
            Incoming::Read(data) => RequestBody::read(data),
            Incoming::Streamed(body) => match &self.cx.request {
                RequestFingerprint::Streamed(seen) => RequestBody::hashed(body, seen.clone()),
                RequestFingerprint::Known(_) => RequestBody::inner(body),
            },
        };
        Request::from_parts(parts, body)
    }
}

impl Context {
    fn enter(&self) -> Place {
        let table = &self.shared.in_process;
        table.enter(self.id, self.request.known())
    }

    /// Waits before the store is asked about work elsewhere again.
    async fn wait(&self) -> Result<(), Stop> {
        let left = self.may_wait()?;
        tokio::time::sleep(left.min(POLL_INTERVAL)).await;
        Ok(())
    }

    fn may_wait(&self) -> Result<Duration, Stop> {
        let now = Instant::now();
        match self.wait_until {
            Some(until) if now < until => Ok(until - now),
            _ => Err(self.in_flight()),
        }
    }

    fn in_flight(&self) -> Stop {
        let retry_after = self.config.retry_after;
        Rejection::InFlight { retry_after }.into()
    }

    fn replay(
        &self,
        fingerprint: Option<Fingerprint>,
        stored: &Bytes,
        remaining: Duration,
    ) -> Result<Arc<Answer>, Stop> {
        // Erased.
        if stored.is_empty() {
            return Err(gone(None));
        }
        let plain = match &self.config.codec {
            None => Ok(stored.clone()),
            Some(codec) => codec.decode(&self.id, stored.clone()),
        };
        let answer = plain.and_then(|plain| Ok(Answer::decode(&plain)?));
        let answer = answer.map_err(|error| {
            // It was executed: neither again, nor a guess.
            tracing::error!(error = &*error, record = %self.id, "a stored answer cannot be read");
            gone(None)
        })?;
        let answer = Arc::new(answer);
        self.remember(fingerprint, &answer, remaining);
        Ok(answer)
    }

    fn remember(
        &self,
        fingerprint: Option<Fingerprint>,
        answer: &Arc<Answer>,
        remaining: Duration,
    ) {
        let max_bytes = self.config.replay_cache_bytes;
        let cache = &self.shared.replay_cache;
        cache.insert(
            self.id,
            fingerprint,
            Arc::clone(answer),
            remaining,
            max_bytes,
        );
    }

    fn tell(&self, event: &Event<'_>) {
        tell(&self.config, event);
    }

    async fn ask<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let store = self.shared.engine.store().name();
        deadline(store, operation, self.config.store_timeout, call).await
    }

    fn store_unavailable(&self, error: StoreError) -> Stop {
        let retry_after = self.config.retry_after;
        Stop::Reject(
            Rejection::StoreUnavailable { retry_after },
            Some(error.into()),
        )
    }

    fn outcome_unknown(&self, error: StoreError) -> Stop {
        let retry_after = self.config.retry_after;
        Stop::Reject(
            Rejection::OutcomeUnknown { retry_after },
            Some(error.into()),
        )
    }

    fn outcome<R, E>(&self, work: &Work<R, E>) -> Outcome {
        let (head, body, trailers) = match work {
            Work::Whole(head, body, trailers) => (head, &body[..], trailers.as_ref()),
            Work::GoesOn(head, ..) => (head, &[][..], None),
            _ => return Outcome::Uncertain,
        };
        let said = head.extensions.get::<Outcome>().copied();
        let said = said.or_else(|| self.config.outcome.as_ref()?(head));
        said.unwrap_or_else(|| match Outcome::of(head, body, trailers) {
            // The handler was refused its input, half-way.
            Outcome::Keep if self.request.has_failed() && head.status.is_client_error() => {
                Outcome::Forget
            }
            outcome => outcome,
        })
    }

    /// What is kept of an answer.
    fn completion<R, E>(&self, work: &Work<R, E>) -> Option<(Arc<Answer>, Completion)> {
        let (head, body, trailers) = match work {
            Work::Whole(head, body, trailers) => (head, Some(body.clone()), trailers.clone()),
            Work::GoesOn(head, ..) => (head, None, None),
            _ => return None,
        };
        let answer = Answer {
            status: head.status,
            headers: kept(&head.headers, &self.config.not_kept),
            body,
            trailers,
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
    fn respond<R, E>(&self, work: Work<R, E>) -> Answered<R, E> {
        let retry_after = self.config.retry_after;
        Ok(match work {
            Work::Whole(head, data, trailers) => {
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

    fn stop<R>(&self, stop: Stop) -> Response<ResponseBody<R>> {
        stop.into_response(&self.config, &self.protocol)
    }

    /// What was just recorded.
    fn remember_own(&self, answer: &Arc<Answer>, completion: &Completion) {
        // One that could not be encoded is replayed by nobody.
        if !completion.answer.is_empty() {
            self.remember(Some(completion.fingerprint), answer, completion.retention);
        }
    }

    fn execution(&self, lease: Option<Lease>, lost: watch::Receiver<bool>) -> Execution {
        let (request, config) = (self.request.clone(), Arc::clone(&self.config));
        Execution::new(self.id, lease, lost, request, config)
    }

    fn limits(&self) -> Limits {
        Limits {
            answer_bytes: self.config.max_answer_bytes,
            execution: self.config.max_execution,
        }
    }

    fn verdict<R, E>(&self, work: &Work<R, E>) -> Verdict {
        let outcome = self.outcome(work);
        let kept = match outcome {
            Outcome::Keep => self.completion(work),
            Outcome::Forget | Outcome::Uncertain => None,
        };
        Verdict { outcome, kept }
    }
}

impl Stop {
    fn into_response<R>(self, config: &Config, protocol: &Protocol) -> Response<ResponseBody<R>> {
        let (rejection, source) = match self {
            Self::Reject(rejection, source) => (rejection, source),
            Self::Replay(answer) => match replayed(&answer) {
                Some(response) => return response,
                None => match gone(Some(&answer)) {
                    Self::Reject(rejection, source) => (rejection, source),
                    Self::Replay(_) => unreachable!("what is gone is not replayed"),
                },
            },
        };
        refuse(config, protocol, rejection, source).map(|body| ResponseBody::whole(body, None))
    }
}

/// The executed request whose answer is not there.
fn gone(answer: Option<&Answer>) -> Stop {
    Rejection::AnswerUnavailable {
        original_status: answer.map(|answer| answer.status),
        location: answer.and_then(|answer| answer.headers.get(LOCATION).cloned()),
    }
    .into()
}

fn replayed<R>(answer: &Answer) -> Option<Response<ResponseBody<R>>> {
    let body = answer.body.clone()?;
    let mut response = Response::new(ResponseBody::whole(body, answer.trailers.clone()));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Some(response)
}

/// A response that says why.
pub(crate) fn refuse(
    config: &Config,
    protocol: &Protocol,
    rejection: Rejection,
    source: Option<BoxError>,
) -> Response<Bytes> {
    let event = Event::Rejected {
        rejection: &rejection,
    };
    if let Some(error) = &source {
        tracing::warn!(error = &**error, idempotency.event = event.name());
    }
    tell(config, &event);
    match &config.render {
        None => rejection.into_response(protocol, config.described_by.as_ref(), source),
        Some(render) => {
            let mut response = render(&rejection, protocol);
            response.extensions_mut().insert(rejection);
            response
        }
    }
}

fn tell(config: &Config, event: &Event<'_>) {
    tracing::debug!(idempotency.event = event.name(), "{event:?}");
    if let Some(observer) = &config.observer {
        observer.on_event(event);
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

fn check_first_sent(config: &Config, parts: &request::Parts) -> Result<(), Rejection> {
    let Some(value) = config
        .first_sent
        .as_ref()
        .and_then(|name| parts.headers.get(name))
    else {
        return Ok(());
    };
    let sent_at = value
        .to_str()
        .ok()
        .and_then(|text| httpdate::parse_http_date(text).ok());
    let sent_at = sent_at.ok_or(Rejection::FirstSentInvalid)?;
    match config.clock.now().duration_since(sent_at) {
        Ok(age) if age >= config.retention => Err(Rejection::WindowElapsed),
        _ => Ok(()),
    }
}

fn hash_head(config: &Config, parts: &request::Parts) -> Hasher {
    let target = match &config.target {
        Some(target) => target(parts),
        None => parts
            .uri
            .path_and_query()
            .map_or_else(String::new, |target| target.as_str().to_owned()),
    };
    let content_type = parts.headers.get(CONTENT_TYPE);
    Hasher::new([
        parts.method.as_str().as_bytes(),
        target.as_bytes(),
        content_type.map_or(&[][..], HeaderValue::as_bytes),
    ])
}

async fn read<B>(body: B, limit_bytes: usize) -> Result<Bytes, Stop>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let too_large = || Rejection::BodyTooLarge { limit_bytes }.into();
    // Said beforehand: nothing has to be read.
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(too_large());
    }
    match work::collect(body, limit_bytes).await {
        Ok(work::Collected::Whole(data, _)) => Ok(data),
        Ok(work::Collected::TooLong(..)) => Err(too_large()),
        Err(error) => Err(Stop::Reject(Rejection::BodyUnreadable, Some(error))),
    }
}
