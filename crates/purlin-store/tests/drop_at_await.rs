//! The harness itself: that it meets every await, in both ways, and finds what is wrong.

use std::cell::Cell;

use purlin_store::testing::{Dropped, drop_at_every_await};
use tokio::sync::{Notify, oneshot};

#[tokio::test]
async fn every_await_is_met_before_and_after_the_wake() {
    let mut met = Vec::new();
    let dropped = drop_at_every_await(
        || async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        },
        async |at| met.push(format!("{at:?}")),
    )
    .await;
    assert_eq!(dropped, 6);
    assert_eq!(
        met,
        [
            "Waiting { polls: 1 }",
            "Woken { polls: 1 }",
            "Waiting { polls: 2 }",
            "Woken { polls: 2 }",
            "Waiting { polls: 3 }",
            "Woken { polls: 3 }",
            "Completed",
        ]
    );
}

#[tokio::test]
async fn a_future_that_never_waits_is_not_dropped() {
    let dropped =
        drop_at_every_await(|| async {}, async |at| assert_eq!(at, Dropped::Completed)).await;
    assert_eq!(dropped, 0);
}

#[tokio::test]
async fn after_the_wake_the_answer_is_there_and_before_it_is_not() {
    // The answer is sent by a task that runs while the future waits.
    let ready_at_drop = Cell::new(false);
    drop_at_every_await(
        || {
            struct Answer<'a>(oneshot::Receiver<()>, &'a Cell<bool>);
            impl Drop for Answer<'_> {
                fn drop(&mut self) {
                    self.1.set(self.0.try_recv().is_ok());
                }
            }
            let (sender, receiver) = oneshot::channel();
            tokio::spawn(async move { sender.send(()) });
            let mut answer = Answer(receiver, &ready_at_drop);
            async move {
                (&mut answer.0).await.unwrap();
            }
        },
        async |at| match at {
            Dropped::Waiting { .. } => assert!(!ready_at_drop.get()),
            Dropped::Woken { .. } => assert!(ready_at_drop.get()),
            _ => {}
        },
    )
    .await;
}

/// Two counters that must stay equal, changed with an await in between.
#[tokio::test]
#[should_panic(expected = "left: 1")]
async fn a_change_that_a_drop_tears_apart_is_found() {
    let (one, two) = (Cell::new(0), Cell::new(0));
    drop_at_every_await(
        || async {
            one.set(one.get() + 1);
            tokio::task::yield_now().await;
            two.set(two.get() + 1);
        },
        async |_| assert_eq!(one.get(), two.get()),
    )
    .await;
}

#[tokio::test]
async fn a_wake_from_elsewhere_counts_as_one() {
    let notify = Notify::new();
    let dropped = drop_at_every_await(
        || async {
            notify.notify_one();
            notify.notified().await;
            tokio::task::yield_now().await;
        },
        async |_| {},
    )
    .await;
    assert_eq!(dropped, 2);
}
