use async_trait::async_trait;
use purlin_store::{StoreError, deadline, unix_micros};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite};

use super::row::{self, Micros};
use super::{NAME, SqliteStore, adding, sql};
use crate::store::{Enqueued, Firing, ScheduleEntry, ScheduleList, ScheduleRow, ScheduleStore};

#[async_trait]
impl ScheduleStore for SqliteStore {
    async fn put_schedule(&self, schedule: &ScheduleEntry) -> Result<(), StoreError> {
        deadline(NAME, "put schedule", self.timeout, async {
            let mut write = self.begin("put schedule").await?;
            let put = sqlx::query(sql::PUT_SCHEDULE)
                .bind(&schedule.name)
                .bind(&schedule.cron)
                .bind(&schedule.time_zone)
                .bind(self.now());
            put.execute(&mut *write).await?;
            write.commit().await
        })
        .await
    }

    async fn list_schedules(&self) -> Result<ScheduleList, StoreError> {
        deadline(NAME, "list schedules", self.timeout, async {
            let now = row::time(self.now())?;
            let rows = sqlx::query(sql::LIST_SCHEDULES);
            let rows = rows.fetch_all(&self.pool).await?;
            let schedules = rows.iter().map(schedule).collect::<Result<_, _>>()?;
            Ok::<_, StoreError>(ScheduleList { now, schedules })
        })
        .await
    }

    async fn fire_schedule(&self, firing: &Firing) -> Result<Option<Vec<Enqueued>>, StoreError> {
        let fired = deadline(NAME, "fire schedule", self.timeout, async {
            let mut write = self.begin("fire schedule").await?;
            let now = self.now();
            let fire = sqlx::query(sql::FIRE_SCHEDULE)
                .bind(&firing.name)
                .bind(unix_micros(firing.since))
                .bind(unix_micros(firing.until))
                .bind(!firing.jobs.is_empty())
                .bind(now);
            if fire.execute(&mut *write).await?.rows_affected() == 0 {
                return Ok(None);
            }
            let enqueued = adding::add(&mut write, &firing.jobs, now).await?;
            write.commit().await?;
            Ok::<_, StoreError>(Some(enqueued))
        })
        .await?;
        if fired.is_some() {
            self.wake();
        }
        Ok(fired)
    }

    async fn pause_schedule(&self, name: &str) -> Result<bool, StoreError> {
        let pause = sqlx::query(sql::PAUSE_SCHEDULE).bind(name.to_owned());
        self.change_schedule("pause schedule", pause).await
    }

    async fn resume_schedule(&self, name: &str) -> Result<bool, StoreError> {
        let resume = sqlx::query(sql::RESUME_SCHEDULE).bind(name.to_owned());
        self.change_schedule("resume schedule", resume.bind(self.now()))
            .await
    }

    async fn remove_schedule(&self, name: &str) -> Result<bool, StoreError> {
        let remove = sqlx::query(sql::REMOVE_SCHEDULE).bind(name.to_owned());
        self.change_schedule("remove schedule", remove).await
    }
}

impl SqliteStore {
    async fn change_schedule(
        &self,
        operation: &'static str,
        change: sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<bool, StoreError> {
        deadline(NAME, operation, self.timeout, async {
            let mut write = self.begin(operation).await?;
            let changed = change.execute(&mut *write).await?.rows_affected();
            write.commit().await?;
            Ok::<_, StoreError>(changed > 0)
        })
        .await
    }
}

fn schedule(row: &SqliteRow) -> Result<ScheduleRow, StoreError> {
    let last_at: Option<Micros> = row.try_get(4)?;
    Ok(ScheduleRow {
        entry: ScheduleEntry {
            name: row.try_get(0)?,
            cron: row.try_get(1)?,
            time_zone: row.try_get(2)?,
        },
        since: row::time(row.try_get(3)?)?,
        last_at: last_at.map(row::time).transpose()?,
        is_paused: row.try_get(5)?,
    })
}
