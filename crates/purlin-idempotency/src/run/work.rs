//! Runs the handler and reads bodies.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE, response};
use http_body::{Body, Frame};
use purlin_problem::BoxError;
use tokio::time::timeout;
use tower_service::Service;

use crate::{Fingerprint, fingerprint::Hasher, outcome::Said};

/// How a handler ended.
pub(super) enum Work<R, E> {
    /// With an answer that was read to its end.
    Whole(response::Parts, Bytes, Option<HeaderMap>),
    /// With an answer that is longer than what is kept, or has no end: what was read, and the rest.
    GoesOn(response::Parts, Bytes, Pin<Box<R>>),
    /// With an answer that broke off.
    BrokeOff(BoxError),
    /// With the service's error.
    Failed(E),
    Panicked(Box<dyn Any + Send>),
    TooSlow,
}

impl<R, E> Work<R, E> {
    /// The handler's answer, if there is one.
    pub(super) fn said(&self) -> Option<Said<'_>> {
        let (head, end) = match self {
            Self::Whole(head, body, trailers) => (head, Some((&body[..], trailers.as_ref()))),
            Self::GoesOn(head, ..) => (head, None),
            _ => return None,
        };
        Some(Said { head, end })
    }
}

/// How much a handler may answer and still be remembered, and how long it may work.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) answer_bytes: usize,
    pub(super) execution: Duration,
}

pub(super) async fn execute<S, B, R>(
    service: &mut S,
    request: Request<B>,
    limits: Limits,
) -> Work<R, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let work = async {
        let response = match service.call(request).await {
            Ok(response) => response,
            Err(error) => return Work::Failed(error),
        };
        let (head, body) = response.into_parts();
        if has_no_end(&head) {
            return Work::GoesOn(head, Bytes::new(), Box::pin(body));
        }
        match collect(body, limits.answer_bytes).await {
            Ok(Collected::Whole(data, trailers)) => Work::Whole(head, data, trailers),
            Ok(Collected::TooLong(data, rest)) => Work::GoesOn(head, data, rest),
            Err(error) => Work::BrokeOff(error),
        }
    };
    match timeout(limits.execution, caught(work)).await {
        Ok(Ok(work)) => work,
        Ok(Err(payload)) => Work::Panicked(payload),
        Err(_) => Work::TooSlow,
    }
}

fn has_no_end(head: &response::Parts) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let content_type = head.headers.get(CONTENT_TYPE);
    head.status == StatusCode::SWITCHING_PROTOCOLS
        || content_type.is_some_and(|value| {
            let start = value.as_bytes().get(..EVENTS.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(EVENTS))
        })
}

/// Polls `future` until it is ready or panics; it is not polled again after that.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        },
    )
    .await
}

pub(super) enum Collected<B> {
    Whole(Bytes, Option<HeaderMap>),
    TooLong(Bytes, Pin<Box<B>>),
}

/// Reads a body to its end, or to the frame that takes it over the limit.
pub(super) async fn collect<B>(body: B, limit_bytes: usize) -> Result<Collected<B>, BoxError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = Box::pin(body);
    // Most bodies are one frame, which is kept as it is.
    let mut read = Bytes::new();
    let mut trailers = None;
    while let Some(frame) = next(body.as_mut()).await {
        match frame.map_err(Into::into)?.into_data() {
            Ok(data) if read.is_empty() => read = data,
            Ok(data) => {
                let mut joined = BytesMut::from(read);
                joined.extend_from_slice(&data);
                read = joined.freeze();
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if read.len() > limit_bytes {
            return Ok(Collected::TooLong(read, body));
        }
    }
    Ok(Collected::Whole(read, trailers))
}

/// The fingerprint of as much of `body` as `known` covers; `None` when the body breaks off.
pub(super) async fn hash_prefix<B>(
    body: B,
    mut hasher: Hasher,
    known: Fingerprint,
) -> Option<Fingerprint>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    loop {
        let left = known.body_bytes() - hasher.body_bytes();
        if left == 0 && !known.is_whole() {
            return Some(hasher.finish(false));
        }
        let Some(frame) = next(body.as_mut()).await else {
            return Some(hasher.finish(known.is_whole()));
        };
        let frame = frame.ok()?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        let covered = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        hasher.update(&data[..covered]);
        if covered < data.len() {
            // It goes on where the known one ended.
            return Some(hasher.finish(false));
        }
    }
}

async fn next<B: Body>(mut body: Pin<&mut B>) -> Option<Result<Frame<B::Data>, B::Error>> {
    poll_fn(|cx| body.as_mut().poll_frame(cx)).await
}
