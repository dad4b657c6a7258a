use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, header::EXPECT};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_TIME: Duration = Duration::from_secs(3);

/// A request body of which, once nobody wants it any more, the rest is read and thrown away.
///
/// Many clients read the answer only when they have sent the whole body. If the connection is
/// closed before that, as after a 413, they see a broken pipe in place of the answer
/// (RFC 9112 §9.6).
#[derive(Debug)]
pub(super) struct Linger {
    /// `None` once it has ended.
    body: Option<Incoming>,
    reads_on: bool,
}

impl Linger {
    pub(super) fn of(request: Request<Incoming>) -> Request<Self> {
        // Who waits for `100 Continue` reads the answer first; to read on would ask for the rest.
        let reads_on = !request.headers().contains_key(EXPECT);
        request.map(|body| Self {
            body: (!body.is_end_stream()).then_some(body),
            reads_on,
        })
    }
}

impl Body for Linger {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(&mut *body).poll_frame(cx);
        if !matches!(frame, Poll::Pending | Poll::Ready(Some(Ok(_)))) || body.is_end_stream() {
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Linger {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|_| self.reads_on) {
            tokio::spawn(async move {
                let mut rest = Limited::new(body, MAX_BYTES);
                let read = async { while let Some(Ok(_)) = rest.frame().await {} };
                // Whether the rest came in time or not, there is nothing more to be done for it.
                let _ = tokio::time::timeout(MAX_TIME, read).await;
            });
        }
    }
}
