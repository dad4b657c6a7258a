//! A unique key: who holds it, for how long, and what becomes of a second job.

use super::Harness;
use super::bench::{
    HOUR, MICRO, MINUTE, Store, Worker, add, counts, discard, enqueue, job, job_with, leased, ok,
    queue, rescue, retry, state, unique, view,
};
use crate::store::{Enqueued, Entry, Outcome, Settled, State};
use crate::{JobId, Unique};

fn until_done() -> Entry {
    unique(Unique::until_done("key"))
}

fn until_start() -> Entry {
    unique(Unique::until_start("key"))
}

fn for_an_hour() -> Entry {
    unique(Unique::for_period("key", HOUR))
}

/// Whatever a second job of the key asks for, it is not added.
async fn is_held(h: &impl Harness, holder: JobId) {
    let before = counts(&h.store()).await;
    for second in [until_done(), until_start(), for_an_hour()] {
        let enqueued = enqueue(&h.second(), &second).await;
        assert_eq!(enqueued, Enqueued::Existing(holder));
        assert_eq!(state(&h.store(), second.id).await, None);
    }
    assert_eq!(counts(&h.store()).await, before);
}

/// Somebody takes the key, and lets it go.
async fn is_free(store: &Store) {
    let id = add(store, until_done()).await;
    assert!(ok(store.cancel(id).await));
}

/// Ready, leased, scheduled or ready again.
pub async fn a_key_is_held_until_the_job_is_done(h: &impl Harness) {
    let store = h.store();
    let id = add(&store, until_done()).await;
    is_held(h, id).await;
    let worker = Worker::join(&store).await;
    let outcomes = [
        retry(MINUTE),
        Outcome::Snooze { after: MINUTE },
        Outcome::Release,
    ];
    for outcome in outcomes {
        let batch = worker.claim(1).await;
        is_held(h, id).await;
        batch.end(outcome).await;
        is_held(h, id).await;
        h.clock().advance(MINUTE);
        ok(store.promote(1).await);
        is_held(h, id).await;
    }
    worker.claim(1).await;
    h.clock().advance(HOUR);
    assert_eq!(rescue(&store, 9).await.ready, 1);
    is_held(h, id).await;
    Worker::join(&store)
        .await
        .claim(1)
        .await
        .end(Outcome::Done)
        .await;
    is_free(&store).await;
}

/// Done, dead or cancelled, however that came.
pub async fn a_key_is_free_when_its_job_has_ended(h: &impl Harness) {
    let store = h.store();
    for outcome in [Outcome::Done, discard(), Outcome::Cancelled] {
        leased(&store, until_done()).await.1.end(outcome).await;
        is_free(&store).await;
    }
    for entry in [until_done(), until_start()] {
        let waiting = add(&store, entry).await;
        assert!(ok(store.cancel(waiting).await));
        is_free(&store).await;
    }
    leased(&store, until_done()).await;
    h.clock().advance(HOUR);
    ok(store.promote(1).await);
    assert_eq!(rescue(&store, 1).await.dead, 1);
    is_free(&store).await;

    // Cancelled while it ran.
    for outcome in [retry(MINUTE), Outcome::Release] {
        let (_, batch) = leased(&store, until_done()).await;
        assert!(ok(store.cancel(batch.job().id).await));
        is_held(h, batch.job().id).await;
        batch.end(outcome).await;
        is_free(&store).await;
    }
    let (_, batch) = leased(&store, until_done()).await;
    assert!(ok(store.cancel(batch.job().id).await));
    h.clock().advance(HOUR);
    rescue(&store, 9).await;
    is_free(&store).await;
}

/// Ready or scheduled; from the first claim on it is free for good.
pub async fn a_key_may_be_held_until_the_job_starts(h: &impl Harness) {
    let store = h.store();
    let mut scheduled = until_start();
    scheduled.options = scheduled.options.with_delay(MINUTE);
    let id = add(&store, scheduled).await;
    is_held(h, id).await;
    h.clock().advance(MINUTE);
    ok(store.promote(1).await);
    is_held(h, id).await;
    let worker = Worker::join(&store).await;
    let batch = worker.claim(1).await;
    is_free(&store).await;
    batch.end(Outcome::Release).await;
    is_free(&store).await;
    worker.claim(1).await.end(retry(MINUTE)).await;
    is_free(&store).await;
}

