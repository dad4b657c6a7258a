use std::sync::Arc;
use std::time::Duration;

use purlin_jobs::testing::SeededIds;
use tokio::time::sleep;

use crate::clients::{client, operator, probe, resume_all};
use crate::life::live;
use crate::world::{Phase, World};

/// How many attempts one seed makes, about.
const ATTEMPTS: u64 = 2_500;

pub(crate) struct Told {
    pub(crate) attempts: u64,
    pub(crate) digest: u64,
    pub(crate) violation: Option<String>,
    pub(crate) lines: Vec<String>,
}

impl Told {
    /// How many attempts there were.
    #[track_caller]
    pub(crate) fn expect_good(self, seed: u64) -> u64 {
        if let Some(violation) = self.violation {
            panic!(
                "seed {seed}: {violation}\nto see it again: PURLIN_SIMULATION_SEED={seed} cargo test -p purlin-jobs \
                 --features testing --test simulation -- replay --nocapture"
            );
        }
        self.attempts
    }
}

pub(crate) fn simulate(seed: u64, is_traced: bool) -> Told {
    let _ids = SeededIds::new(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = Arc::new(World::new(seed, is_traced));
        tokio::select! {
            biased;
            () = world.broken() => {}
            () = history(&world) => {}
        }
        Told {
            attempts: world.attempts(),
            digest: world.digest(),
            violation: world.violation(),
            lines: world.lines(),
        }
    })
}

async fn history(world: &Arc<World>) {
    let clients = 1 + world.dice.below(3) as u64;
    for number in 0..clients {
        tokio::spawn(client(Arc::clone(world), 91 + number));
    }
    let operator = tokio::spawn(operator(Arc::clone(world), 99));
    let seats = 1 + world.dice.below(4) as u64;
    let seats: Vec<_> = (1..=seats)
        .map(|n| tokio::spawn(seat(Arc::clone(world), n)))
        .collect();
    wait(world, "too few attempts", |world| {
        world.attempts() >= ATTEMPTS
    })
    .await;
    world.enter(Phase::Calm);
    operator.await.unwrap();
    // Longer than the longest life that began before, and than a call of it may be late.
    sleep(Duration::from_secs(60)).await;
    resume_all(world).await;
    // I1: all that was confirmed comes to an end.
    wait(world, "jobs are left", |world| {
        world.with_model(|model| model.live()) == 0
    })
    .await;
    wait(world, "dead workers are left", |world| {
        world.with_model(|model| model.workers.len()) == seats.len()
    })
    .await;
    probe(world).await;
    world.enter(Phase::Over);
    for seat in seats {
        seat.await.unwrap();
    }
    if world.with_model(|model| !model.workers.is_empty()) {
        world.violated("a worker has ended and not left".to_owned());
    }
}

/// One worker after the other.
async fn seat(world: Arc<World>, number: u64) {
    for n in 0.. {
        if world.phase() == Phase::Over {
            return;
        }
        live(&world, number * 100_000 + n).await;
        sleep(world.dice.millis(0..2_000)).await;
    }
}

async fn wait(world: &World, otherwise: &str, enough: impl Fn(&World) -> bool) {
    // 3 hours.
    for _ in 0..100_000 {
        if enough(world) {
            return;
        }
        sleep(Duration::from_millis(108)).await;
    }
    let left = world.with_model(|model| {
        let live = model.jobs.iter().filter(|(_, job)| !job.has_ended());
        live.take(3)
            .map(|(id, job)| format!("{id}: {job:?}"))
            .collect::<Vec<_>>()
    });
    world.violated(format!(
        "{otherwise}: {} attempts, {left:#?}",
        world.attempts()
    ));
}
