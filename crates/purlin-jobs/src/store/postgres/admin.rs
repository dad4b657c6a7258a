//! What operators do.

use std::time::Duration;

use async_trait::async_trait;
use purlin_store::{StoreError, StoreErrorKind, deadline};
use sqlx::Row as _;

use super::sql::BATCH;
use super::{NAME, PostgresStore, interval, row};
use crate::store::{Counts, Filter, JobAdmin, JobView, Page};
use crate::{JobId, QueueName};

#[async_trait]
impl JobAdmin for PostgresStore {
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let query = sqlx::query(self.sql.get.clone()).bind(id.as_uuid());
        deadline(NAME, "get", self.timeout, async {
            let rows = self.runner.fetch_all(None, query).await?;
            rows.first().map(row::view).transpose()
        })
        .await
    }

    async fn list(&self, filter: &Filter, page: &Page) -> Result<Vec<JobView>, StoreError> {
        let query = sqlx::query(self.sql.list.clone())
            .bind(page.after.as_ref().map(JobId::as_uuid))
            .bind(filter.queue.as_ref().map(QueueName::as_str))
            .bind(&filter.kind)
            .bind(filter.state.map(row::state_number))
            .bind(i64::from(page.limit));
        deadline(NAME, "list", Duration::MAX, async {
            let rows = self.runner.fetch_all(None, query).await?;
            rows.iter().map(row::view).collect::<Result<_, _>>()
        })
        .await
    }

    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
        let query = self
            .query(&self.sql.counts)
            .bind(queue.map(QueueName::as_str));
        deadline(NAME, "counts", Duration::MAX, async {
            row::counts(&self.runner.fetch_one(None, query).await?)
        })
        .await
    }

    async fn cancel(&self, id: JobId) -> Result<bool, StoreError> {
        deadline(NAME, "cancel", self.timeout, async {
            loop {
                let query = self
                    .query(&self.sql.cancel)
                    .bind(id.as_uuid())
                    .bind(&*self.channel);
                let row = self.runner.fetch_one(None, query).await?;
                self.goes_on(&row)?;
                self.heard(&row)?;
                let done: bool = row.try_get("done")?;
                // One that is there and was not found was on its way from one place to another.
                if done || !row.try_get::<bool, _>("is_known")? {
                    return Ok::<_, sqlx::Error>(done);
                }
            }
        })
        .await
    }

    async fn replay(&self, id: JobId) -> Result<bool, StoreError> {
        let query = self
            .query(&self.sql.replay)
            .bind(id.as_uuid())
            .bind(&*self.channel);
        deadline(NAME, "replay", self.timeout, async {
            let row = self.runner.fetch_one(None, query).await?;
            if row.try_get("is_taken")? {
                return Err(StoreError::new(StoreErrorKind::Conflict, NAME, "replay")
                    .with_source("another job holds its unique key"));
            }
            self.heard(&row)?;
            self.low_water.forget(None);
            Ok::<_, StoreError>(row.try_get("done")?)
        })
        .await
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let query = sqlx::query(self.sql.pause.clone()).bind(queue.as_str());
        let changed = deadline(
            NAME,
            "pause",
            self.timeout,
            self.runner.execute(None, query),
        )
        .await?;
        Ok(changed > 0)
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let query = sqlx::query(self.sql.resume.clone())
            .bind(queue.as_str())
            .bind(&*self.channel);
        let told = deadline(
            NAME,
            "resume",
            self.timeout,
            self.runner.fetch_all(None, query),
        )
        .await?;
        Ok(!told.is_empty())
    }

    async fn purge_finished(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        // Nothing is as old as that, and a date of Postgres has a beginning.
        const OLDEST: Duration = Duration::from_secs(1_000 * 365 * 86_400);
        deadline(NAME, "purge finished", Duration::MAX, async {
            let mut left = limit;
            loop {
                let batch = left.min(BATCH);
                let query = self
                    .query(&self.sql.purge_finished)
                    .bind(interval(age.min(OLDEST)))
                    .bind(i64::from(batch))
                    .bind(&*self.channel);
                let row = self.runner.fetch_one(None, query).await?;
                self.goes_on(&row)?;
                self.heard(&row)?;
                let purged = super::saturating(row::count(&row, "purged")?);
                left -= purged;
                if purged < batch || left == 0 {
                    break;
                }
            }
            let keys = || self.query(&self.sql.purge_keys);
            let results = || self.query(&self.sql.purge_results);
            let notes = || sqlx::query(self.sql.purge_notes.clone());
            let purges: [&(dyn Fn() -> _ + Sync); 3] = [&keys, &results, &notes];
            for purge in purges {
                while left > 0 {
                    let batch = left.min(BATCH);
                    let purged = self
                        .runner
                        .execute(None, purge().bind(i64::from(batch)))
                        .await?;
                    left -= super::saturating(purged);
                    if purged < u64::from(batch) {
                        break;
                    }
                }
            }
            Ok::<_, sqlx::Error>(u64::from(limit - left))
        })
        .await
    }
}
