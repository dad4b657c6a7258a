//! Many at the same time, through two handles.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Harness;
use super::bench::{
    Batch, DAY, HOUR, MINUTE, Worker, add, at_once, counts, enqueue, job, job_with, leased, ok,
    outcomes, rescue, retry, settle, state, unique, view,
};
use crate::store::{Beat, Enqueued, Outcome, Settled, Settlement, State};
use crate::{JobId, Unique};

/// Until all are claimed, each by one.
pub async fn many_claimers_get_every_job_once(h: &impl Harness) {
    const JOBS: usize = 400;
    let entries: Vec<_> = (0..JOBS).map(|_| job()).collect();
    ok(h.store().enqueue(&entries).await);
    let taken = Arc::new(AtomicUsize::new(0));
    let batches = at_once(h, 8, |n, store| {
        let taken = Arc::clone(&taken);
        async move {
            let worker = Worker::join(&store).await;
            let mut batches = Vec::new();
            // A claim may overlook what another one has just let go.
            while taken.load(Ordering::SeqCst) < JOBS {
                let batch = worker.claim(5 + n as u16).await;
                taken.fetch_add(batch.jobs.len(), Ordering::SeqCst);
                batches.push(batch);
                tokio::task::yield_now().await;
            }
            batches
        }
    });
    let batches = tokio::time::timeout(5 * MINUTE, batches).await;
    let batches: Vec<Batch> = batches
        .expect("all are claimed")
        .into_iter()
        .flatten()
        .collect();
    let ids: Vec<_> = batches.iter().flat_map(Batch::ids).collect();
    let each: HashSet<_> = ids.iter().copied().collect();
    assert_eq!((ids.len(), each.len()), (JOBS, JOBS));
    assert_eq!(counts(&h.store()).await, [0, 0, JOBS as u64, 0, 0]);
    for batch in &batches {
        for id in batch.ids() {
            assert_eq!(batch.settle(id, Outcome::Done).await, Settled::Applied);
        }
    }
    assert_eq!(counts(&h.store()).await, [0; 5]);
}

/// One that is made again while the first is under way gets the same jobs, and takes no others.
pub async fn one_claim_made_twice_at_once_takes_its_jobs_once(h: &impl Harness) {
    for _ in 0..20 {
        let store = h.store();
        let entries: Vec<_> = (0..9).map(|_| job()).collect();
        ok(store.enqueue(&entries).await);
        let worker = Worker::join(&store).await;
        let claim = worker.claim_of(3);
        let claimed = at_once(h, 4, |_, store| {
            let claim = claim.clone();
            async move { ok(store.claim(&claim).await) }
        });
        let claimed = claimed.await;
        // It may have overlooked some, but what it says is all that it has.
        let taken = claimed[0].len();
        assert!((1..=3).contains(&taken), "{claimed:?}");
        assert!(
            claimed.iter().all(|jobs| *jobs == claimed[0]),
            "{claimed:?}"
        );
        let left = 9 - taken as u64;
        assert_eq!(counts(&store).await, [left, 0, taken as u64, 0, 0]);
        for job in &claimed[0] {
            let settled = settle(&store, claim.lease, job.id, Outcome::Done).await;
            assert_eq!(settled, Settled::Applied);
        }
        clear(h).await;
        assert_eq!(counts(&store).await, [0; 5]);
    }
}

/// One of them, and the others find it.
pub async fn many_enqueues_of_one_key_add_one(h: &impl Harness) {
    for key in [
        Unique::until_done("done"),
        Unique::until_start("start"),
        Unique::for_period("period", DAY),
    ] {
        let enqueued = at_once(h, 100, |_, store| async move {
            enqueue(&store, &unique(key)).await
        });
        let enqueued = enqueued.await;
        let new: Vec<_> = enqueued
            .iter()
            .filter(|enqueued| matches!(enqueued, Enqueued::New(_)))
            .collect();
        assert_eq!(new.len(), 1, "{new:?}");
        let id = new[0].id();
        assert!(enqueued.iter().all(|enqueued| enqueued.id() == id));
        assert_eq!(state(&h.store(), id).await, Some(State::Ready));
    }
    assert_eq!(counts(&h.store()).await, [3, 0, 0, 0, 0]);
}

