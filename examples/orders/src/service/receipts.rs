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

#[cfg(test)]
mod tests {
    use purlin_jobs::handler_fn;
    use purlin_store::SystemClock;
    use purlin_testkit::TestDatabase;

    use super::*;
    use crate::{
        database::{DatabaseUrl, on_both},
        domain::{Customer, NewItem, NewOrder, NewProduct},
        service::{Orders, Products},
    };

    /// What follows the commit, the settlement of the queue too, may fail.
    async fn is_done_with_the_commit(url: DatabaseUrl) {
        let database = Database::open(&url).await.unwrap();
        let (queue, clock) = (database.job_queue(), Arc::new(SystemClock));
        let mug = NewProduct {
            name: "Mug".to_owned(),
            price_cents: 250,
            stock: 5,
        };
        let products = Products::new(database.clone(), clock.clone());
        let order = NewOrder {
            items: vec![NewItem {
                product_id: products.create(mug).await.unwrap().id,
                quantity: 1,
            }],
            note: None,
        };
        let orders = Orders::new(database.clone(), queue.clone(), clock.clone());
        orders.place(&Customer::demo(), &order).await.unwrap();
        let mut work = database.begin().await.unwrap();
        let of_no_order = Receipt {
            order_id: OrderId::new(),
        };
        let enqueued = queue.enqueue_in(work.connection(), of_no_order).await;
        enqueued.unwrap();
        work.commit().await.unwrap();

        let receipts = Receipts::new(database.clone(), queue.clone(), clock);
        let send = handler_fn(move |job: Receipt, context| {
            let receipts = receipts.clone();
            async move {
                receipts.send(job, &context).await?;
                Err(JobError::retry("after the commit"))
            }
        });
        let worker = queue.worker().register(send);
        worker
            .run_until_empty(Duration::from_secs(60))
            .await
            .unwrap();
        let jobs = queue.counts().await.unwrap();
        assert_eq!((jobs.ready, jobs.scheduled, jobs.leased), (0, 0, 0));
        assert_eq!(jobs.dead, 1, "the one of no order");
        let mut work = database.begin_read().await.unwrap();
        let count = "select count(*) from receipts";
        let count: i64 =
            on_both!(work.connection(), c => sqlx::query_scalar(count).fetch_one(c).await).unwrap();
        assert_eq!(count, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_receipt_is_done_with_its_commit_on_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("orders.db").display());
        is_done_with_the_commit(url.parse().unwrap()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_receipt_is_done_with_its_commit_on_postgres() {
        let Some(database) = TestDatabase::create() else {
            return;
        };
        is_done_with_the_commit(database.url().parse().unwrap()).await;
    }
}
