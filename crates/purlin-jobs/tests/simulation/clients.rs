//! Who enqueues, and who operates.

use std::sync::Arc;
use std::time::Duration;

use purlin_jobs::store::Enqueued;
use purlin_jobs::testing::FaultyStore;
use purlin_jobs::{JobAdmin as _, Jobs, NewJob, Priority, Unique};
use purlin_store::Clock as _;
use tokio::time::{sleep, timeout};

use crate::checked::Checked;
use crate::handler::{Other, Task, Work};
use crate::life::{client_store, queue};
use crate::model::{Job, Model};
use crate::world::{Phase, World};

/// No more are enqueued while so many are live.
const BACKLOG: usize = 120;

pub(crate) fn new_job(world: &World) -> NewJob {
    let dice = &world.dice;
    let timeout = dice.chance(200).then(|| dice.millis(100..8_000));
    let work = Work {
        timeout,
        ..Work::default()
    };
    let job = if dice.chance(500) {
        NewJob::new(&Task(work))
    } else {
        NewJob::new(&Other(work))
    };
    job.with(|mut options| {
        options = options
            .with_queue(queue(dice.below(2)))
            .with_max_attempts(1 + dice.below(4) as u16);
        if let Some(timeout) = timeout {
            options = options.with_timeout(timeout);
        }
        if dice.chance(200) {
            options = options.with_priority(Priority::new(dice.below(10) as u8));
        }
        options = match dice.below(20) {
            0..=2 => options.with_delay(dice.millis(0..20_000)),
            3 => options.with_run_at(world.clock.now() + dice.millis(0..5_000)),
            4 => options.with_run_at(world.clock.now() - dice.millis(0..5_000)),
            _ => options,
        };
        if dice.chance(150) {
            let key = [dice.below(6) as u8];
            let unique = match dice.below(4) {
                0 => Unique::until_start(key),
                1 => Unique::for_period(key, dice.millis(0..5_000)),
                _ => Unique::until_done(key),
            };
            let replaces = dice.chance(400);
            options = options.with_unique(if replaces {
                unique.or_replace()
            } else {
                unique
            });
        }
        options
    })
}

/// Enqueues until it is calm; again, under the same ids, what may not have been taken.
pub(crate) async fn client(world: Arc<World>, number: u64) {
    let jobs = Jobs::new(client_store(&world, number));
    while world.phase() == Phase::Chaos {
        sleep(world.dice.millis(2..60)).await;
        if world.with_model(|model| model.live()) >= BACKLOG {
            continue;
        }
        let batch: Vec<_> = (0..=world.dice.below(20))
            .map(|_| new_job(&world))
            .collect();
        let patience = world.dice.millis(1..200);
        for _ in 0..4 {
            // Dropped at whatever it awaits.
            let enqueued = timeout(patience, jobs.enqueue_many(batch.clone())).await;
            if let Ok(Ok(enqueued)) = enqueued {
                confirmed(&world, &batch, &enqueued);
                break;
            }
        }
    }
}

/// I1: what was confirmed is, or was, there.
fn confirmed(world: &World, batch: &[NewJob], enqueued: &[Enqueued]) {
    if batch.len() != enqueued.len() {
        world.violated("not every job is confirmed (I1)".to_owned());
    }
    for (job, enqueued) in batch.iter().zip(enqueued) {
        let id = job.id();
        let is_told_so = match enqueued {
            Enqueued::New(new) | Enqueued::Replaced { new, .. } => {
                *new == id && world.was_added(id)
            }
            Enqueued::Existing(other) => world.was_added(*other),
            _ => false,
        };
        if !is_told_so {
            world.violated(format!(
                "{id} was confirmed as {enqueued:?}, and is not there (I1)"
            ));
        }
    }
}

