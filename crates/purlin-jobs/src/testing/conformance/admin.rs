//! What operators see, and what they do with a queue.

use std::collections::HashSet;
use std::time::Duration;

use super::Harness;
use super::bench::{
    Batch, DAY, HOUR, MICRO, MINUTE, Store, Worker, YEAR, add, counts, discard, enqueue, job,
    job_of, job_with, leased, ok, queue, rescue, retry, state, unique,
};
use crate::store::{Enqueued, Filter, JobView, Outcome, Page, Settled, State};
use crate::{JobId, Priority, QueueName, Unique};

async fn list(store: &Store, filter: &Filter, after: Option<JobId>, limit: u16) -> Vec<JobView> {
    ok(store.list(filter, &Page { after, limit }).await)
}

/// Each job is on one page, in the order of the ids.
pub async fn jobs_are_listed_in_pages(h: &impl Harness) {
    let store = h.store();
    let mut ids = Vec::new();
    for _ in 0..25 {
        let mut entry = job();
        entry.id = JobId::from_uuid(uuid::Uuid::new_v4());
        ids.push(add(&store, entry).await);
    }
    ids.sort_unstable();
    let (mut after, mut seen) = (None, Vec::new());
    for expected in [10, 10, 5, 0] {
        let page = list(&h.second(), &Filter::default(), after, 10).await;
        assert_eq!(page.len(), expected);
        seen.extend(page.iter().map(|view| view.id));
        after = page.last().map(|view| view.id).or(after);
    }
    assert_eq!(seen, ids);
    // The last one of a page may be gone by the next.
    assert!(ok(store.cancel(ids[9]).await));
    assert_eq!(ok(store.purge_finished(Duration::ZERO, 10).await), 1);
    let page = list(&store, &Filter::default(), Some(ids[9]), 1).await;
    assert_eq!(page[0].id, ids[10]);
    assert_eq!(ok(store.get(ids[10]).await).as_ref(), Some(&page[0]));
}

/// By queue, kind and state, or by all of them.
pub async fn lists_are_filtered(h: &impl Harness) {
    let store = h.store();
    let mut in_mail = job_of("a");
    in_mail.options = in_mail.options.with_queue(queue("mail"));
    let in_mail = add(&store, in_mail).await;
    let mut later = job_of("b");
    later.options = later.options.with_queue(queue("mail")).with_delay(HOUR);
    let later = add(&store, later).await;
    let plain = add(&store, job_of("a")).await;
    let (_, leased_one) = leased(&store, job()).await;
    let dead = leased(&store, job()).await.1;
    dead.end(discard()).await;
    let cancelled = add(&store, job()).await;
    assert!(ok(store.cancel(cancelled).await));

    let find = async |queue: Option<&'static str>, kind: Option<&str>, state: Option<State>| {
        let filter = Filter {
            queue: queue.map(super::bench::queue),
            kind: kind.map(str::to_owned),
            state,
        };
        let found = list(&h.second(), &filter, None, 100).await;
        found
            .into_iter()
            .map(|view| view.id)
            .collect::<HashSet<_>>()
    };
    let ids = |ids: &[JobId]| ids.iter().copied().collect::<HashSet<_>>();
    assert_eq!(find(Some("mail"), None, None).await, ids(&[in_mail, later]));
    assert_eq!(find(Some("none"), None, None).await, ids(&[]));
    assert_eq!(find(None, Some("a"), None).await, ids(&[in_mail, plain]));
    let by_state = [
        (State::Ready, vec![in_mail, plain]),
        (State::Scheduled, vec![later]),
        (State::Leased, leased_one.ids()),
        (State::Dead, dead.ids()),
        (State::Cancelled, vec![cancelled]),
    ];
    for (state, expected) in by_state {
        assert_eq!(
            find(None, None, Some(state)).await,
            ids(&expected),
            "{state:?}"
        );
    }
    let ready = Some(State::Ready);
    assert_eq!(find(Some("mail"), Some("a"), ready).await, ids(&[in_mail]));
    assert_eq!(find(Some("mail"), Some("b"), ready).await, ids(&[]));
}

