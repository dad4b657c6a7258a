use std::{sync::Arc, time::Duration};

use purlin_jobs::{Job, JobContext, JobError, NewJob, Options, store::Settled, store::State};
use purlin_store::Clock;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    database::{Connection, Database, JobQueue},
    domain::{
        Customer, Delivery, DeliveryId, Endpoint, EndpointId, EndpointUrl, Payment, Progress,
        Secret, Status, Timestamp,
    },
    repository::webhooks,
    sender::{SendError, Sender},
    service::{Error, unit_of_work},
};

/// Of one customer: each is a job for every payment.
const MAX_ENDPOINTS: i64 = 10;

/// How long the secret that was replaced signs too.
const ROTATION: Duration = Duration::from_secs(86_400);

/// How long one attempt may take: longer than a receiver and the statements may.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(15);

/// The job to deliver one message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Deliver {
    pub(crate) delivery_id: DeliveryId,
}

impl Job for Deliver {
    const KIND: &'static str = "deliver_webhook";

    fn options() -> Options {
        Options::new().with_timeout(ATTEMPT_LIMIT)
    }
}

/// Tells customers, at URLs of theirs, what happened (Standard Webhooks 1.0).
///
/// # Guarantees
///
/// A message is written, and its job enqueued, in the transaction of what it tells. It is delivered at
/// least once: receivers know a repetition by its `webhook-id`. What could not be delivered stays,
/// dead, until somebody replays it.
#[derive(Debug, Clone)]
pub(crate) struct Webhooks {
    database: Database,
    queue: JobQueue,
    clock: Arc<dyn Clock>,
    max_attempts: u16,
}

impl Webhooks {
    pub(crate) fn new(
        database: Database,
        queue: JobQueue,
        clock: Arc<dyn Clock>,
        max_attempts: u16,
    ) -> Self {
        Self {
            database,
            queue,
            clock,
            max_attempts,
        }
    }

    /// Adds an endpoint. Messages to it are signed with this secret, or with one that is made here.
    pub(crate) async fn add(
        &self,
        customer: &Customer,
        url: &EndpointUrl,
        secret: Option<Secret>,
    ) -> Result<(Endpoint, Secret), Error> {
        let secret = match secret {
            Some(secret) => secret,
            None => Secret::generate().map_err(Error::Random)?,
        };
        let endpoint = Endpoint {
            id: EndpointId::new(),
            url: url.clone(),
            created_at: Timestamp::now(&*self.clock),
        };
        unit_of_work::run(&self.database, "add webhook endpoint", async || {
            let mut work = self.database.begin().await?;
            let c = work.connection();
            let is_added =
                webhooks::insert_endpoint(c, customer, &endpoint, &secret, MAX_ENDPOINTS).await?;
            if !is_added {
                return Err(Error::TooManyEndpoints {
                    limit: MAX_ENDPOINTS,
                });
            }
            Ok(work.commit().await?)
        })
        .await?;
        Ok((endpoint, secret))
    }

    pub(crate) async fn endpoints(&self, customer: &Customer) -> Result<Vec<Endpoint>, Error> {
        unit_of_work::run(&self.database, "list webhook endpoints", async || {
            let mut work = self.database.begin_read().await?;
            Ok(webhooks::endpoints(work.connection(), customer).await?)
        })
        .await
    }

    /// Gives the endpoint a new secret. Messages are signed with both for a day.
    pub(crate) async fn rotate(
        &self,
        customer: &Customer,
        id: EndpointId,
    ) -> Result<Secret, Error> {
        let secret = Secret::generate().map_err(Error::Random)?;
        let now = Timestamp::now(&*self.clock).unix_micros();
        let rotation = i64::try_from(ROTATION.as_micros()).expect("a day is not long");
        let until = Timestamp::from_unix_micros(now + rotation).expect("tomorrow is near");
        unit_of_work::run(&self.database, "rotate webhook secret", async || {
            let mut work = self.database.begin().await?;
            if !webhooks::rotate(work.connection(), customer, id, &secret, until).await? {
                return Err(Error::EndpointNotFound);
            }
            Ok(work.commit().await?)
        })
        .await?;
        Ok(secret)
    }

