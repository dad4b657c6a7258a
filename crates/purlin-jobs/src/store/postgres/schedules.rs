//! Up to when schedules are dealt with.

use async_trait::async_trait;
use purlin_store::{StoreError, deadline, unix_micros};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{NAME, PostgresStore, micros, row};
use crate::store::{Enqueued, Firing, ScheduleEntry, ScheduleList, ScheduleRow, ScheduleStore};

#[async_trait]
impl ScheduleStore for PostgresStore {
    async fn put_schedule(&self, schedule: &ScheduleEntry) -> Result<(), StoreError> {
        let query = self
            .query(&self.sql.put_schedule)
            .bind(&schedule.name)
            .bind(&schedule.cron)
            .bind(&schedule.time_zone);
        deadline(
            NAME,
            "put schedule",
            self.timeout,
            self.runner.execute(None, query),
        )
        .await?;
        Ok(())
    }

    async fn list_schedules(&self) -> Result<ScheduleList, StoreError> {
        let query = self.query(&self.sql.list_schedules);
        deadline(NAME, "list schedules", self.timeout, async {
            let rows = self.runner.fetch_all(None, query).await?;
            let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            let now = row::time(first, "now")?;
            let nothing = first.try_get::<Option<&str>, _>("name")?.is_none();
            let rows = if nothing { &[][..] } else { &rows[..] };
            let schedules = rows.iter().map(schedule).collect::<Result<_, _>>()?;
            Ok::<_, sqlx::Error>(ScheduleList { now, schedules })
        })
        .await
    }

    async fn fire_schedule(&self, firing: &Firing) -> Result<Option<Vec<Enqueued>>, StoreError> {
        deadline(NAME, "fire schedule", self.timeout, self.try_fire(firing)).await
    }

    async fn pause_schedule(&self, name: &str) -> Result<bool, StoreError> {
        let query = sqlx::query(self.sql.pause_schedule.clone()).bind(name);
        let changed = self.runner.execute(None, query);
        Ok(deadline(NAME, "pause schedule", self.timeout, changed).await? > 0)
    }

    async fn resume_schedule(&self, name: &str) -> Result<bool, StoreError> {
        let query = self.query(&self.sql.resume_schedule).bind(name);
        let changed = self.runner.execute(None, query);
        Ok(deadline(NAME, "resume schedule", self.timeout, changed).await? > 0)
    }

    async fn remove_schedule(&self, name: &str) -> Result<bool, StoreError> {
        let query = sqlx::query(self.sql.remove_schedule.clone()).bind(name);
        let changed = self.runner.execute(None, query);
        Ok(deadline(NAME, "remove schedule", self.timeout, changed).await? > 0)
    }
}

impl PostgresStore {
    async fn try_fire(&self, firing: &Firing) -> Result<Option<Vec<Enqueued>>, StoreError> {
        let mut transaction = self.runner.begin("begin").await?;
        // Whoever comes second waits here, and then finds it moved on.
        let query = self
            .query(&self.sql.fire_schedule)
            .bind(&firing.name)
            .bind(micros(unix_micros(firing.since)))
            .bind(micros(unix_micros(firing.until)))
            .bind(!firing.jobs.is_empty());
        let moved = self
            .runner
            .fetch_all(Some(&mut *transaction), query)
            .await?;
        if moved.is_empty() {
            transaction.rollback().await?;
            return Ok(None);
        }
        let enqueued = self.add(Some(&mut *transaction), &firing.jobs).await?;
        transaction.commit().await?;
        Ok(Some(enqueued))
    }
}

fn schedule(row: &PgRow) -> Result<ScheduleRow, sqlx::Error> {
    Ok(ScheduleRow {
        entry: ScheduleEntry {
            name: row.try_get("name")?,
            cron: row.try_get("cron")?,
            time_zone: row.try_get("time_zone")?,
        },
        since: row::time(row, "since")?,
        last_at: row::instant(row, "last_at")?,
        is_paused: row.try_get("is_paused")?,
    })
}
