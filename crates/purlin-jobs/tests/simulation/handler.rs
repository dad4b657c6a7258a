//! What handlers do: all that one can do, by chance.

use std::sync::Arc;
use std::time::Duration;

use purlin_jobs::{Job, JobContext, JobError, JobId, LeaseId};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::gated::Gated;
use crate::life::Life;
use crate::world::{Phase, Verdict, World};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Work {
    /// As the options of the job have it.
    pub(crate) timeout: Option<Duration>,
    /// How long the first attempt waits for another one, which it asks for.
    pub(crate) retry_after: Option<Duration>,
    /// Whether it goes on until it is cancelled.
    pub(crate) is_endless: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task(pub(crate) Work);

impl Job for Task {
    const KIND: &'static str = "task";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Other(pub(crate) Work);

impl Job for Other {
    const KIND: &'static str = "other";
}

/// Tells the world of a handler that is dropped.
struct Told<'a>(&'a World, JobId, LeaseId);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.ended(self.1, self.2, Verdict::Dropped);
    }
}

pub(crate) async fn handle(
    world: Arc<World>,
    life: Arc<Life>,
    work: Work,
    context: JobContext,
) -> Result<(), JobError> {
    let (job, lease) = (context.info(), context.lease());
    world.begun(job, lease, &life, work.timeout);
    let told = Told(&world, job.id, lease);
    let acting = Gated::new(life, act(&world, &work, &context));
    let (verdict, result) = acting.await;
    world.ended(job.id, lease, verdict);
    drop(told);
    match result {
        Ok(result) => result,
        // Without the hook, which writes.
        Err(Panics) => std::panic::resume_unwind(Box::new("a handler panics")),
    }
}

struct Panics;

async fn act(
    world: &World,
    work: &Work,
    context: &JobContext,
) -> (Verdict, Result<Result<(), JobError>, Panics>) {
    let dice = &world.dice;
    if let Some(after) = work.retry_after.filter(|_| context.info().attempt == 1) {
        return (
            Verdict::Failed,
            Ok(Err(JobError::retry_after(after, "later"))),
        );
    }
    if work.is_endless {
        context.cancelled().await;
        return (
            Verdict::Failed,
            Ok(Err(JobError::retry("was told to stop"))),
        );
    }
    if world.phase() != Phase::Chaos {
        return (Verdict::Done, Ok(Ok(())));
    }
    let done = (Verdict::Done, Ok(Ok(())));
    let (verdict, error) = match dice.below(200) {
        0..=99 => return done,
        100..=129 => {
            sleep(dice.millis(1..200)).await;
            return done;
        }
        130..=139 => {
            sleep(dice.millis(200..1_000)).await;
            return done;
        }
        140..=142 => {
            sleep(dice.millis(1_000..20_000)).await;
            return done;
        }
        143..=164 => (Verdict::Failed, JobError::retry("fails")),
        165..=171 => (
            Verdict::Failed,
            JobError::retry_after(dice.millis(0..3_000), "fails"),
        ),
        172..=179 => (Verdict::Snooze, JobError::snooze(dice.millis(0..3_000))),
        180..=185 => return (Verdict::Failed, Err(Panics)),
        186..=189 => (Verdict::Discard, JobError::discard("fails for good")),
        190..=193 => (Verdict::Cancel, JobError::cancel()),
        194..=197 => {
            context.cancelled().await;
            (Verdict::Failed, JobError::retry("was told to stop"))
        }
        _ => std::future::pending().await,
    };
    (verdict, Ok(Err(error)))
}
