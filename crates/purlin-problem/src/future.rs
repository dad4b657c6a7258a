//! The response future.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, response::Parts};
use http_body::Body;
use pin_project_lite::pin_project;

use crate::{
    MAX_DOCUMENT_BYTES, ProblemBody,
    config::Config,
    context::Seen,
    finish::{Finish, Plan},
};

pin_project! {
    /// The future of [`Problems`](crate::Problems).
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: State<F, B>,
        seen: Seen,
        config: Arc<Config>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        Calling { #[pin] future: F },
        Panicked { payload: Option<Box<dyn Any + Send>> },
        Reading { #[pin] body: B, reading: Option<Box<Reading>> },
    }
}

struct Reading {
    head: Parts,
    plan: Plan,
    read: Vec<u8>,
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    /// Without the response that it may hold: its header and body are for the client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl<F, B> ResponseFuture<F, B> {
    pub(crate) fn new(
        called: Result<F, Box<dyn Any + Send>>,
        seen: Seen,
        config: Arc<Config>,
    ) -> Self {
        let state = match called {
            Ok(future) => State::Calling { future },
            Err(payload) => State::Panicked {
                payload: Some(payload),
            },
        };
        Self {
            state,
            seen,
            config,
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<ProblemBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let finish = Finish {
            seen: this.seen,
            config: this.config,
        };
        loop {
            match this.state.as_mut().project() {
                StateProj::Calling { future } => {
                    // The future is not polled again after a panic.
                    let polled = catch_unwind(AssertUnwindSafe(|| future.poll(cx)));
                    let response = match polled {
                        Ok(polled) => ready!(polled)?,
                        Err(payload) => return Poll::Ready(Ok(finish.panicked(&*payload))),
                    };
                    if !crate::status::is_error(response.status()) {
                        return Poll::Ready(Ok(response.map(ProblemBody::inner)));
                    }
                    let (head, body) = response.into_parts();
                    match finish.plan(&head, &body) {
                        Plan::Keep => {
                            let response = Response::from_parts(head, ProblemBody::inner(body));
                            return Poll::Ready(Ok(finish.keep(response)));
                        }
                        Plan::Fill => return Poll::Ready(Ok(finish.fill(head, None))),
                        Plan::Head => return Poll::Ready(Ok(finish.head(head))),
                        plan => this.state.set(State::Reading {
                            body,
                            reading: Some(Box::new(Reading {
                                head,
                                plan,
                                read: Vec::new(),
                            })),
                        }),
                    }
                }
                StateProj::Panicked { payload } => {
                    let payload = payload
                        .take()
                        .expect("a future is not polled after it is ready");
                    return Poll::Ready(Ok(finish.panicked(&*payload)));
                }
                StateProj::Reading { mut body, reading } => {
                    let whole = loop {
                        let polled =
                            catch_unwind(AssertUnwindSafe(|| body.as_mut().poll_frame(cx)));
                        let frame = match polled {
                            Ok(polled) => ready!(polled),
                            Err(payload) => {
                                finish.log_panic(&*payload);
                                break false;
                            }
                        };
                        let Some(Ok(frame)) = frame else {
                            break frame.is_none();
                        };
                        let state = reading
                            .as_mut()
                            .expect("a future is not polled after it is ready");
                        if let Ok(data) = frame.into_data() {
                            // Only a body that promised less than this is read.
                            if state.read.len() + data.len() > MAX_DOCUMENT_BYTES {
                                break false;
                            }
                            state.read.extend_from_slice(&data);
                        }
                    };
                    let Reading { head, plan, read } = *reading
                        .take()
                        .expect("a future is not polled after it is ready");
                    return Poll::Ready(Ok(match plan {
                        _ if !whole => finish.fill(head, None),
                        Plan::Edit => finish.edit(head, read),
                        _ => finish.fill(head, Some(read)),
                    }));
                }
            }
        }
    }
}