/// Each takes the place of the one before.
pub async fn many_replacements_leave_one(h: &impl Harness) {
    let key = Unique::until_done("key").or_replace();
    let enqueued = at_once(h, 60, |_, store| async move {
        enqueue(&store, &unique(key)).await
    });
    let (mut added, mut gone, mut first) = (HashSet::new(), HashSet::new(), 0);
    for enqueued in enqueued.await {
        assert!(added.insert(enqueued.id()));
        match enqueued {
            Enqueued::New(_) => first += 1,
            Enqueued::Replaced { old, .. } => assert!(gone.insert(old)),
            Enqueued::Existing(_) => panic!("nothing runs: {enqueued:?}"),
        }
    }
    assert_eq!(first, 1);
    let left: Vec<_> = added.difference(&gone).collect();
    assert_eq!(left.len(), 1);
    assert_eq!(counts(&h.store()).await, [1, 0, 0, 0, 0]);
    assert_eq!(state(&h.store(), *left[0]).await, Some(State::Ready));
}

/// Calls with several keys, each in another order, wait for each other without a knot.
pub async fn calls_with_the_same_keys_do_not_block_each_other(h: &impl Harness) {
    let enqueued = at_once(h, 24, |n, store| async move {
        let mut entries: Vec<_> = (0..12_u8)
            .map(|key| unique(Unique::until_done([key])))
            .collect();
        entries.rotate_left(n % 12);
        if n % 3 == 0 {
            entries.reverse();
        }
        ok(store.enqueue(&entries).await)
    });
    let enqueued: Vec<_> = enqueued.await.into_iter().flatten().collect();
    let new = |enqueued: &&Enqueued| matches!(enqueued, Enqueued::New(_));
    assert_eq!(enqueued.iter().filter(new).count(), 12);
    let ids: HashSet<_> = enqueued.iter().map(Enqueued::id).collect();
    assert_eq!(ids.len(), 12);
    assert_eq!(counts(&h.store()).await, [12, 0, 0, 0, 0]);
}

/// Since the answer to the first was late.
pub async fn many_enqueues_of_one_id_add_one(h: &impl Harness) {
    let id = JobId::new();
    let enqueued = at_once(h, 40, |_, store| async move {
        let mut entry = job();
        entry.id = id;
        enqueue(&store, &entry).await
    });
    let enqueued = enqueued.await;
    let new = enqueued.iter().filter(|e| **e == Enqueued::New(id));
    assert_eq!(new.count(), 1);
    assert!(enqueued.iter().all(|e| e.id() == id));
    assert_eq!(counts(&h.store()).await, [1, 0, 0, 0, 0]);
}

/// And the others say that there was nothing to do.
pub async fn many_rescuers_count_a_crash_once(h: &impl Harness) {
    let store = h.store();
    for crashes in 1..=5 {
        if crashes == 1 {
            let entries: Vec<_> = (0..50).map(|_| job()).collect();
            ok(store.enqueue(&entries).await);
        }
        let workers = [Worker::join(&store).await, Worker::join(&store).await];
        for _ in 0..5 {
            assert_eq!(workers[0].claim(5).await.jobs.len(), 5);
            assert_eq!(workers[1].claim(5).await.jobs.len(), 5);
        }
        h.clock().advance(HOUR);
        let all = at_once(h, 8, |_, store| async move { rescue(&store, 9).await });
        let (mut workers, mut ready) = (0, 0);
        for one in all.await {
            workers += one.workers;
            ready += one.ready;
            assert_eq!(one.dead, 0);
        }
        assert_eq!((workers, ready), (2, 50));
        let worker = Worker::join(&store).await;
        let batch = worker.claim(1_000).await;
        assert_eq!(batch.jobs.len(), 50);
        assert!(batch.jobs.iter().all(|job| job.crashes == crashes));
        ok(store.leave(worker.id).await);
    }
}

/// A job is settled by its late worker or rescued from it, not both.
pub async fn a_settlement_and_a_rescue_exclude_each_other(h: &impl Harness) {
    for n in 0..30 {
        let (_, batch) = leased(&h.store(), job()).await;
        h.clock().advance(HOUR);
        let (id, outcome) = (batch.job().id, outcomes()[n % 6].clone());
        let said = at_once(h, 4, |n, store| {
            let (lease, outcome) = (batch.lease, outcome.clone());
            async move {
                match n {
                    1 => Ok(settle(&store, lease, id, outcome).await),
                    _ => Err(rescue(&store, 9).await),
                }
            }
        });
        let (mut settled, mut ready) = (Settled::Stale, 0);
        for said in said.await {
            match said {
                Ok(said) => settled = said,
                Err(rescued) => ready += rescued.ready,
            }
        }
        let found = ok(h.store().get(id).await);
        let crashes = found.as_ref().map_or(0, |view| view.crashes);
        if settled == Settled::Applied {
            assert_eq!((ready, crashes), (0, 0), "{outcome:?}");
        } else {
            assert_eq!((ready, crashes), (1, 1), "{outcome:?}");
            assert_eq!(found.map(|view| view.state), Some(State::Ready));
        }
        // At most the worker was left to the next one, without the job.
        let left = rescue(&h.store(), 9).await;
        assert_eq!((left.ready, left.dead), (0, 0), "{outcome:?}");
        clear(h).await;
    }
}