/// What was enqueued meanwhile holds the key, whatever becomes of the first one.
pub async fn a_job_frees_the_key_of_no_other(h: &impl Harness) {
    let store = h.store();
    for outcome in [Outcome::Done, discard(), Outcome::Cancelled] {
        let (_, first) = leased(&store, until_start()).await;
        let mut second = until_done();
        second.options = second.options.with_delay(HOUR);
        let second = add(&store, second).await;
        first.end(outcome).await;
        is_held(h, second).await;
        assert!(ok(store.cancel(second).await));
    }
    // It had the key for a time that is over.
    let (_, first) = leased(&store, unique(Unique::for_period("key", MINUTE))).await;
    h.clock().advance(MINUTE);
    let second = add(&store, until_done()).await;
    first.end(Outcome::Done).await;
    is_held(h, second).await;
    // Released and claimed anew it has started before.
    assert!(ok(store.cancel(second).await));
    let (worker, first) = leased(&store, until_start()).await;
    first.end(Outcome::Release).await;
    let mut second = until_start();
    second.options = second.options.with_delay(HOUR);
    let second = add(&store, second).await;
    assert_eq!(worker.claim(1).await.ids(), first.ids());
    is_held(h, second).await;
}

/// To the microsecond, whether or not the job is done by then.
pub async fn a_key_may_be_held_for_a_period(h: &impl Harness) {
    let store = h.store();
    for outcome in [Outcome::Done, discard(), Outcome::Cancelled] {
        let (_, batch) = leased(&store, for_an_hour()).await;
        let id = batch.job().id;
        is_held(h, id).await;
        batch.end(outcome).await;
        is_held(h, id).await;
        h.clock().advance(HOUR - MICRO);
        is_held(h, id).await;
        h.clock().advance(MICRO);
        is_free(&store).await;
    }
    let waiting = add(&store, for_an_hour()).await;
    assert!(ok(store.cancel(waiting).await));
    is_held(h, waiting).await;
    h.clock().advance(HOUR);
    let waiting = add(&store, for_an_hour()).await;
    h.clock().advance(HOUR);
    is_free(&store).await;
    assert_eq!(state(&store, waiting).await, Some(State::Ready));
}

/// One that waits is gone, and the second one is as it was given.
pub async fn a_waiting_job_may_be_replaced(h: &impl Harness) {
    let store = h.store();
    let keys = [
        Unique::until_done("key"),
        Unique::until_start("key"),
        Unique::for_period("key", HOUR),
    ];
    for (n, key) in keys.into_iter().enumerate() {
        let old = add(
            &store,
            job_with(|o| o.with_delay(MINUTE).with_unique(keys[n])),
        )
        .await;
        let mut next = old;
        for delayed in [false, true, false] {
            let replaces = Entry {
                payload: vec![7, u8::from(delayed)].into(),
                ..job_with(|o| match delayed {
                    true => o.with_delay(HOUR).with_unique(key.or_replace()),
                    false => o.with_unique(key.or_replace()),
                })
            };
            let (new, old) = (replaces.id, next);
            let enqueued = enqueue(&h.second(), &replaces).await;
            assert_eq!(enqueued, Enqueued::Replaced { new, old });
            // Its answer was lost.
            let again = enqueue(&store, &replaces).await;
            assert_eq!(again, Enqueued::Existing(new));
            assert_eq!(state(&store, old).await, None);
            let there = view(&store, new).await;
            assert_eq!(there.payload, replaces.payload);
            assert_eq!(there.state == State::Scheduled, delayed);
            next = new;
        }
        is_held(h, next).await;
        assert_eq!(counts(&store).await, [1, 0, 0, 0, 0]);
        let worker = Worker::join(&store).await;
        let batch = worker.claim(10).await;
        assert_eq!(batch.ids(), [next]);
        batch.end(Outcome::Done).await;
        h.clock().advance(HOUR);
        assert_eq!(ok(store.promote(10).await).jobs, 0);
    }
}

/// A retry and what was released wait as well.
pub async fn a_job_that_waits_again_may_be_replaced(h: &impl Harness) {
    let store = h.store();
    let replace = || unique(Unique::until_done("key").or_replace());
    for outcome in [
        retry(MINUTE),
        Outcome::Snooze { after: MINUTE },
        Outcome::Release,
    ] {
        let (_, batch) = leased(&store, replace()).await;
        let (id, second) = (batch.job().id, replace());
        assert_eq!(enqueue(&store, &second).await, Enqueued::Existing(id));
        batch.end(outcome).await;
        let (new, old) = (second.id, id);
        assert_eq!(
            enqueue(&store, &second).await,
            Enqueued::Replaced { new, old }
        );
        assert_eq!(batch.settle(old, Outcome::Done).await, Settled::Stale);
        assert_eq!(state(&store, old).await, None);
        Worker::join(&store)
            .await
            .claim(10)
            .await
            .end(Outcome::Done)
            .await;
    }
}

