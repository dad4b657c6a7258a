//! What is enqueued is there, all of a call or nothing of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::Harness;
use super::bench::{
    DAY, HOUR, MICRO, MINUTE, Worker, YEAR, add, counts, discard, enqueue, job, job_with, leased,
    now, ok, queue, state, view,
};
use crate::store::{Claimed, Enqueued, Entry, JobView, Outcome, State, Tally};
use crate::{JobId, Options, Priority};

/// To the byte and to the microsecond, for operators and for workers.
pub async fn a_job_is_as_it_was_given(h: &impl Harness) {
    let store = h.store();
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let odd = Entry {
        id: JobId::new(),
        kind: "it's \"a\" kind; über_🦀".to_owned(),
        version: u16::MAX,
        payload: Bytes::from(every_byte),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        options: Options::new()
            .with_queue(queue("a_B-9.:"))
            .with_priority(Priority::URGENT)
            .with_max_attempts(u16::MAX)
            .with_timeout(Duration::from_micros(1_000_001)),
        parents: Vec::new(),
    };
    let plain = Entry {
        payload: Bytes::new(),
        ..job()
    };
    for entry in [odd, plain] {
        add(&store, entry.clone()).await;
        let expected = JobView {
            id: entry.id,
            kind: entry.kind.clone(),
            version: entry.version,
            queue: entry.options.queue.clone(),
            state: State::Ready,
            payload: entry.payload.clone(),
            failures: 0,
            crashes: 0,
            max_attempts: entry.options.max_attempts,
            failure: None,
            enqueued_at: now(h),
            run_at: Some(now(h)),
            finished_at: None,
            waits_for: 0,
            parents: Tally::default(),
        };
        assert_eq!(view(&h.second(), entry.id).await, expected);

        let worker = Worker::join(&h.second()).await;
        let mut claim = worker.claim_of(2);
        claim.queue = entry.options.queue.clone();
        claim.kinds = vec![entry.kind.clone()];
        h.clock().advance(MINUTE);
        let batch = worker.make(&claim).await;
        let expected = Claimed {
            id: entry.id,
            kind: entry.kind,
            version: entry.version,
            payload: entry.payload,
            traceparent: entry.traceparent,
            failures: 0,
            crashes: 0,
            max_attempts: entry.options.max_attempts,
            timeout: entry.options.timeout,
            enqueued_at: now(h) - MINUTE,
            parents: Tally::default(),
        };
        assert_eq!(*batch.job(), expected);
    }
}

/// In whatever state the first is, until it is done.
pub async fn an_id_that_is_there_is_not_added_again(h: &impl Harness) {
    let store = h.store();
    let (leased_one, batch) = leased(&store, job()).await;
    let dead = leased(&store, job()).await.1;
    dead.end(discard()).await;
    let cancelled = add(&store, job()).await;
    assert!(ok(store.cancel(cancelled).await));
    let scheduled = add(&store, job_with(|o| o.with_delay(HOUR))).await;
    let ready = add(&store, job()).await;
    let there = [
        (batch.job().id, State::Leased),
        (dead.job().id, State::Dead),
        (cancelled, State::Cancelled),
        (scheduled, State::Scheduled),
        (ready, State::Ready),
    ];
    h.clock().advance(MINUTE);
    for (id, expected) in there {
        let before = view(&store, id).await;
        assert_eq!(before.state, expected);
        let mut again = job_with(|o| o.with_queue(queue("another")).with_delay(DAY));
        again.id = id;
        assert_eq!(enqueue(&h.second(), &again).await, Enqueued::Existing(id));
        assert_eq!(view(&store, id).await, before);
    }
    assert_eq!(counts(&store).await, [1; 5]);
    drop(leased_one);

    batch.end(Outcome::Done).await;
    let done = Entry {
        id: batch.job().id,
        ..job()
    };
    assert_eq!(enqueue(&store, &done).await, Enqueued::New(done.id));
}

/// The second is the first.
pub async fn an_id_is_added_once_in_a_call(h: &impl Harness) {
    let (store, twice, other) = (h.store(), job(), job());
    let enqueued = ok(store
        .enqueue(&[twice.clone(), other.clone(), twice.clone()])
        .await);
    let expected = [
        Enqueued::New(twice.id),
        Enqueued::New(other.id),
        Enqueued::Existing(twice.id),
    ];
    assert_eq!(enqueued, expected);
    assert_eq!(counts(&store).await, [2, 0, 0, 0, 0]);
}