/// Of all queues, or of one.
pub async fn jobs_are_counted_by_queue(h: &impl Harness) {
    let store = h.store();
    for _ in 0..3 {
        add(&store, job_with(|o| o.with_queue(queue("mail")))).await;
    }
    add(
        &store,
        job_with(|o| o.with_queue(queue("mail")).with_delay(HOUR)),
    )
    .await;
    leased(&store, job()).await;
    add(&store, job()).await;
    assert_eq!(counts(&h.second()).await, [4, 1, 1, 0, 0]);
    let of = async |name: QueueName| {
        let counts = ok(h.second().counts(Some(&name)).await);
        (counts.ready, counts.scheduled, counts.leased)
    };
    assert_eq!(of(queue("mail")).await, (3, 1, 0));
    assert_eq!(of(QueueName::DEFAULT).await, (1, 0, 1));
    assert_eq!(of(queue("none")).await, (0, 0, 0));
}

/// Since the time at which it could start.
pub async fn the_wait_of_the_next_job_is_told(h: &impl Harness) {
    let store = h.store();
    let oldest = async |queue: Option<&QueueName>| ok(h.second().counts(queue).await).oldest_ready;
    assert_eq!(oldest(None).await, None);
    add(&store, job_with(|o| o.with_delay(MINUTE))).await;
    assert_eq!(oldest(None).await, None);
    h.clock().advance(2 * MINUTE);
    assert_eq!(ok(store.promote(1).await).jobs, 1);
    assert_eq!(oldest(None).await, Some(MINUTE));
    add(&store, job_with(|o| o.with_priority(Priority::URGENT))).await;
    h.clock().advance(MICRO);
    assert_eq!(oldest(None).await, Some(MICRO));

    let mail = queue("mail");
    assert_eq!(oldest(Some(&mail)).await, None);
    add(&store, job_with(|o| o.with_queue(mail.clone()))).await;
    h.clock().advance(MINUTE);
    assert_eq!(oldest(Some(&mail)).await, Some(MINUTE));
    assert_eq!(
        oldest(Some(&QueueName::DEFAULT)).await,
        Some(MINUTE + MICRO)
    );
}

/// At every moment each job that was added, and is not done, replaced or purged, is in one state.
pub async fn no_job_is_lost_or_doubled(h: &impl Harness) {
    let store = h.store();
    let is_whole = async |expected: u64| {
        assert_eq!(counts(&h.second()).await.iter().sum::<u64>(), expected);
        let found = list(&store, &Filter::default(), None, 1_000).await;
        assert_eq!(found.len() as u64, expected);
    };
    let entries: Vec<_> = (0..40)
        .map(|n| match n % 4 {
            0 => job_with(|o| o.with_delay(MINUTE)),
            _ => job(),
        })
        .collect();
    ok(store.enqueue(&entries).await);
    is_whole(40).await;
    let worker = Worker::join(&store).await;
    let batch: Batch = worker.claim(24).await;
    is_whole(40).await;
    let mut done = 0;
    for (n, id) in batch.ids().into_iter().enumerate() {
        let outcome = super::bench::outcomes()[n % 6].clone();
        done += u64::from(outcome == Outcome::Done);
        assert_eq!(batch.settle(id, outcome).await, Settled::Applied);
        is_whole(40 - done).await;
    }
    h.clock().advance(MINUTE);
    ok(store.promote(7).await);
    is_whole(40 - done).await;
    worker.claim(5).await;
    h.clock().advance(HOUR);
    rescue(&store, 1).await;
    is_whole(40 - done).await;
    let first = unique(Unique::until_done("key"));
    let second = unique(Unique::until_done("key").or_replace());
    let (new, old) = (second.id, first.id);
    ok(store.enqueue(&[first]).await);
    assert_eq!(
        enqueue(&store, &second).await,
        Enqueued::Replaced { new, old }
    );
    is_whole(41 - done).await;
    let [.., dead, cancelled] = counts(&store).await;
    let purged = ok(store.purge_finished(Duration::ZERO, 100).await);
    assert_eq!(purged, dead + cancelled);
    is_whole(41 - done - purged).await;
}

