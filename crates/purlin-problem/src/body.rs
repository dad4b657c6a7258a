//! Response bodies.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of the inner service, or a document that took its place.
    #[derive(Debug)]
    pub struct ProblemBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Document { bytes: Bytes },
    }
}

impl<B> ProblemBody<B> {
    /// A body that is passed on as it is.
    pub const fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    /// A whole document, such as that of [`Problem::into_http`](crate::Problem::into_http).
    #[must_use]
    pub const fn document(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Document { bytes },
        }
    }
}

/// Without content, as tower-http's CORS layer answers a preflight request.
impl<B> Default for ProblemBody<B> {
    fn default() -> Self {
        Self::document(Bytes::new())
    }
}

impl<B> From<Bytes> for ProblemBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self::document(bytes)
    }
}

impl<B: Body<Data = Bytes>> Body for ProblemBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Document { bytes } if bytes.is_empty() => Poll::Ready(None),
            KindProj::Document { bytes } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Document { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Document { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
