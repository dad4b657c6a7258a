use purlin_store::StoreError;
use sqlx::{SqliteConnection, SqliteExecutor};

use super::groups::Stirred;
use super::row::{Micros, until};
use super::{SqliteStore, sql};
use crate::store::Promoted;

/// What a promotion would say, if nothing is due.
pub(super) async fn nothing_due(
    executor: impl SqliteExecutor<'_>,
    now: Micros,
) -> Result<Option<Promoted>, StoreError> {
    let next = next(executor).await?;
    Ok(match next.first() {
        Some(due_at) if due_at <= now => None,
        _ => Some(promoted(0, next, now)),
    })
}

pub(super) async fn promote(
    connection: &mut SqliteConnection,
    store: &SqliteStore,
    limit: u32,
    now: Micros,
) -> Result<Promoted, StoreError> {
    let last: Option<(Micros, Vec<u8>, bool)> = sqlx::query_as(sql::LAST_DUE)
        .bind(now)
        .bind(limit)
        .fetch_optional(&mut *connection)
        .await?;
    let mut jobs = 0;
    let mut stirred = Stirred::new();
    if let Some((run_at, id, has_groups)) = last {
        if has_groups {
            let hold = sqlx::query_scalar(sql::HOLD_UP_TO).bind(run_at).bind(&id);
            let groups: Vec<String> = hold.fetch_all(&mut *connection).await?;
            stirred.extend(groups);
        }
        let promote = sqlx::query(sql::PROMOTE_UP_TO).bind(run_at).bind(&id);
        jobs = promote.execute(&mut *connection).await?.rows_affected();
        let unschedule = sqlx::query(sql::UNSCHEDULE_UP_TO).bind(run_at).bind(&id);
        unschedule.execute(&mut *connection).await?;
    }
    let mut upcoming = next(&mut *connection).await?;
    if upcoming.group.is_some_and(|due_at| due_at <= now) {
        let due = sqlx::query_scalar(sql::DUE_GROUPS).bind(now).bind(GROUPS);
        let due: Vec<String> = due.fetch_all(&mut *connection).await?;
        stirred.extend(due);
    }
    if !stirred.is_empty() {
        let admitted = store.admit(connection, &mut stirred, now).await?;
        jobs += u64::from(admitted.jobs);
        upcoming = next(connection).await?;
    }
    Ok(promoted(jobs, upcoming, now))
}

/// How many groups are looked at in one call.
const GROUPS: u32 = 1_000;

/// What is due next.
#[derive(Clone, Copy)]
struct Next {
    job: Option<Micros>,
    group: Option<Micros>,
}

impl Next {
    fn first(&self) -> Option<Micros> {
        self.job.into_iter().chain(self.group).min()
    }
}

async fn next(executor: impl SqliteExecutor<'_>) -> Result<Next, StoreError> {
    let (job, group) = sqlx::query_as(sql::NEXT).fetch_one(executor).await?;
    Ok(Next { job, group })
}

fn promoted(jobs: u64, next: Next, now: Micros) -> Promoted {
    Promoted {
        jobs: u32::try_from(jobs).unwrap_or(u32::MAX),
        next_in: next.first().map(|at| until(now, at)),
    }
}