/// To the microsecond after their end, a number at a time, and nothing that may still run.
pub async fn finished_jobs_are_purged(h: &impl Harness) {
    let store = h.store();
    let (_, dead) = leased(&store, job()).await;
    dead.end(discard()).await;
    let cancelled = add(&store, job()).await;
    assert!(ok(store.cancel(cancelled).await));
    let (worker, _leased) = leased(&store, job()).await;
    add(&store, job()).await;
    add(&store, job_with(|o| o.with_delay(DAY))).await;
    ok(store.join(worker.id, YEAR).await);

    h.clock().advance(HOUR);
    assert_eq!(ok(store.purge_finished(HOUR + MICRO, 10).await), 0);
    assert_eq!(ok(store.purge_finished(Duration::MAX, 10).await), 0);
    assert_eq!(counts(&store).await, [1, 1, 1, 1, 1]);
    assert_eq!(ok(h.second().purge_finished(HOUR, 1).await), 1);
    assert_eq!(ok(h.second().purge_finished(HOUR, 10).await), 1);
    assert_eq!(counts(&store).await, [1, 1, 1, 0, 0]);
    for id in [dead.job().id, cancelled] {
        assert_eq!(state(&store, id).await, None);
        assert!(!ok(store.replay(id).await));
    }
    h.clock().advance(YEAR - DAY);
    assert_eq!(ok(store.purge_finished(Duration::ZERO, 10).await), 0);
    assert_eq!(counts(&store).await, [1, 1, 1, 0, 0]);
}

/// Those whose period is over, whatever became of the job.
pub async fn keys_of_the_past_are_purged(h: &impl Harness) {
    let store = h.store();
    let (_, done) = leased(&store, unique(Unique::for_period("1", MINUTE))).await;
    done.end(Outcome::Done).await;
    add(&store, unique(Unique::for_period("2", MINUTE))).await;
    let kept = add(&store, unique(Unique::for_period("3", HOUR))).await;
    let done = add(&store, unique(Unique::until_done("4"))).await;
    let started = add(&store, unique(Unique::until_start("5"))).await;
    h.clock().advance(MINUTE - MICRO);
    assert_eq!(ok(store.purge_finished(DAY, 10).await), 0);
    h.clock().advance(MICRO);
    assert_eq!(ok(store.purge_finished(DAY, 1).await), 1);
    assert_eq!(ok(store.purge_finished(DAY, 10).await), 1);
    assert_eq!(ok(store.purge_finished(DAY, 10).await), 0);
    let still_held = [
        (Unique::for_period("3", HOUR), kept),
        (Unique::until_done("4"), done),
        (Unique::until_start("5"), started),
    ];
    for (key, holder) in still_held {
        let enqueued = enqueue(&store, &unique(key)).await;
        assert_eq!(enqueued, Enqueued::Existing(holder));
    }
    for free in ["1", "2"] {
        add(&store, unique(Unique::until_done(free))).await;
    }
    assert_eq!(counts(&store).await, [6, 0, 0, 0, 0]);
}

/// Nothing of it is claimed; all else goes on.
pub async fn a_queue_is_paused_and_resumed(h: &impl Harness) {
    let store = h.store();
    let paused = QueueName::DEFAULT;
    let (worker, batch) = leased(&store, job()).await;
    assert!(!ok(store.resume(&paused).await));
    assert!(ok(store.pause(&paused).await));
    assert!(!ok(h.second().pause(&paused).await));
    let id = add(&store, job()).await;
    let mail = add(&store, job_with(|o| o.with_queue(queue("mail")))).await;
    for store in [h.store(), h.second()] {
        let worker = Worker::join(&store).await;
        assert_eq!(worker.claim(10).await.ids(), []);
    }
    let mut claim = worker.claim_of(10);
    claim.queue = queue("mail");
    assert_eq!(worker.make(&claim).await.ids(), [mail]);
    batch.end(retry(MINUTE)).await;
    h.clock().advance(MINUTE);
    assert_eq!(ok(store.promote(10).await).jobs, 1);
    assert_eq!(counts(&store).await, [2, 0, 1, 0, 0]);

    assert!(ok(h.second().resume(&paused).await));
    assert!(!ok(store.resume(&paused).await));
    assert_eq!(worker.claim(10).await.ids(), [id, batch.job().id]);
    // A queue need not have had a job.
    assert!(ok(store.pause(&queue("new")).await));
    add(&store, job_with(|o| o.with_queue(queue("new")))).await;
    claim = worker.claim_of(10);
    claim.queue = queue("new");
    assert_eq!(worker.make(&claim).await.ids(), []);
}