    /// Tells the customer's endpoints that this payment was captured, when the transaction of the
    /// connection is committed.
    pub(super) async fn captured(
        &self,
        mut connection: Connection<'_>,
        customer: &Customer,
        payment: &Payment,
    ) -> Result<(), Error> {
        let at = Timestamp::now(&*self.clock);
        let message = json!({"type": "payment.captured", "timestamp": at, "data": payment});
        let payload = message.to_string();
        let deliveries =
            webhooks::insert_deliveries(connection.reborrow(), customer, &payload, at).await?;
        for delivery_id in deliveries {
            let job = NewJob::new(&Deliver { delivery_id })
                .with_id(delivery_id.into())
                .with(|options| options.with_max_attempts(self.max_attempts));
            self.queue.enqueue_in(connection.reborrow(), job).await?;
        }
        Ok(())
    }

    /// The newest `limit` of the customer.
    pub(crate) async fn deliveries(
        &self,
        customer: &Customer,
        limit: i64,
    ) -> Result<Vec<Delivery>, Error> {
        unit_of_work::run(&self.database, "list webhook deliveries", async || {
            let mut work = self.database.begin_read().await?;
            Ok(webhooks::deliveries(work.connection(), customer, limit).await?)
        })
        .await
    }

    pub(crate) async fn progress(
        &self,
        customer: &Customer,
        id: DeliveryId,
    ) -> Result<Progress, Error> {
        // The job first: it is gone with the commit that makes the delivery delivered.
        let job = self.queue.get(id.into()).await?;
        let delivery = unit_of_work::run(&self.database, "get webhook delivery", async || {
            let mut work = self.database.begin_read().await?;
            let delivery = webhooks::get_delivery(work.connection(), customer, id).await?;
            delivery.ok_or(Error::DeliveryNotFound)
        })
        .await?;
        let is_waiting = |state| !matches!(state, State::Dead | State::Cancelled);
        let status = match &job {
            _ if delivery.delivered_at.is_some() => Status::Delivered,
            Some(job) if is_waiting(job.state) => Status::Pending,
            _ => Status::Dead,
        };
        Ok(Progress {
            delivery,
            status,
            failed_attempts: job.as_ref().map_or(0, |job| job.failures),
            last_error: job.and_then(|job| Some(job.failure?.error)),
        })
    }

    /// Tries a dead delivery again, with all its attempts.
    pub(crate) async fn replay(
        &self,
        customer: &Customer,
        id: DeliveryId,
    ) -> Result<Progress, Error> {
        let progress = self.progress(customer, id).await?;
        if progress.status != Status::Dead || !self.queue.replay(id.into()).await? {
            return Err(Error::DeliveryNotDead {
                delivery_status: progress.status,
            });
        }
        self.progress(customer, id).await
    }

    /// Delivers a message and completes the job that asks for it.
    pub(crate) async fn deliver(
        &self,
        sender: &Sender,
        job: Deliver,
        context: &JobContext,
    ) -> Result<(), JobError> {
        let id = job.delivery_id;
        let mut work = self.database.begin_read().await?;
        let at = Timestamp::now(&*self.clock);
        let message = webhooks::message(work.connection(), id, at).await?;
        // Not while somebody else takes his time.
        drop(work);
        let message = message.ok_or_else(|| JobError::discard("no such delivery"))?;
        if !message.is_delivered {
            sender.send(&message, at).await.map_err(failed)?;
        }
        let mut work = self.database.begin().await?;
        webhooks::set_delivered(work.connection(), id, at).await?;
        if self.queue.complete_in(work.connection(), context).await? == Settled::Stale {
            return Err(JobError::retry("another worker has the job"));
        }
        work.commit().await?;
        tracing::info!(delivery = %id, "webhook delivered");
        Ok(())
    }
}

fn failed(error: SendError) -> JobError {
    match error {
        SendError::Gone | SendError::Unsigned(_) => JobError::discard(error),
        SendError::Refused {
            retry_after: Some(after),
            ..
        } => JobError::retry_after(after, error),
        SendError::Unreachable(_)
        | SendError::Timeout
        | SendError::Broken(_)
        | SendError::Refused { .. } => JobError::retry(error),
    }
}
