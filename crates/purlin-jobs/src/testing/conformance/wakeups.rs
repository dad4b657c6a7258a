//! Who waits for jobs hears of them.

use std::time::Duration;

use super::Harness;
use super::bench::{MINUTE, add, job, job_with, ok};
use crate::QueueName;
use crate::store::{Wake, Wakeups};

/// Much longer than it takes.
const AT_MOST: Duration = Duration::from_secs(60);

async fn is_woken(wakeups: &mut dyn Wakeups) {
    assert_eq!(wakeups.next(AT_MOST).await, Wake::Jobs);
}

/// Each of them, whether it waits already or looks later.
pub async fn an_enqueue_wakes_who_waits(h: &impl Harness) {
    let (store, queues) = (h.store(), [QueueName::DEFAULT]);
    for _ in 0..5 {
        let mut waits = ok(store.wakeups(&queues).await);
        let mut looks_later = ok(store.wakeups(&queues).await);
        tokio::join!(is_woken(&mut *waits), async {
            tokio::task::yield_now().await;
            add(&store, job()).await;
        });
        is_woken(&mut *looks_later).await;
    }
}

/// It is ready only then.
pub async fn a_promotion_wakes_who_waits(h: &impl Harness) {
    let store = h.store();
    add(&store, job_with(|o| o.with_delay(MINUTE))).await;
    h.clock().advance(MINUTE);
    let mut wakeups = ok(store.wakeups(&[QueueName::DEFAULT]).await);
    assert_eq!(ok(store.promote(10).await).jobs, 1);
    is_woken(&mut *wakeups).await;
}

/// Though nothing comes, and the clock of the store stands still.
pub async fn a_wait_ends(h: &impl Harness) {
    let mut wakeups = ok(h.store().wakeups(&[QueueName::DEFAULT]).await);
    for _ in 0..3 {
        let wait = wakeups.next(Duration::from_millis(1));
        let ended = tokio::time::timeout(AT_MOST, wait).await;
        assert!(ended.is_ok());
    }
}
