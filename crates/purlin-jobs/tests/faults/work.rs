//! The jobs, and what their handler does.

use std::sync::Arc;
use std::time::Duration;

use purlin_jobs::{Job, JobContext, JobError, JobId, NewJob};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::child::Told;
use crate::ground::Open;
use crate::log::Log;
use crate::stops::{Point, Stops};
use crate::tell;

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// Nothing, once the test lets it go on if this is where the process stands still.
    Work,
    /// Completes the job in a transaction.
    Complete,
    /// The same the first time, in a task which outlives the handler, when the test says so.
    CompleteLater,
    /// Fails the first time.
    FailOnce,
    /// Kills the process.
    Abort,
    /// Keeps its thread until the test lets it go on.
    Block,
    /// Keeps all connections of the pool until the test lets it go on.
    Exhaust,
    /// Waits until the test lets it go on.
    Hold,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    act: Act,
}

impl Job for Work {
    const KIND: &'static str = "work";
}

/// The job that faults are aimed at.
pub(crate) fn victim() -> JobId {
    JobId::from_uuid(Uuid::from_u128(0xdead))
}

/// Any other job.
pub(crate) fn job(act: Act) -> NewJob {
    NewJob::new(&Work { act })
}

pub(crate) fn victim_that(act: Act) -> NewJob {
    job(act).with_id(victim())
}

#[derive(Clone, Debug)]
pub(crate) struct Hand {
    pub(crate) open: Open,
    pub(crate) stops: Arc<Stops>,
    pub(crate) log: Log,
    pub(crate) told: Told,
}

impl Hand {
    pub(crate) async fn run(self, work: Work, context: JobContext) -> Result<(), JobError> {
        self.log.begun(&context).await;
        let id = context.info().id;
        tell(&format!("begun {id}"));
        let result = if id == victim() {
            self.watch(&context);
            self.stops.at(Point::InHandler).await;
            self.act(work.act, &context).await
        } else {
            self.act(work.act, &context).await
        };
        self.log.ended(&context, &result).await;
        tell(&format!("ended {id}"));
        result
    }

    /// Writes down what the attempt hears, also when its handler is dropped.
    fn watch(&self, context: &JobContext) {
        let (log, context) = (self.log.clone(), context.clone());
        tokio::spawn(async move {
            let reason = format!("{:?}", context.cancelled().await);
            log.told(&context, &reason).await;
            tell(&format!("told {reason}"));
        });
    }

    async fn complete(&self, context: &JobContext) -> Result<(), JobError> {
        let mut transaction = self.open.try_begin().await?;
        transaction.write_effect(context).await?;
        let settled = transaction.complete(context).await?;
        tell(&format!("completes {settled}"));
        if !settled {
            // Rolled back: somebody else has the job.
            return Ok(());
        }
        self.stops.at(Point::Joined).await;
        transaction.commit().await?;
        self.stops.at(Point::Committed).await;
        Ok(())
    }

    async fn exhaust<D: sqlx::Database>(&self, pool: &sqlx::Pool<D>) {
        let mut held = Vec::new();
        for _ in 0..pool.options().get_max_connections() {
            held.push(pool.acquire().await.unwrap());
        }
        tell("exhausted");
        self.stops.wait().await;
    }

    async fn act(&self, act: Act, context: &JobContext) -> Result<(), JobError> {
        match act {
            Act::Complete => self.complete(context).await?,
            Act::CompleteLater if context.info().crashes == 0 => {
                let (hand, context) = (self.clone(), context.clone());
                tokio::spawn(async move {
                    hand.stops.wait().await;
                    hand.complete(&context).await.unwrap();
                });
                std::future::pending::<()>().await;
            }
            Act::FailOnce if context.info().attempt == 1 => {
                return Err(JobError::retry_after(Duration::ZERO, "the first time"));
            }
            Act::Work | Act::FailOnce | Act::CompleteLater => {}
            Act::Abort => std::process::abort(),
            Act::Block => self.told.block(),
            Act::Exhaust => match &self.open {
                Open::Postgres { pool, .. } => self.exhaust(pool).await,
                Open::Sqlite { pool, .. } => self.exhaust(pool).await,
            },
            Act::Hold => self.stops.wait().await,
        }
        Ok(())
    }
}
