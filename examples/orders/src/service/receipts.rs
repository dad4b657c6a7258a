use std::{sync::Arc, time::Duration};

use purlin_jobs::{Job, JobContext, JobError, Options, store::Settled};
use purlin_store::Clock;
use serde::{Deserialize, Serialize};

use crate::{
    database::{Database, JobQueue},
    domain::{OrderId, Timestamp},
    repository::receipts,
};

/// How long one attempt may take: longer than its statements may.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(15);

/// The job to send the receipt of an order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) order_id: OrderId,
}

impl Job for Receipt {
    const KIND: &'static str = "receipt";

    fn options() -> Options {
        Options::new().with_timeout(ATTEMPT_LIMIT)
    }
}

/// Sends receipts: to a table, and to the log.
#[derive(Debug, Clone)]
pub(crate) struct Receipts {
    database: Database,
    queue: JobQueue,
    clock: Arc<dyn Clock>,
}

impl Receipts {
    pub(crate) fn new(database: Database, queue: JobQueue, clock: Arc<dyn Clock>) -> Self {
        Self {
            database,
            queue,
            clock,
        }
    }

    /// Sends the receipt of an order and completes the job that asks for it, both or neither: so it
    /// is sent exactly once, wherever a worker dies. What fails is tried again by the queue.
    pub(crate) async fn send(&self, job: Receipt, context: &JobContext) -> Result<(), JobError> {
        let order = job.order_id;
        let mut work = self.database.begin().await?;
        let at = Timestamp::now(&*self.clock);
        let sent = receipts::insert(work.connection(), order, at).await?;
        let (to, total_cents) = sent.ok_or_else(|| JobError::discard("no such order"))?;
        if self.queue.complete_in(work.connection(), context).await? == Settled::Stale {
            return Err(JobError::retry("another worker has the job"));
        }
        work.commit().await?;
        tracing::info!(%order, to, total_cents, "e-mail: the receipt of your order");
        Ok(())
    }
}