/// It runs, or has ended and the period has not.
pub async fn a_job_that_does_not_wait_is_not_replaced(h: &impl Harness) {
    let store = h.store();
    let period = Unique::for_period("key", HOUR).or_replace();
    let (_, batch) = leased(&store, unique(period)).await;
    let id = batch.job().id;
    for outcome in [None, Some(discard())] {
        if let Some(outcome) = outcome {
            batch.end(outcome).await;
        }
        let enqueued = enqueue(&store, &unique(period)).await;
        assert_eq!(enqueued, Enqueued::Existing(id));
    }
    assert_eq!(state(&store, id).await, Some(State::Dead));
    h.clock().advance(HOUR);
    let (_, batch) = leased(&store, unique(period)).await;
    batch.end(Outcome::Done).await;
    let enqueued = enqueue(&store, &unique(period)).await;
    assert_eq!(enqueued, Enqueued::Existing(batch.job().id));
}

/// The period of a job that was replaced ends with it.
pub async fn a_replacement_begins_its_own_span(h: &impl Harness) {
    let store = h.store();
    add(&store, for_an_hour()).await;
    h.clock().advance(HOUR - MICRO);
    let second = unique(Unique::for_period("key", HOUR).or_replace());
    let Enqueued::Replaced { new, .. } = enqueue(&store, &second).await else {
        panic!("it was not replaced");
    };
    h.clock().advance(HOUR - MICRO);
    is_held(h, new).await;
    let third = unique(Unique::until_done("key").or_replace());
    let Enqueued::Replaced { new, .. } = enqueue(&store, &third).await else {
        panic!("it was not replaced");
    };
    h.clock().advance(HOUR);
    is_held(h, new).await;
    Worker::join(&store)
        .await
        .claim(10)
        .await
        .end(Outcome::Done)
        .await;
    is_free(&store).await;
}

/// Of every kind, in every queue; other keys are not concerned.
pub async fn a_key_is_one_for_all_jobs(h: &impl Harness) {
    let store = h.store();
    let id = add(&store, until_done()).await;
    let mut elsewhere = until_done();
    elsewhere.kind = "another".to_owned();
    elsewhere.options = elsewhere.options.with_queue(queue("another"));
    assert_eq!(enqueue(&store, &elsewhere).await, Enqueued::Existing(id));
    add(&store, unique(Unique::until_done("another key"))).await;
    add(&store, unique(Unique::until_done(""))).await;
    add(&store, job()).await;
    is_held(h, id).await;
}

/// It stands, even if the others would take its place.
pub async fn the_first_of_a_key_in_one_call_is_the_new_one(h: &impl Harness) {
    let store = h.store();
    for replaces in [false, true] {
        let key = |name: u8| {
            let key = Unique::until_done([name, u8::from(replaces)]);
            unique(if replaces { key.or_replace() } else { key })
        };
        let entries = [key(1), key(2), key(1), job(), key(2), key(1)];
        let enqueued = ok(store.enqueue(&entries).await);
        let [first, second] = [entries[0].id, entries[1].id];
        let expected = [
            Enqueued::New(first),
            Enqueued::New(second),
            Enqueued::Existing(first),
            Enqueued::New(entries[3].id),
            Enqueued::Existing(second),
            Enqueued::Existing(first),
        ];
        assert_eq!(enqueued, expected);

        // Against what is there already.
        let entries = [key(1), key(1)];
        let enqueued = ok(store.enqueue(&entries).await);
        let (new, old) = (entries[0].id, first);
        let expected = if replaces {
            [Enqueued::Replaced { new, old }, Enqueued::Existing(new)]
        } else {
            [Enqueued::Existing(first); 2]
        };
        assert_eq!(enqueued, expected);
    }
    assert_eq!(counts(&store).await, [6, 0, 0, 0, 0]);
}

/// One that is there already is not added, and takes no key from another.
pub async fn a_job_that_is_not_added_takes_no_key(h: &impl Harness) {
    let store = h.store();
    let known = add(&store, job()).await;
    let again = Entry {
        id: known,
        ..until_done()
    };
    let other = until_done();
    let enqueued = ok(store.enqueue(&[again.clone(), other.clone()]).await);
    let expected = [Enqueued::Existing(known), Enqueued::New(other.id)];
    assert_eq!(enqueued, expected);
    is_held(h, other.id).await;

    // Nor does it replace one.
    let mut again = again;
    again.options.unique = Some(Unique::until_done("key").or_replace());
    assert_eq!(enqueue(&store, &again).await, Enqueued::Existing(known));
    is_held(h, other.id).await;
    assert_eq!(counts(&store).await, [2, 0, 0, 0, 0]);
}