pub(crate) async fn operator(world: Arc<World>, number: u64) {
    let store = client_store(&world, number);
    while world.phase() == Phase::Chaos {
        sleep(world.dice.millis(20..300)).await;
        let patience = world.dice.millis(1..500);
        // What it says is compared where it is said.
        let _ = timeout(patience, operate(&world, &store)).await;
    }
}

/// Lets claims from all queues go on.
pub(crate) async fn resume_all(world: &Arc<World>) {
    let store = client_store(world, 99);
    for n in 0..2 {
        while store.resume(&queue(n)).await.is_err() {}
    }
}

async fn operate(world: &World, store: &FaultyStore<Checked>) {
    let dice = &world.dice;
    let some = world.with_model(|model| {
        let nth = dice.below(model.jobs.len().max(1));
        model.jobs.keys().nth(nth).copied()
    });
    let which = queue(dice.below(2));
    match (dice.below(20), some) {
        (0..=6, Some(id)) => drop(store.cancel(id).await),
        (7..=11, Some(id)) => drop(store.replay(id).await),
        (12, _) => {
            drop(store.pause(&which).await);
        }
        (13..=16, _) => drop(store.resume(&which).await),
        _ => {
            let age = dice.millis(0..5_000);
            drop(store.purge_finished(age, 1_000).await);
        }
    }
}

/// A job that is cancelled while it runs hears of it by the next heartbeat.
async fn probe_cancel(world: &Arc<World>) {
    let store = client_store(world, 90);
    let work = Work {
        is_endless: true,
        ..Work::default()
    };
    let job = NewJob::new(&Task(work)).with(|it| it.with_queue(queue(0)));
    let id = job.id();
    let enqueued = Jobs::new(store.clone()).enqueue(job).await;
    sleep(Duration::from_secs(1)).await;
    let cancelled = store.cancel(id).await;
    sleep(world.lease_ttl / 3 + Duration::from_secs(1)).await;
    let is_cancelled = |model: &mut Model| model.jobs.get(&id).is_some_and(Job::has_ended);
    if enqueued.is_err() || cancelled.is_err() || !world.with_model(is_cancelled) {
        world.violated(format!("{id} runs on although it is cancelled"));
    }
}

/// What must not wait when all is well: a new job, one whose time comes, one that failed.
pub(crate) async fn probe(world: &Arc<World>) {
    probe_cancel(world).await;
    let jobs = Jobs::new(client_store(world, 90));
    let ms = Duration::from_millis;
    let retries = Work {
        retry_after: Some(ms(300)),
        ..Work::default()
    };
    let now = NewJob::new(&Task(Work::default())).with(|it| it.with_queue(queue(0)));
    let later = NewJob::new(&Task(Work::default()))
        .with(|it| it.with_queue(queue(1)).with_delay(ms(1_300)));
    let again = NewJob::new(&Other(retries)).with(|it| it.with_queue(queue(1)));
    // How late each attempt may be: a call and its answer; for what another process has enqueued, a poll.
    let calls = 5 * ms(world.latency);
    let probes = [
        (now, vec![ms(0)], calls),
        (later, vec![ms(1_300)], calls + ms(1_000)),
        (again, vec![ms(0), ms(300)], 2 * calls),
    ];
    for (job, due, slack) in probes {
        // At another moment of the workers' rounds each time.
        sleep(world.dice.millis(3_000..9_000)).await;
        let id = job.id();
        if jobs.enqueue(job).await.is_err() {
            world.violated("a calm store refuses a job".to_owned());
        }
        let begun = tokio::time::Instant::now();
        sleep(ms(5_000)).await;
        let begins = world.begins(id);
        let is_late = |(at, due): (&tokio::time::Instant, &Duration)| *at > begun + *due + slack;
        if begins.len() != due.len() || begins.iter().zip(&due).any(is_late) {
            let after: Vec<_> = begins.iter().map(|at| *at - begun).collect();
            world.violated(format!(
                "{id} was due after {due:?}, and begun after {after:?}"
            ));
        }
    }
}
