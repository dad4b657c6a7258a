//! The bodies on both sides of the handler.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use purlin_problem::BoxError;

use crate::{Fingerprint, fingerprint::Hasher};

pin_project! {
    /// What the handler reads: the client's body, or one that was read for the fingerprint before.
    pub struct RequestBody<B> {
        #[pin]
        kind: RequestKind<B>,
    }
}

pin_project! {
    #[project = RequestProj]
    enum RequestKind<B> {
        Inner { #[pin] body: B },
        Read { data: Option<Bytes>, trailers: Option<HeaderMap> },
        Hashed { #[pin] body: B, seen: Seen },
    }
}

impl<B> RequestBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        let kind = RequestKind::Inner { body };
        Self { kind }
    }

    pub(crate) fn read(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        let data = Some(data).filter(|data| !data.is_empty());
        let kind = RequestKind::Read { data, trailers };
        Self { kind }
    }

    pub(crate) fn hashed(body: B, seen: Seen) -> Self {
        let kind = RequestKind::Hashed { body, seen };
        Self { kind }
    }
}

impl<B> Default for RequestBody<B> {
    /// An empty one.
    fn default() -> Self {
        Self::read(Bytes::new(), None)
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            RequestProj::Inner { body } => body.poll_frame(cx).map_err(Into::into),
            RequestProj::Read { data, trailers } => Poll::Ready(next(data, trailers).map(Ok)),
            RequestProj::Hashed { body, seen } => {
                let frame = ready!(body.poll_frame(cx)).map(|frame| frame.map_err(Into::into));
                seen.frame(frame.as_ref());
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            RequestKind::Inner { body } => body.is_end_stream(),
            RequestKind::Read { data, trailers } => data.is_none() && trailers.is_none(),
            // Until the end was seen: who asks first and then does not read would leave it open.
            RequestKind::Hashed { body, seen } => {
                let ends = body.is_end_stream();
                if ends {
                    seen.frame(None);
                }
                ends
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            RequestKind::Inner { body } | RequestKind::Hashed { body, .. } => body.size_hint(),
            RequestKind::Read { data, trailers } => whole_hint(data, trailers.is_some()),
        }
    }
}

/// What the handler has read of a streamed body so far.
#[derive(Clone, Debug)]
pub(crate) struct Seen(Arc<Mutex<SeenState>>);

#[derive(Debug)]
struct SeenState {
    hasher: Hasher,
    ended: bool,
    failed: bool,
}

impl Seen {
    pub(crate) fn new(hasher: Hasher) -> Self {
        Self(Arc::new(Mutex::new(SeenState {
            hasher,
            ended: false,
            failed: false,
        })))
    }

    fn frame(&self, frame: Option<&Result<Frame<Bytes>, BoxError>>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match frame {
            None => state.ended = true,
            Some(Err(_)) => state.failed = true,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    state.hasher.update(data);
                }
            }
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.hasher.clone().finish(state.ended)
    }

    /// Whether the client's body ended in an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failed
    }
}

pin_project! {
    /// The body of the handler's answer, of a stored one, or of a refusal.
    pub struct ResponseBody<B> {
        #[pin]
        kind: ResponseKind<B>,
    }
}

pin_project! {
    #[project = ResponseProj]
    enum ResponseKind<B> {
        Inner { #[pin] body: B },
        Whole { data: Option<Bytes>, trailers: Option<HeaderMap> },
        Rest { data: Option<Bytes>, body: Pin<Box<B>> },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        let kind = ResponseKind::Inner { body };
        Self { kind }
    }

    pub(crate) fn whole(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        let data = Some(data).filter(|data| !data.is_empty());
        let kind = ResponseKind::Whole { data, trailers };
        Self { kind }
    }

    /// What was read of a body already, and the body.
    pub(crate) fn rest(data: Bytes, body: Pin<Box<B>>) -> Self {
        let data = Some(data).filter(|data| !data.is_empty());
        let kind = ResponseKind::Rest { data, body };
        Self { kind }
    }
}

impl<B> Default for ResponseBody<B> {
    /// An empty one.
    fn default() -> Self {
        Self::whole(Bytes::new(), None)
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            ResponseProj::Inner { body } => body.poll_frame(cx),
            ResponseProj::Whole { data, trailers } => Poll::Ready(next(data, trailers).map(Ok)),
            ResponseProj::Rest { data, body } => match data.take() {
                Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None => body.as_mut().poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            ResponseKind::Inner { body } => body.is_end_stream(),
            ResponseKind::Whole { data, trailers } => data.is_none() && trailers.is_none(),
            ResponseKind::Rest { data, body } => data.is_none() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            ResponseKind::Inner { body } => body.size_hint(),
            ResponseKind::Whole { data, trailers } => whole_hint(data, trailers.is_some()),
            ResponseKind::Rest { data, body } => {
                let mut hint = body.size_hint();
                let more = len(data);
                if let Some(upper) = hint.upper() {
                    hint.set_upper(upper.saturating_add(more));
                }
                hint.set_lower(hint.lower().saturating_add(more));
                hint
            }
        }
    }
}

fn next(data: &mut Option<Bytes>, trailers: &mut Option<HeaderMap>) -> Option<Frame<Bytes>> {
    let data = data.take().map(Frame::data);
    data.or_else(|| trailers.take().map(Frame::trailers))
}

/// HTTP/1.1 has no trailers after a body of known length.
fn whole_hint(data: &Option<Bytes>, has_trailers: bool) -> SizeHint {
    if has_trailers {
        return SizeHint::default();
    }
    SizeHint::with_exact(len(data))
}

fn len(data: &Option<Bytes>) -> u64 {
    data.as_ref().map_or(0, |data| data.len() as u64)
}

// Bodies hold what nobody should find in a log.

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RequestKind::Inner { .. } => "RequestBody(as it comes)",
            RequestKind::Read { .. } => "RequestBody(read)",
            RequestKind::Hashed { .. } => "RequestBody(hashed)",
        })
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ResponseKind::Inner { .. } => "ResponseBody(as it comes)",
            ResponseKind::Whole { .. } => "ResponseBody(whole)",
            ResponseKind::Rest { .. } => "ResponseBody(goes on)",
        })
    }
}
