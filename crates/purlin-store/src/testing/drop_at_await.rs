use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Where [`drop_at_every_await`] has just dropped a future, or that it ran to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dropped {
    /// Right after the poll with this number (counted from 1) left it waiting: what it asked for
    /// was sent, and nothing has come back.
    #[non_exhaustive]
    Waiting {
        /// How many times it was polled.
        polls: usize,
    },
    /// As `Waiting`, but only once it had been woken: the answer has arrived and nobody reads it.
    #[non_exhaustive]
    Woken {
        /// How many times it was polled.
        polls: usize,
    },
    /// Not at all; this is the last call.
    Completed,
}

/// Runs a future again and again and drops it at another await each time, the way a server drops
/// the future of a request whose client hangs up; after each time `check` looks at the state.
///
/// `start` makes a fresh future. The first one is polled once and dropped, the next one twice, and
/// so on until one completes; each number of polls is used twice, see [`Dropped`]. `check` runs
/// after each of them (it panics if what it finds is wrong, and may set things up for the next).
/// The result is the number of futures that were dropped.
///
/// ```
/// use purlin_store::testing::{Dropped, drop_at_every_await};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let steps = std::cell::Cell::new(0);
/// let dropped = drop_at_every_await(
///     || async {
///         for _ in 0..3 {
///             tokio::task::yield_now().await;
///             steps.set(steps.get() + 1);
///         }
///     },
///     async |at| {
///         let done = steps.replace(0);
///         match at {
///             Dropped::Completed => assert_eq!(done, 3),
///             _ => assert!(done < 3),
///         }
///     },
/// )
/// .await;
/// assert_eq!(dropped, 6);
/// # }
/// ```
///
/// # Limits
///
/// - An await that was ready at once is no place where a future can be dropped, and none is counted.
/// - On real input and output the number of polls differs between runs: a place may be met twice
///   or missed. Run it over a future often enough to matter, or let a proxy hold the answers.
/// - Only this future is dropped. A task that it spawned lives on, as it would in a server.
/// - A future that is woken without need is polled more often, which does no harm.
///
/// # Panics
///
/// When a future still waits after 10 000 polls.
pub async fn drop_at_every_await<F, Fut>(mut start: F, mut check: impl AsyncFnMut(Dropped)) -> usize
where
    F: FnMut() -> Fut,
    Fut: Future,
{
    let mut dropped = 0;
    for polls in 1..=10_000 {
        for await_wake in [false, true] {
            if run_and_drop(start(), polls, await_wake).await {
                check(Dropped::Completed).await;
                return dropped;
            }
            dropped += 1;
            check(if await_wake {
                Dropped::Woken { polls }
            } else {
                Dropped::Waiting { polls }
            })
            .await;
        }
    }
    panic!("the future still waits after 10 000 polls");
}

/// Polls `future` up to `polls` times, and drops it unless it completed: then `true`.
async fn run_and_drop<Fut: Future>(future: Fut, polls: usize, await_wake: bool) -> bool {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|cx| {
        if polled == polls {
            // Woken after the last poll.
            return Poll::Ready(false);
        }
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if polled == polls && !await_wake => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
