use std::time::Duration;

use purlin_store::StoreError;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::row::{self, Micros, after, list};
use super::sql;
use crate::WorkerId;
use crate::store::{Beat, Rescue, Rescued};

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
) -> Result<(), StoreError> {
    let worker = worker.as_uuid();
    sqlx::query(sql::FORGET_WORKER)
        .bind(&worker.as_bytes()[..])
        .execute(&mut *connection)
        .await?;
    let workers = list([worker]);
    let give_back = sqlx::query(sql::GIVE_BACK).bind(&workers);
    give_back.execute(&mut *connection).await?;
    end_leases(connection, &workers).await
}

pub(super) async fn rescue(
    connection: &mut SqliteConnection,
    rescue: &Rescue,
    now: Micros,
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
    let ends: Vec<Option<String>> = sqlx::query_scalar(sql::CRASH)
        .bind(&workers)
        .bind(rescue.max_crashes)
        .bind(now)
        .fetch_all(&mut *connection)
        .await?;
    rescued.workers = count(dead.len());
    rescued.ready = count(ends.iter().filter(|end| end.is_none()).count());
    let dead = |end: &&Option<String>| end.as_deref() == Some("dead");
    rescued.dead = count(ends.iter().filter(dead).count());
    if ends.iter().any(Option::is_some) {
        let free = sqlx::query(sql::FREE_KEYS_OF_WORKERS).bind(&workers);
        free.execute(&mut *connection).await?;
    }
    end_leases(connection, &workers).await?;
    Ok(rescued)
}

/// Makes the jobs of these workers ready that have not ended, and ends the leases.
async fn end_leases(connection: &mut SqliteConnection, workers: &str) -> Result<(), StoreError> {
    for statement in [
        sql::READY_OF_WORKERS,
        sql::UNLEASE_OF_WORKERS,
        sql::END_LEASES_OF_WORKERS,
    ] {
        let end = sqlx::query(statement).bind(workers);
        end.execute(&mut *connection).await?;
    }
    Ok(())
}

fn count(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}
