use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::Response;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tracing::{Instrument as _, Span};

use crate::ResponseBody;

pin_project! {
    /// The response future.
    ///
    /// # Cancel safety
    ///
    /// Once the work of a key has begun, dropping this future does not drop the handler: it is carried
    /// on as a task of the runtime on which the request was called, in the same span. Task-locals
    /// that outer layers have set are not there any more.
    pub struct ResponseFuture<F, R, E> {
        #[pin]
        kind: Kind<F, R, E>,
    }
}

type Answered<R, E> = Result<Response<ResponseBody<R>>, E>;
type Work<R, E> = Pin<Box<dyn Future<Output = Answered<R, E>> + Send>>;

pin_project! {
    #[project = KindProj]
    enum Kind<F, R, E> {
        Passed { #[pin] future: F },
        Refused { response: Option<Response<ResponseBody<R>>> },
        Executing { executing: Executing<R, E> },
    }
}

/// Whether dropping the future now would leave something half-done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Working(Arc<AtomicBool>);

impl Working {
    pub(crate) fn set(&self, working: bool) {
        self.0.store(working, Ordering::Relaxed);
    }
}

struct Executing<R, E> {
    /// `None` when it is done.
    work: Option<Work<R, E>>,
    working: Working,
    detach: Option<Box<dyn FnOnce() + Send>>,
    runtime: Option<Handle>,
    spawn: fn(Work<R, E>, &Handle, Span),
    span: Span,
}

impl<F, R, E> ResponseFuture<F, R, E> {
    pub(crate) fn passed(future: F) -> Self {
        let kind = Kind::Passed { future };
        Self { kind }
    }

    pub(crate) fn refused(response: Response<ResponseBody<R>>) -> Self {
        let response = Some(response);
        let kind = Kind::Refused { response };
        Self { kind }
    }

    pub(crate) fn executing<W>(
        detach: impl FnOnce() + Send + 'static,
        work: impl FnOnce(Working) -> W,
    ) -> Self
    where
        W: Future<Output = Answered<R, E>> + Send + 'static,
        R: 'static,
        E: 'static,
    {
        let working = Working::default();
        let executing = Executing {
            work: Some(Box::pin(work(working.clone()))),
            working,
            detach: Some(Box::new(detach)),
            runtime: Handle::try_current().ok(),
            spawn: |work, runtime, span| {
                let work = async move {
                    let _ = work.await;
                };
                runtime.spawn(work.instrument(span));
            },
            span: Span::current(),
        };
        let kind = Kind::Executing { executing };
        Self { kind }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R, E>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Answered<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Passed { future } => future
                .poll(cx)
                .map_ok(|response| response.map(ResponseBody::inner)),
            KindProj::Refused { response } => {
                let response = response.take();
                Poll::Ready(Ok(
                    response.expect("a future is not polled after it is ready")
                ))
            }
            KindProj::Executing { executing } => {
                // A panic takes it along: it was settled before, and cannot be polled again.
                let work = executing.work.take();
                let mut work = work.expect("a future is not polled after it is ready");
                let polled = work.as_mut().poll(cx);
                if polled.is_pending() {
                    executing.work = Some(work);
                }
                polled
            }
        }
    }
}

impl<R, E> Drop for Executing<R, E> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let half_done = self.working.0.load(Ordering::Relaxed);
        if !half_done {
            return;
        }
        // Without a runtime, or one that is shutting down, it is dropped: as in a crash.
        if let Some(runtime) = &self.runtime {
            (self.spawn)(work, runtime, self.span.clone());
            if let Some(detach) = self.detach.take() {
                detach();
            }
        }
    }
}
