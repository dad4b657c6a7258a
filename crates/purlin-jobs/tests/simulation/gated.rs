use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Sleep, sleep_until};

use crate::life::Life;

/// A future that stands still while its worker is frozen.
pub(crate) struct Gated<F> {
    life: Arc<Life>,
    future: Pin<Box<F>>,
    thaw: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Gated<F> {
    pub(crate) fn new(life: Arc<Life>, future: F) -> Self {
        Self {
            life,
            future: Box::pin(future),
            thaw: None,
        }
    }
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(until) = self.life.frozen_until() {
            let thaw = self.thaw.insert(Box::pin(sleep_until(until)));
            if thaw.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.future.as_mut().poll(cx)
    }
}
