use std::time::Duration;

use purlin_store::StoreError;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::groups::{Stirred, by_group, free_slots};
use super::row::{self, Micros, after, job_id, list};
use super::sql;
use crate::store::{Beat, Failure, Rescue, Rescued};
use crate::{JobId, WorkerId};

pub(super) async fn join(
    connection: &mut SqliteConnection,
    worker: WorkerId,
    now: Micros,
    ttl: Duration,
) -> Result<(), StoreError> {
    sqlx::query(sql::JOIN)
        .bind(&worker.as_uuid().as_bytes()[..])
        .bind(after(now, ttl))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn beat(
    connection: &mut SqliteConnection,
    worker: WorkerId,
    now: Micros,
    ttl: Duration,
) -> Result<Beat, StoreError> {
    let worker = &worker.as_uuid().as_bytes()[..];
    let beat = sqlx::query(sql::BEAT)
        .bind(worker)
        .bind(now)
        .bind(after(now, ttl))
        .execute(&mut *connection)
        .await?;
    if beat.rows_affected() == 0 {
        return Ok(Beat::Lost);
    }
    let cancel: Vec<Vec<u8>> = sqlx::query_scalar(sql::TO_CANCEL)
        .bind(worker)
        .fetch_all(connection)
        .await?;
    let cancel = row::job_ids(&cancel)?;
    Ok(Beat::Alive { cancel })
}

pub(super) async fn leave(
    connection: &mut SqliteConnection,
    worker: WorkerId,
    now: Micros,
    stirred: &mut Stirred,
) -> Result<(), StoreError> {
    let worker = worker.as_uuid();
    sqlx::query(sql::FORGET_WORKER)
        .bind(&worker.as_bytes()[..])
        .execute(&mut *connection)
        .await?;
    let workers = list([worker]);
    let jobs: Vec<(Vec<u8>, Option<String>)> = sqlx::query_as(sql::GIVE_BACK)
        .bind(&workers)
        .bind(now)
        .fetch_all(&mut *connection)
        .await?;
    let jobs = jobs
        .into_iter()
        .map(|(id, group)| Ok((job_id(&id)?, group)));
    let jobs = jobs.collect::<Result<_, StoreError>>()?;
    end_leases(connection, &workers, jobs, stirred).await
}

pub(super) async fn rescue(
    connection: &mut SqliteConnection,
    rescue: &Rescue,
    now: Micros,
    stirred: &mut Stirred,
) -> Result<Rescued, StoreError> {
    let dead: Vec<Vec<u8>> = sqlx::query_scalar(sql::FORGET_DEAD)
        .bind(now)
        .bind(rescue.limit)
        .fetch_all(&mut *connection)
        .await?;
    let mut rescued = Rescued::default();
    if dead.is_empty() {
        return Ok(rescued);
    }
    let dead: Vec<Uuid> = dead
        .iter()
        .map(|bytes| Uuid::from_slice(bytes).map_err(row::corrupt))
        .collect::<Result<_, _>>()?;
    let workers = list(&dead);
    let crashed: Vec<(Vec<u8>, Option<String>, Option<String>)> = sqlx::query_as(sql::CRASH)
        .bind(&workers)
        .bind(rescue.max_crashes)
        .bind(now)
        .bind(Failure::CRASHED)
        .fetch_all(&mut *connection)
        .await?;
    rescued.workers = u32::try_from(dead.len()).unwrap_or(u32::MAX);
    let mut jobs = Vec::with_capacity(crashed.len());
    for (id, end, group) in crashed {
        jobs.push((job_id(&id)?, group));
        match end.as_deref() {
            None => rescued.ready += 1,
            Some("dead") => rescued.dead += 1,
            Some(_) => {}
        }
    }
    end_leases(connection, &workers, jobs, stirred).await?;
    Ok(rescued)
}

/// Ends the leases of these workers, and makes those of their jobs ready that have not ended.
async fn end_leases(
    connection: &mut SqliteConnection,
    workers: &str,
    jobs: Vec<(JobId, Option<String>)>,
    stirred: &mut Stirred,
) -> Result<(), StoreError> {
    let ids = list(jobs.iter().map(|(id, _)| id.as_uuid()));
    let groups = by_group(jobs);
    for (statement, list) in [
        (sql::READY, ids.as_str()),
        (sql::FREE_KEYS, &ids),
        (sql::UNLEASE_OF_WORKERS, workers),
        (sql::END_LEASES_OF_WORKERS, workers),
    ] {
        let end = sqlx::query(statement).bind(list);
        end.execute(&mut *connection).await?;
    }
    if !groups.is_empty() {
        let hold = sqlx::query(sql::HOLD).bind(&ids);
        hold.execute(&mut *connection).await?;
    }
    free_slots(connection, &groups, stirred).await
}
