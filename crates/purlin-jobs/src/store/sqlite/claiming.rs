use std::time::Duration;

use purlin_store::{StoreError, StoreErrorKind};
use serde_json::Value;
use sqlx::SqliteConnection;

use super::groups::{Pace, Stirred, start};
use super::row::{self, Micros};
use super::{NAME, sql};
use crate::store::{Claim, Claimed};

pub(super) async fn claim(
    connection: &mut SqliteConnection,
    claim: &Claim,
    now: Micros,
    stirred: &mut Stirred,
) -> Result<(Vec<Claimed>, Option<Duration>), StoreError> {
    let before: (bool, bool, Option<Micros>, Option<i64>, Option<Micros>) =
        sqlx::query_as(sql::BEFORE_CLAIM)
            .bind(&claim.worker.as_uuid().as_bytes()[..])
            .bind(now)
            .bind(&claim.lease.as_uuid().as_bytes()[..])
            .bind(claim.queue.as_str())
            .fetch_one(&mut *connection)
            .await?;
    let (is_alive, has_lease, every, burst, tat) = before;
    let mut pace = Pace::new(every, burst, tat);
    if !is_alive {
        return Err(StoreError::new(StoreErrorKind::Conflict, NAME, "claim")
            .with_source("the worker is not known, or was taken for dead"));
    }
    if !has_lease && !lease(connection, claim, pace.limit(claim.limit, now)).await? {
        return Ok((Vec::new(), pace.more_in(now)));
    }
    let lease = &claim.lease.as_uuid().as_bytes()[..];
    let rows = sqlx::query(sql::CLAIMED)
        .bind(lease)
        .fetch_all(&mut *connection)
        .await?;
    if let Some(last) = rows.last()
        && !has_lease
    {
        sqlx::query(sql::UNREADY_UP_TO)
            .bind(claim.queue.as_str())
            .bind(kinds(claim))
            .bind(row::rank(last)?)
            .bind(row::id(last)?)
            .execute(&mut *connection)
            .await?;
        pace.started(connection, &claim.queue, rows.len(), now)
            .await?;
    }
    let mut claimed = Vec::with_capacity(rows.len());
    let (mut frees_keys, mut has_groups) = (false, false);
    for row in &rows {
        let (job, frees_key) = row::claimed(row)?;
        has_groups |= row::has_group(row)?;
        claimed.push(job);
        frees_keys |= frees_key;
    }
    if frees_keys {
        let free = sqlx::query(sql::FREE_START_KEYS).bind(lease);
        free.execute(&mut *connection).await?;
    }
    if has_groups && !has_lease {
        start(connection, lease, stirred, now).await?;
    }
    Ok((claimed, pace.more_in(now)))
}

/// `false` when nothing is ready. What is leased is still among what is ready.
async fn lease(
    connection: &mut SqliteConnection,
    claim: &Claim,
    limit: u32,
) -> Result<bool, StoreError> {
    let lease = &claim.lease.as_uuid().as_bytes()[..];
    let taken = sqlx::query(sql::LEASE)
        .bind(lease)
        .bind(claim.queue.as_str())
        .bind(kinds(claim))
        .bind(limit)
        .execute(&mut *connection)
        .await?;
    if taken.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(sql::ADD_LEASE)
        .bind(lease)
        .bind(&claim.worker.as_uuid().as_bytes()[..])
        .execute(&mut *connection)
        .await?;
    Ok(true)
}

fn kinds(claim: &Claim) -> String {
    let kinds: Value = claim.kinds.iter().map(String::as_str).collect();
    kinds.to_string()
}
