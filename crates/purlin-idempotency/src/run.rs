//! The way of a request that has a key.

mod context;
mod later;
mod leased;
mod stop;
mod transactional;
mod work;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE, request};
use http_body::Body;
use purlin_problem::{BoxError, Protocol};
use purlin_store::StoreError;
use tokio::time::Instant;
use tower_service::Service;

pub(crate) use self::{context::encode, stop::refuse};
use self::{
    context::{Context, Verdict},
    stop::Stop,
};
use crate::{
    Execution, Fingerprint, InFlight, Key, RecordId, Rejection, RequestBody, ResponseBody,
    body::Seen,
    config::Config,
    execution::RequestFingerprint,
    fingerprint::Hasher,
    future::Working,
    in_process::{Asked, Finding, Place},
    layer::{Engine, Shared},
    store::State,
};

/// One request on its way.
struct Exchange<B> {
    cx: Context,
    /// Whether it has tried to take its place: whoever has the place at the next try has asked the
    /// store after this request came.
    has_tried: bool,
    /// The head of a fingerprint, to compare with one that covers less of the body.
    head: Hasher,
    parts: request::Parts,
    body: Incoming<B>,
}

/// The body of the request: read, or still to be read by the handler.
enum Incoming<B> {
    Read(Bytes, Option<HeaderMap>),
    Streamed(B),
    /// Given to the handler, or compared.
    Gone,
}

/// What is to be done after the look around.
enum Turn {
    /// Ask the store, until then.
    Ask(Place, Instant),
    /// What the store has told another copy.
    Told(Finding),
    /// The time for asking has passed while others asked.
    Missed(StoreError),
}

/// A sum with an instant that does not overflow.
const FAR: Duration = Duration::from_secs(365 * 86_400);

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
            let (data, trailers) = read(body, config.max_request_bytes).await?;
            let mut hasher = head.clone();
            hasher.update(&data);
            let fingerprint = hasher.finish(true);
            let body = Incoming::Read(data, trailers);
            (RequestFingerprint::Known(fingerprint), body)
        };
        let wait_until = match config.in_flight {
            InFlight::Reject => None,
            InFlight::Wait { timeout } => Some(Instant::now() + timeout.min(FAR)),
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
                erasures: shared.replay_cache.erasures(),
            },
            has_tried: false,
            head,
            parts,
            body,
        })
    }

    /// What this process knows itself: an answer that it has in memory, that it is at work, or what
    /// the store has just told another copy of this request. Else it is this one's turn to ask.
    async fn look_around(&mut self) -> Result<Turn, Stop> {
        let mut ask_until = self.cx.ask_until();
        loop {
            if let Some((fingerprint, answer)) = self.cx.remembered() {
                self.compare(fingerprint).await?;
                self.cx.tell_replayed(&answer, true);
                return Err(Stop::Replay(answer));
            }
            let asks_later = std::mem::replace(&mut self.has_tried, true);
            let mut occupied = match self.cx.enter() {
                Ok(place) => return Ok(Turn::Ask(place, ask_until)),
                Err(occupied) => occupied,
            };
            let asked = async { Ok(occupied.asked().await) };
            match self.cx.ask_by(ask_until, "wait", asked).await {
                Ok(Asked::AtWork) => {
                    if let (Some(theirs), Some(ours)) =
                        (occupied.fingerprint, self.cx.request.known())
                        && theirs != ours
                    {
                        return Err(Rejection::KeyReused.into());
                    }
                    let left = self.cx.may_wait()?;
                    occupied.ended(left).await;
                    ask_until = self.cx.ask_until();
                }
                Ok(Asked::Refused(finding)) if asks_later && self.cx.would_find(&finding) => {
                    return Ok(Turn::Told(finding));
                }
                Ok(Asked::Refused(_) | Asked::Unanswered) => {}
                Err(error) => return Ok(Turn::Missed(error)),
            }
        }
    }

    /// What that which stands in the way means for this request: to wait, or how it ends.
    async fn judge(&mut self, finding: Finding) -> Result<(), Stop> {
        let Some(existing) = finding else {
            return Ok(());
        };
        // A streamed body can be read once, and may still be the handler's to read.
        let may_be_executed = matches!(existing.state, State::InFlight { .. });
        if !(may_be_executed && matches!(self.body, Incoming::Streamed(_))) {
            self.compare(existing.fingerprint).await?;
        }
        self.cx.ended(existing)
    }

    /// That this is the request it claims to be.
    async fn compare(&mut self, known: Option<Fingerprint>) -> Result<(), Stop> {
        let Some(known) = known.filter(|known| self.cx.request.known() != Some(*known)) else {
            return Ok(());
        };
        let mut hasher = self.head.clone();
        let same = match &self.body {
            Incoming::Read(data, _) => {
                let covered = usize::try_from(known.body_bytes()).unwrap_or(usize::MAX);
                hasher.update(&data[..covered.min(data.len())]);
                hasher.finish(known.is_whole() && covered == data.len()) == known
            }
            Incoming::Streamed(_) | Incoming::Gone => {
                let Incoming::Streamed(body) = std::mem::replace(&mut self.body, Incoming::Gone)
                else {
                    // Nothing executes after this, and a retry is compared.
                    return Err(self.cx.in_flight());
                };
                let fingerprint = work::hash_prefix(body, hasher, known);
                // It takes as long as when the handler reads it.
                let limit = self.cx.config.max_execution;
                let fingerprint = tokio::time::timeout(limit, fingerprint).await;
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

    /// The request as the handler gets it.
    fn request(&mut self, execution: Execution) -> Request<RequestBody<B>> {
        let mut request = self.bare_request();
        request.extensions_mut().insert(execution);
        request
    }

    fn bare_request(&mut self) -> Request<RequestBody<B>> {
        let (empty, ()) = Request::new(()).into_parts();
        let parts = std::mem::replace(&mut self.parts, empty);
        let body = match std::mem::replace(&mut self.body, Incoming::Gone) {
            Incoming::Gone => RequestBody::default(),
            Incoming::Read(data, trailers) => RequestBody::read(data, trailers),
            Incoming::Streamed(body) => match &self.cx.request {
                RequestFingerprint::Streamed(seen) => RequestBody::hashed(body, seen.clone()),
                RequestFingerprint::Known(_) => RequestBody::inner(body),
            },
        };
        Request::from_parts(parts, body)
    }
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

async fn read<B>(body: B, limit_bytes: usize) -> Result<(Bytes, Option<HeaderMap>), Stop>
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
        Ok(work::Collected::Whole(data, trailers)) => Ok((data, trailers)),
        Ok(work::Collected::TooLong(..)) => Err(too_large()),
        Err(error) => Err(Stop::Reject(Rejection::BodyUnreadable, Some(error))),
    }
}