/// Of one lease, each by a call of its own; and of those for the same job one counts.
pub async fn many_settlements_of_one_lease_are_each_applied_once(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    let entries: Vec<_> = (0..20).map(|_| job()).collect();
    ok(store.enqueue(&entries).await);
    let batch = worker.claim(20).await;
    let (lease, ids) = (batch.lease, batch.ids());
    let settled = at_once(h, 60, |n, store| {
        let id = ids[n % 20];
        async move { (id, settle(&store, lease, id, retry(MINUTE)).await) }
    });
    let applied: Vec<_> = settled
        .await
        .into_iter()
        .filter(|(_, settled)| *settled == Settled::Applied)
        .collect();
    assert_eq!(applied.len(), 20);
    for id in ids {
        assert!(applied.contains(&(id, Settled::Applied)));
        assert_eq!(view(&store, id).await.failures, 1);
    }
    assert_eq!(counts(&store).await, [0, 20, 0, 0, 0]);
}

/// Settlements of several jobs, each in another order, wait for each other without a knot.
pub async fn settlements_of_the_same_jobs_do_not_block_each_other(h: &impl Harness) {
    let store = h.store();
    let worker = Worker::join(&store).await;
    let entries: Vec<_> = (0..12_u8)
        .map(|key| unique(Unique::until_done([key])))
        .collect();
    ok(store.enqueue(&entries).await);
    let batch = worker.claim(12).await;
    let (lease, ids) = (batch.lease, batch.ids());
    let settled = at_once(h, 12, |n, store| {
        let mut ids = ids.clone();
        ids.rotate_left(n);
        async move {
            let settlements = ids.into_iter().map(|id| Settlement {
                id,
                outcome: Outcome::Done,
            });
            ok(store.settle(lease, &settlements.collect::<Vec<_>>()).await)
        }
    });
    let settled: Vec<_> = settled.await.into_iter().flatten().collect();
    let applied = settled.iter().filter(|s| **s == Settled::Applied);
    assert_eq!(applied.count(), 12);
    assert_eq!(counts(&store).await, [0; 5]);
}

/// Those that promote divide the work.
pub async fn many_promoters_make_each_job_ready_once(h: &impl Harness) {
    let store = h.store();
    let entries: Vec<_> = (0..60)
        .map(|_| job_with(|o| o.with_delay(MINUTE)))
        .collect();
    ok(store.enqueue(&entries).await);
    h.clock().advance(MINUTE);
    let promoted = at_once(
        h,
        8,
        |_, store| async move { ok(store.promote(60).await).jobs },
    );
    let mut jobs = promoted.await.into_iter().sum::<u32>();
    // Nothing is overlooked by one that comes later.
    jobs += ok(store.promote(60).await).jobs;
    assert_eq!(jobs, 60);
    assert_eq!(counts(&store).await, [60, 0, 0, 0, 0]);
    let batch = Worker::join(&store).await.claim(1_000).await;
    assert_eq!(batch.ids().into_iter().collect::<HashSet<_>>().len(), 60);
    assert_eq!(batch.jobs.len(), 60);
}

/// A job that waits is cancelled or claimed; one that is claimed hears of it.
pub async fn a_cancellation_and_a_claim_exclude_each_other(h: &impl Harness) {
    for _ in 0..20 {
        let store = h.store();
        let worker = Worker::join(&store).await;
        let id = add(&store, job()).await;
        let claim = worker.claim_of(1);
        let said = at_once(h, 2, |n, store| {
            let claim = claim.clone();
            async move {
                match n {
                    0 => assert!(ok(store.claim(&claim).await).len() <= 1),
                    _ => assert!(ok(store.cancel(id).await)),
                }
            }
        });
        said.await;
        if state(&store, id).await == Some(State::Leased) {
            let beat = ok(store.heartbeat(worker.id, HOUR).await);
            assert_eq!(beat, Beat::Alive { cancel: vec![id] });
            settle(&store, claim.lease, id, Outcome::Release).await;
        }
        assert_eq!(state(&store, id).await, Some(State::Cancelled));
    }
}

/// Lets nothing wait for the next round.
async fn clear(h: &impl Harness) {
    let worker = Worker::join(&h.store()).await;
    while ok(h.store().counts(None).await).ready > 0 {
        worker.claim(1_000).await.settle_all(Outcome::Done).await;
    }
    ok(h.store().leave(worker.id).await);
}
