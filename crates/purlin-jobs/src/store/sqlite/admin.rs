use std::time::Duration;

use async_trait::async_trait;
use purlin_store::{StoreError, StoreErrorKind, deadline};
use sqlx::SqliteConnection;

use super::flows::Ended;
use super::groups::{Stirred, free_slots};
use super::row::{self, Micros, list, micros, until};
use super::{NAME, SqliteStore, sql};
use crate::store::{Counts, Filter, JobAdmin, JobView, Page, State};
use crate::{JobId, QueueName};

#[async_trait]
impl JobAdmin for SqliteStore {
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        deadline(NAME, "get", self.timeout, async {
            let get = sqlx::query(sql::GET).bind(&id.as_uuid().as_bytes()[..]);
            let row = get.fetch_optional(&self.pool).await?;
            row.as_ref().map(row::view).transpose()
        })
        .await
    }

    async fn list(&self, filter: &Filter, page: &Page) -> Result<Vec<JobView>, StoreError> {
        deadline(NAME, "list", self.timeout, async {
            let after = page.after.map(|id| id.as_uuid().as_bytes().to_vec());
            let rows = sqlx::query(sql::LIST)
                .bind(after.unwrap_or_default())
                .bind(filter.queue.as_ref().map(QueueName::as_str))
                .bind(filter.kind.as_deref())
                .bind(filter.state.map(row::name_of))
                .bind(page.limit)
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(row::view).collect()
        })
        .await
    }

    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
        deadline(NAME, "counts", self.timeout, async {
            // A transaction, so that both reads see the same jobs.
            let mut read = self.pool.begin().await?;
            let counts = counts(&mut read, queue, self.now()).await?;
            read.commit().await?;
            Ok::<_, StoreError>(counts)
        })
        .await
    }

    async fn cancel(&self, id: JobId) -> Result<bool, StoreError> {
        let (cancelled, goes_on) = deadline(NAME, "cancel", self.timeout, async {
            let mut write = self.begin("cancel").await?;
            let (now, mut stirred) = (self.now(), Stirred::new());
            let (cancelled, goes_on) = cancel(&mut write, id, now, &mut stirred).await?;
            let admitted = self.admit(&mut write, &mut stirred, now).await?;
            write.commit().await?;
            Ok::<_, StoreError>((cancelled, goes_on || admitted.jobs > 0))
        })
        .await?;
        if goes_on {
            self.wake();
        }
        Ok(cancelled)
    }

    async fn replay(&self, id: JobId) -> Result<bool, StoreError> {
        let replayed = deadline(NAME, "replay", self.timeout, async {
            let mut write = self.begin("replay").await?;
            let (now, mut stirred) = (self.now(), Stirred::new());
            let replayed = replay(&mut write, id, now, &mut stirred).await?;
            self.admit(&mut write, &mut stirred, now).await?;
            write.commit().await?;
            Ok::<_, StoreError>(replayed)
        })
        .await?;
        if replayed {
            self.wake();
        }
        Ok(replayed)
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool, StoreError> {
        self.switch("pause", sql::PAUSE, queue).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let resumed = self.switch("resume", sql::RESUME, queue).await?;
        if resumed {
            self.wake();
        }
        Ok(resumed)
    }

    async fn purge_finished(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let (purged, goes_on) = deadline(NAME, "purge finished", self.timeout, async {
            let mut write = self.begin("purge finished").await?;
            let (now, mut stirred) = (self.now(), Stirred::new());
            let (jobs, goes_on) = purge_jobs(&mut write, age, limit, now, &mut stirred).await?;
            let admitted = self.admit(&mut write, &mut stirred, now).await?;
            let mut purged = i64::from(jobs);
            for statement in [sql::PURGE_KEYS, sql::PURGE_RESULTS] {
                let left = i64::from(limit) - purged;
                let purge = sqlx::query(statement).bind(now).bind(left);
                let rows = purge.execute(&mut *write).await?.rows_affected();
                purged += i64::try_from(rows).unwrap_or(i64::MAX);
            }
            write.commit().await?;
            Ok::<_, StoreError>((purged.unsigned_abs(), goes_on || admitted.jobs > 0))
        })
        .await?;
        if goes_on {
            self.wake();
        }
        Ok(purged)
    }
}

/// How many there were, and whether a job goes on that has waited for one of their children.
async fn purge_jobs(
    connection: &mut SqliteConnection,
    age: Duration,
    limit: u32,
    now: Micros,
    stirred: &mut Stirred,
) -> Result<(u32, bool), StoreError> {
    let purged: Vec<(Vec<u8>, Option<u8>)> = sqlx::query_as(sql::PURGE_JOBS)
        .bind(now.saturating_sub(micros(age)))
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
    let mut ended = Ended::default();
    for (id, _) in purged.iter().filter(|(_, flow)| flow.is_some()) {
        ended.purged(row::job_id(id)?);
    }
    let goes_on = ended.tell(connection, now, stirred).await?;
    Ok((u32::try_from(purged.len()).unwrap_or(limit), goes_on))
}

impl SqliteStore {
    /// Whether that changed anything.
    async fn switch(
        &self,
        operation: &'static str,
        statement: &'static str,
        queue: &QueueName,
    ) -> Result<bool, StoreError> {
        deadline(NAME, operation, self.timeout, async {
            let mut write = self.begin(operation).await?;
            let switch = sqlx::query(statement).bind(queue.as_str());
            let switched = switch.execute(&mut *write).await?;
            write.commit().await?;
            Ok::<_, StoreError>(switched.rows_affected() > 0)
        })
        .await
    }
}

