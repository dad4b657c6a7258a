use purlin_store::StoreError;
use sqlx::{SqliteConnection, SqliteExecutor};

use super::row::{Micros, until};
use super::sql;
use crate::store::Promoted;

/// What a promotion would say, if nothing is due.
pub(super) async fn nothing_due(
    executor: impl SqliteExecutor<'_>,
    now: Micros,
) -> Result<Option<Promoted>, StoreError> {
    let next: Option<Micros> = next(executor).await?;
    Ok(match next {
        Some(run_at) if run_at <= now => None,
        next => Some(promoted(0, next, now)),
    })
}

pub(super) async fn promote(
    connection: &mut SqliteConnection,
    limit: u32,
    now: Micros,
) -> Result<Promoted, StoreError> {
    let last: Option<(Micros, Vec<u8>)> = sqlx::query_as(sql::LAST_DUE)
        .bind(now)
        .bind(limit)
        .fetch_optional(&mut *connection)
        .await?;
    let mut jobs = 0;
    if let Some((run_at, id)) = last {
        let promote = sqlx::query(sql::PROMOTE_UP_TO).bind(run_at).bind(&id);
        jobs = promote.execute(&mut *connection).await?.rows_affected();
        let unschedule = sqlx::query(sql::UNSCHEDULE_UP_TO).bind(run_at).bind(&id);
        unschedule.execute(&mut *connection).await?;
    }
    let next = next(connection).await?;
    Ok(promoted(jobs, next, now))
}

async fn next(executor: impl SqliteExecutor<'_>) -> Result<Option<Micros>, StoreError> {
    Ok(sqlx::query_scalar(sql::NEXT).fetch_one(executor).await?)
}

fn promoted(jobs: u64, next: Option<Micros>, now: Micros) -> Promoted {
    Promoted {
        jobs: u32::try_from(jobs).unwrap_or(u32::MAX),
        next_in: next.map(|run_at| until(now, run_at)),
    }
}
