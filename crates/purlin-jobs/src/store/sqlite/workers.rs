use std::time::Duration;

use purlin_store::StoreError;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::flows::Ended;
use super::groups::{Stirred, by_group, free_slots};
use super::row::{self, Micros, after, job_id, list};
use super::sql;
use crate::WorkerId;
use crate::store::{Beat, Failure, Rescue, Rescued};

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
    let jobs: Vec<GivenBack> = sqlx::query_as(sql::GIVE_BACK)
        .bind(&workers)
        .bind(now)
        .fetch_all(&mut *connection)
        .await?;
    end_leases(connection, &workers, jobs, now, stirred).await?;
    Ok(())
}

/// A job, how it ended if it did, its flow and its group.
type GivenBack = (Vec<u8>, Option<String>, Option<u8>, Option<String>);

/// And says whether a job goes on that has waited for one of theirs.
pub(super) async fn rescue(
    connection: &mut SqliteConnection,
    rescue: &Rescue,
    now: Micros,
    stirred: &mut Stirred,
) -> Result<(Rescued, bool), StoreError> {
    let dead: Vec<Vec<u8>> = sqlx::query_scalar(sql::FORGET_DEAD)
        .bind(now)
        .bind(rescue.limit)
        .fetch_all(&mut *connection)
        .await?;
    let mut rescued = Rescued::default();
    if dead.is_empty() {
        return Ok((rescued, false));
    }
    let dead: Vec<Uuid> = dead
        .iter()
        .map(|bytes| Uuid::from_slice(bytes).map_err(row::corrupt))
        .collect::<Result<_, _>>()?;
    let workers = list(&dead);
    let crashed: Vec<GivenBack> = sqlx::query_as(sql::CRASH)
        .bind(&workers)
        .bind(rescue.max_crashes)
        .bind(now)
        .bind(Failure::CRASHED)
        .fetch_all(&mut *connection)
        .await?;
    rescued.workers = u32::try_from(dead.len()).unwrap_or(u32::MAX);
    for (_, end, ..) in &crashed {
        match end.as_deref() {
            None => rescued.ready += 1,
            Some("dead") => rescued.dead += 1,
            Some(_) => {}
        }
    }
    let goes_on = end_leases(connection, &workers, crashed, now, stirred).await?;
    Ok((rescued, goes_on))
}

/// Ends the leases of these workers, and makes those of their jobs ready that have not ended. Says whether
/// a job goes on that has waited for one that has.
async fn end_leases(
    connection: &mut SqliteConnection,
    workers: &str,
    given_back: Vec<GivenBack>,
    now: Micros,
    stirred: &mut Stirred,
) -> Result<bool, StoreError> {
    let mut ended = Ended::default();
    let mut jobs = Vec::with_capacity(given_back.len());
    for (id, end, flow, group) in given_back {
        let id = job_id(&id)?;
        if flow.is_some() {
            ended.as_said(id, end.as_deref());
        }
        jobs.push((id, group));
    }
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
    free_slots(connection, &groups, stirred).await?;
    ended.tell(connection, now, stirred).await
}