/// Not every store can hold every text. One that refuses a job adds none of its call.
pub async fn a_call_adds_all_of_its_jobs_or_none(h: &impl Harness) {
    let store = h.store();
    let strange = Entry {
        kind: "no\0kind".to_owned(),
        ..job()
    };
    let scheduled = job_with(|o| o.with_delay(HOUR));
    let entries = [job(), scheduled, strange, job()];
    let is_added = store.enqueue(&entries).await.is_ok();
    for entry in &entries {
        assert_eq!(state(&store, entry.id).await.is_some(), is_added);
    }
    let [ready, scheduled, ..] = counts(&h.second()).await;
    assert_eq!((ready, scheduled), if is_added { (3, 1) } else { (0, 0) });
}

/// It says nothing, and does nothing.
pub async fn a_call_without_jobs_adds_none(h: &impl Harness) {
    assert_eq!(ok(h.store().enqueue(&[]).await), []);
    assert_eq!(counts(&h.store()).await, [0; 5]);
}

/// Small and large, and each is told of in its place.
pub async fn many_jobs_are_added_in_one_call(h: &impl Harness) {
    let store = h.store();
    let known = add(&store, job()).await;
    let mut entries: Vec<_> = (0..2_000).map(|_| job()).collect();
    entries[700].id = known;
    entries[1_500].payload = Bytes::from(vec![b'x'; 1 << 20]);
    entries.reverse();
    let enqueued = ok(store.enqueue(&entries).await);
    let expected = entries.iter().map(|entry| match entry.id {
        id if id == known => Enqueued::Existing(id),
        id => Enqueued::New(id),
    });
    assert_eq!(enqueued, expected.collect::<Vec<_>>());
    assert_eq!(counts(&h.second()).await, [2_000, 0, 0, 0, 0]);
    let large = view(&h.second(), entries[499].id).await;
    assert_eq!(large.payload, entries[499].payload);
}

/// Ready if that is now or past, else scheduled for that microsecond.
pub async fn a_job_is_scheduled_for_its_time(h: &impl Harness) {
    let (store, now) = (h.store(), now(h));
    let long_ago = UNIX_EPOCH - 40 * YEAR;
    let due = [
        job_with(|o| o.with_delay(Duration::ZERO)),
        job_with(|o| o.with_run_at(now)),
        job_with(|o| o.with_run_at(now - DAY)),
        job_with(|o| o.with_run_at(long_ago)),
    ];
    for entry in due {
        let view = view(&store, add(&store, entry).await).await;
        assert_eq!((view.state, view.run_at), (State::Ready, Some(now)));
    }
    let not_due = [
        (job_with(|o| o.with_delay(MICRO)), now + MICRO),
        (job_with(|o| o.with_delay(DAY)), now + DAY),
        (job_with(|o| o.with_run_at(now + MICRO)), now + MICRO),
        (job_with(|o| o.with_run_at(now + DAY)), now + DAY),
    ];
    for (entry, run_at) in not_due {
        let view = view(&store, add(&store, entry).await).await;
        assert_eq!((view.state, view.run_at), (State::Scheduled, Some(run_at)));
        assert_eq!(view.enqueued_at, now);
    }
}

/// A long time, and no overflow.
pub async fn the_far_future_is_a_time(h: &impl Harness) {
    let store = h.store();
    let year_9999 = UNIX_EPOCH + Duration::from_micros(253_402_300_799_999_999);
    let last = add(&store, job_with(|o| o.with_run_at(year_9999))).await;
    assert_eq!(view(&store, last).await.run_at, Some(year_9999));
    let next_in = ok(store.promote(10).await).next_in;
    assert_eq!(next_in, year_9999.duration_since(now(h)).ok());

    let never = add(&store, job_with(|o| o.with_delay(Duration::MAX))).await;
    let run_at: SystemTime = view(&store, never).await.run_at.expect("it is scheduled");
    assert!(run_at > year_9999, "{run_at:?}");
    h.clock().advance(50 * YEAR);
    assert_eq!(ok(store.promote(10).await).jobs, 0);
    assert_eq!(counts(&store).await, [0, 2, 0, 0, 0]);
    for id in [last, never] {
        assert!(ok(store.cancel(id).await));
    }
}
