//! Groups and rates.

use std::time::Duration;

use async_trait::async_trait;
use purlin_store::{StoreError, deadline};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::{NAME, PostgresStore, row};
use crate::store::{GroupView, LimitStore};
use crate::{Limits, QueueName, Rate};

impl PostgresStore {
    /// What a statement has admitted, and when there will be more.
    pub(super) fn heard(&self, row: &PgRow) -> Result<(u64, Option<Duration>), sqlx::Error> {
        let admitted = row::count(row, "admitted")?;
        let due_in = row::micros_of(row, "due_in")?;
        if admitted > 0 {
            self.low_water.forget(None);
        }
        if let Some(due_in) = due_in {
            self.hints.admits_in(due_in);
        }
        Ok((admitted, due_in))
    }

    /// Admits jobs of groups that were told something. Says how many.
    pub(super) async fn open_mail(
        &self,
        connection: Option<&mut PgConnection>,
    ) -> Result<u64, sqlx::Error> {
        let query = self.query(&self.sql.open_mail);
        let row = self.runner.fetch_one(connection, query).await?;
        Ok(self.heard(&row)?.0)
    }
}

#[async_trait]
impl LimitStore for PostgresStore {
    async fn limit_group(&self, group: &str, limits: Option<Limits>) -> Result<(), StoreError> {
        const SET: i16 = 3;
        const NOT_SET: i16 = 4;
        let values = limits.unwrap_or_default();
        let query = self
            .query(&self.sql.limit_group)
            .bind(group)
            .bind(if limits.is_some() { SET } else { NOT_SET })
            .bind(at_most(values))
            .bind(every(values.rate))
            .bind(burst(values.rate));
        deadline(NAME, "limit group", self.timeout, async {
            self.heard(&self.runner.fetch_one(None, query).await?)?;
            Ok::<_, sqlx::Error>(())
        })
        .await
    }

    async fn group(&self, name: &str) -> Result<Option<GroupView>, StoreError> {
        let query = sqlx::query(self.sql.group.clone()).bind(name);
        deadline(NAME, "group", self.timeout, async {
            view(&self.runner.fetch_one(None, query).await?)
        })
        .await
    }

    async fn limit_queue(&self, queue: &QueueName, rate: Option<Rate>) -> Result<(), StoreError> {
        let query = sqlx::query(self.sql.limit_queue.clone())
            .bind(queue.as_str())
            .bind(every(rate))
            .bind(burst(rate));
        deadline(
            NAME,
            "limit queue",
            self.timeout,
            self.runner.fetch_all(None, query),
        )
        .await?;
        Ok(())
    }

    fn more_in(&self, queue: &QueueName) -> Option<Duration> {
        self.hints.next_of(queue)
    }

    fn admits_in(&self) -> Option<Duration> {
        self.hints.take_admits_in()
    }
}

fn view(row: &PgRow) -> Result<Option<GroupView>, sqlx::Error> {
    let at_most: Option<i32> = row.try_get("at_most")?;
    let every: Option<i64> = row.try_get("every")?;
    let burst: Option<i32> = row.try_get("burst")?;
    let view = GroupView {
        limits: Limits {
            at_most: at_most.map(i32::unsigned_abs),
            rate: every
                .zip(burst)
                .map(|(every, burst)| Rate::from_parts(every, burst.into())),
        },
        is_set: row.try_get("is_set")?,
        held: row::count(row, "held")?,
        admitted: row::count(row, "admitted")?,
    };
    let is_there = row.try_get("is_known")? || view.held + view.admitted > 0;
    Ok(is_there.then_some(view))
}

pub(super) fn at_most(limits: Limits) -> Option<i32> {
    limits
        .at_most
        .map(|jobs| i32::try_from(jobs).unwrap_or(i32::MAX))
}

pub(super) fn every(rate: Option<Rate>) -> Option<i64> {
    rate.map(Rate::interval_micros)
}

pub(super) fn burst(rate: Option<Rate>) -> Option<i32> {
    rate.map(|rate| i32::try_from(rate.burst()).unwrap_or(i32::MAX))
}