async fn counts(
    connection: &mut SqliteConnection,
    queue: Option<&QueueName>,
    now: Micros,
) -> Result<Counts, StoreError> {
    let queue = queue.map(QueueName::as_str);
    let states: Vec<(String, i64)> = sqlx::query_as(sql::COUNTS)
        .bind(queue)
        .fetch_all(&mut *connection)
        .await?;
    let mut counts = Counts::default();
    for (name, jobs) in states {
        let count = match row::state(&name)? {
            State::Ready => &mut counts.ready,
            State::Scheduled => &mut counts.scheduled,
            State::Blocked => &mut counts.blocked,
            State::Leased => &mut counts.leased,
            State::Dead => &mut counts.dead,
            State::Cancelled => &mut counts.cancelled,
            State::Held => &mut counts.held,
        };
        *count = jobs.unsigned_abs();
    }
    let oldest: Option<Micros> = sqlx::query_scalar(sql::OLDEST_READY)
        .bind(queue)
        .fetch_optional(connection)
        .await?;
    counts.oldest_ready = oldest.map(|run_at| until(run_at, now));
    Ok(counts)
}

/// Whether it was cancelled, and whether a job goes on that has waited for it.
async fn cancel(
    connection: &mut SqliteConnection,
    id: JobId,
    now: Micros,
    stirred: &mut Stirred,
) -> Result<(bool, bool), StoreError> {
    let Some(standing) = standing(connection, id).await? else {
        return Ok((false, false));
    };
    let mut ended = Ended::default();
    match standing.state {
        State::Ready | State::Held | State::Scheduled => {
            unplace(connection, id, standing.group.as_deref(), stirred).await?;
            sqlx::query(sql::CANCEL_WAITING)
                .bind(&id.as_uuid().as_bytes()[..])
                .bind(now)
                .execute(&mut *connection)
                .await?;
            let free = sqlx::query(sql::FREE_KEYS).bind(list([id.as_uuid()]));
            free.execute(&mut *connection).await?;
            if standing.flow.is_some() {
                ended.cancelled(id);
            }
        }
        State::Blocked => ended.blocked(id),
        State::Leased => {
            let cancel = sqlx::query(sql::CANCEL_LEASED).bind(&id.as_uuid().as_bytes()[..]);
            cancel.execute(&mut *connection).await?;
        }
        State::Dead | State::Cancelled => return Ok((false, false)),
    }
    Ok((true, ended.tell(connection, now, stirred).await?))
}

async fn replay(
    connection: &mut SqliteConnection,
    id: JobId,
    now: Micros,
    stirred: &mut Stirred,
) -> Result<bool, StoreError> {
    let bytes = &id.as_uuid().as_bytes()[..];
    let Some(standing) = standing(connection, id).await? else {
        return Ok(false);
    };
    let group = standing.group;
    match standing.state {
        State::Scheduled => unplace(connection, id, group.as_deref(), stirred).await?,
        State::Dead => {
            let is_taken: bool = sqlx::query_scalar(sql::KEY_IS_TAKEN)
                .bind(bytes)
                .bind(now)
                .fetch_one(&mut *connection)
                .await?;
            if is_taken {
                return Err(StoreError::new(StoreErrorKind::Conflict, NAME, "replay")
                    .with_source("another job holds its unique key"));
            }
            let take = sqlx::query(sql::TAKE_KEY_AGAIN).bind(bytes);
            take.execute(&mut *connection).await?;
        }
        _ => return Ok(false),
    }
    let replay = sqlx::query(sql::REPLAY).bind(bytes).bind(now);
    replay.execute(&mut *connection).await?;
    let place = if group.is_some() {
        sql::HOLD
    } else {
        sql::READY
    };
    let ready = sqlx::query(place).bind(list([id.as_uuid()]));
    ready.execute(connection).await?;
    stirred.extend(group);
    Ok(true)
}

/// Where a job stands.
pub(super) struct Standing {
    pub(super) state: State,
    pub(super) group: Option<String>,
    flow: Option<u8>,
}

pub(super) async fn standing(
    connection: &mut SqliteConnection,
    id: JobId,
) -> Result<Option<Standing>, StoreError> {
    let found: Option<(String, Option<u8>, Option<String>)> = sqlx::query_as(sql::STATE)
        .bind(&id.as_uuid().as_bytes()[..])
        .fetch_optional(connection)
        .await?;
    let Some((state, flow, group)) = found else {
        return Ok(None);
    };
    let state = row::state(&state)?;
    Ok(Some(Standing { state, group, flow }))
}

/// Takes a job from where it waits.
pub(super) async fn unplace(
    connection: &mut SqliteConnection,
    id: JobId,
    group: Option<&str>,
    stirred: &mut Stirred,
) -> Result<(), StoreError> {
    for statement in [sql::UNREADY, sql::UNSCHEDULE] {
        let unplace = sqlx::query(statement).bind(&id.as_uuid().as_bytes()[..]);
        unplace.execute(&mut *connection).await?;
    }
    if let Some(group) = group {
        let unhold = sqlx::query(sql::UNHOLD).bind(&id.as_uuid().as_bytes()[..]);
        unhold.execute(&mut *connection).await?;
        free_slots(connection, &[(group.to_owned(), vec![id])].into(), stirred).await?;
    }
    Ok(())
}
