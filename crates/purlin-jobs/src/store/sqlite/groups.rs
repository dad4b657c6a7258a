//! Jobs that stand in the lines of their groups, and rates.
//!
//! Whoever writes is alone, so that what is read, decided and written here is one step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use purlin_store::{StoreError, deadline};
use sqlx::SqliteConnection;

use super::row::{Micros, job_id, list, until};
use super::{NAME, SqliteStore, sql};
use crate::store::limits::Standing;
use crate::store::{GroupView, LimitStore};
use crate::{JobId, Limits, QueueName, Rate};

/// The groups that a call has changed. When it ends, they admit what they may.
pub(super) type Stirred = BTreeSet<String>;

/// What a call has admitted, and when there will be more.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    pub(super) jobs: u32,
    pub(super) due_in: Option<Duration>,
}

/// Costs nothing when nothing is stirred.
pub(super) async fn admit(
    connection: &mut SqliteConnection,
    stirred: &mut Stirred,
    window: u32,
    now: Micros,
) -> Result<Admitted, StoreError> {
    let mut admitted = Admitted::default();
    for name in std::mem::take(stirred) {
        let (jobs, due_at) = admit_group(connection, &name, window, now).await?;
        admitted.jobs += jobs;
        let due_in = due_at.map(|due_at| until(now, due_at));
        admitted.due_in = admitted.due_in.into_iter().chain(due_in).min();
    }
    Ok(admitted)
}

async fn admit_group(
    connection: &mut SqliteConnection,
    name: &str,
    window: u32,
    now: Micros,
) -> Result<(u32, Option<Micros>), StoreError> {
    let remember = sqlx::query(sql::REMEMBER).bind(name);
    remember.execute(&mut *connection).await?;
    let Some(group) = read(connection, name, window).await? else {
        return Ok((0, None));
    };
    let mut standing = group.standing;
    let room = standing.room(now);
    let jobs = take(connection, name, room).await?;
    if !jobs.is_empty() {
        let list = list(jobs.iter().map(JobId::as_uuid));
        let admit = sqlx::query(sql::ADMIT).bind(&list).bind(now);
        admit.execute(&mut *connection).await?;
        let ready = sqlx::query(sql::READY_ADMITTED).bind(&list);
        ready.execute(&mut *connection).await?;
        let slots = sqlx::query(sql::TAKE_SLOTS)
            .bind(&list)
            .bind(name)
            .bind(standing.limits.rate.is_some());
        slots.execute(&mut *connection).await?;
    }
    let count = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    standing.admitted += count;
    standing.reserved += if standing.limits.rate.is_some() {
        count
    } else {
        0
    };
    let any_held = sqlx::query_scalar(sql::ANY_HELD).bind(name);
    let has_held: bool = any_held.fetch_one(&mut *connection).await?;
    let due_at = standing.due_at(now, has_held);
    let is_empty = !has_held && standing.admitted == 0;
    if is_empty && !group.is_set && due_at.is_none() {
        let forget = sqlx::query(sql::FORGET_GROUP).bind(name);
        forget.execute(&mut *connection).await?;
    } else {
        stands(connection, name, standing.tat, due_at).await?;
    }
    Ok((count, due_at))
}

/// Takes the first of the line.
async fn take(
    connection: &mut SqliteConnection,
    name: &str,
    room: u32,
) -> Result<Vec<JobId>, StoreError> {
    let first: Vec<(Micros, Vec<u8>)> = sqlx::query_as(sql::FIRST_HELD)
        .bind(name)
        .bind(room)
        .fetch_all(&mut *connection)
        .await?;
    if let Some((rank, id)) = first.last() {
        let unhold = sqlx::query(sql::UNHOLD_UP_TO)
            .bind(name)
            .bind(rank)
            .bind(id);
        unhold.execute(connection).await?;
    }
    first.iter().map(|(_, id)| job_id(id)).collect()
}

async fn stands(
    connection: &mut SqliteConnection,
    name: &str,
    tat: Option<Micros>,
    due_at: Option<Micros>,
) -> Result<(), StoreError> {
    let stands = sqlx::query(sql::STANDS).bind(name).bind(tat).bind(due_at);
    stands.execute(connection).await?;
    Ok(())
}

struct Group {
    standing: Standing,
    is_set: bool,
}

type GroupRow = (
    Option<u32>,
    Option<Micros>,
    Option<i64>,
    Option<Micros>,
    bool,
    u32,
    u32,
);

async fn read(
    connection: &mut SqliteConnection,
    name: &str,
    window: u32,
) -> Result<Option<Group>, StoreError> {
    let row: Option<GroupRow> = sqlx::query_as(sql::GROUP)
        .bind(name)
        .fetch_optional(connection)
        .await?;
    let group = |(at_most, every, burst, tat, is_set, admitted, reserved): GroupRow| Group {
        standing: Standing {
            limits: Limits {
                at_most,
                rate: rate(every, burst),
            },
            window,
            tat,
            admitted,
            reserved,
        },
        is_set,
    };
    Ok(row.map(group))
}

fn rate(every: Option<Micros>, burst: Option<i64>) -> Option<Rate> {
    Some(Rate::from_parts(every?, burst?))
}

fn every(rate: Option<Rate>) -> Option<Micros> {
    rate.map(Rate::interval_micros)
}

fn burst(rate: Option<Rate>) -> Option<u32> {
    rate.map(Rate::burst)
}

/// As the column for what was declared with a job takes it.
pub(super) fn declared(limits: Limits) -> String {
    serde_json::json!([limits.at_most, every(limits.rate), burst(limits.rate)]).to_string()
}

pub(super) async fn declare(
    connection: &mut SqliteConnection,
    statement: &'static str,
    name: &str,
    limits: Limits,
) -> Result<(), StoreError> {
    sqlx::query(statement)
        .bind(name)
        .bind(limits.at_most)
        .bind(every(limits.rate))
        .bind(burst(limits.rate))
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the slots of jobs, by their groups, that are not ready or leased any more.
pub(super) async fn free_slots(
    connection: &mut SqliteConnection,
    jobs: &BTreeMap<String, Vec<JobId>>,
    stirred: &mut Stirred,
) -> Result<(), StoreError> {
    for (name, jobs) in jobs {
        let free = sqlx::query(sql::FREE_SLOTS)
            .bind(list(jobs.iter().map(JobId::as_uuid)))
            .bind(name);
        free.execute(&mut *connection).await?;
        stirred.insert(name.clone());
    }
    Ok(())
}

/// Jobs that have a group, by that.
pub(super) fn by_group(
    rows: impl IntoIterator<Item = (JobId, Option<String>)>,
) -> BTreeMap<String, Vec<JobId>> {
    let mut groups: BTreeMap<String, Vec<JobId>> = BTreeMap::new();
    for (job, group) in rows {
        if let Some(group) = group {
            groups.entry(group).or_default().push(job);
        }
    }
    groups
}

/// Lets jobs of a lease spend the tokens of their groups.
pub(super) async fn start(
    connection: &mut SqliteConnection,
    lease: &[u8],
    stirred: &mut Stirred,
    now: Micros,
) -> Result<(), StoreError> {
    let groups: Vec<String> = sqlx::query_scalar(sql::START)
        .bind(lease)
        .fetch_all(&mut *connection)
        .await?;
    let mut starts: BTreeMap<String, u32> = BTreeMap::new();
    for group in groups {
        *starts.entry(group).or_default() += 1;
    }
    for (name, jobs) in starts {
        let group = read(connection, &name, 0).await?;
        if let Some(Standing { limits, tat, .. }) = group.map(|group| group.standing)
            && let Some(rate) = limits.rate
        {
            let tat = Some(rate.started(tat, now, jobs));
            stands(connection, &name, tat, None).await?;
        }
        stirred.insert(name);
    }
    Ok(())
}

/// How fast a queue is claimed from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    rate: Option<Rate>,
    tat: Option<Micros>,
}

impl Pace {
    pub(super) fn new(every: Option<Micros>, burst: Option<i64>, tat: Option<Micros>) -> Self {
        Self {
            rate: rate(every, burst),
            tat,
        }
    }

    /// How many jobs may start, if so many are wanted.
    pub(super) fn limit(self, wanted: u16, now: Micros) -> u32 {
        let tokens = self.rate.map(|rate| rate.tokens(self.tat, now));
        tokens.map_or(wanted.into(), |tokens| tokens.min(wanted.into()))
    }

    pub(super) fn more_in(self, now: Micros) -> Option<Duration> {
        let next_at = self.rate?.next_at(self.tat, now, 0)?;
        Some(until(now, next_at))
    }

    /// Counts what has started.
    pub(super) async fn started(
        &mut self,
        connection: &mut SqliteConnection,
        queue: &QueueName,
        jobs: usize,
        now: Micros,
    ) -> Result<(), StoreError> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        self.tat = Some(rate.started(self.tat, now, jobs));
        let pace = sqlx::query(sql::PACE).bind(queue.as_str()).bind(self.tat);
        pace.execute(connection).await?;
        Ok(())
    }
}

#[async_trait]
impl LimitStore for SqliteStore {
    async fn limit_group(&self, group: &str, limits: Option<Limits>) -> Result<(), StoreError> {
        deadline(NAME, "limit group", self.timeout, async {
            let mut write = self.begin("limit group").await?;
            match limits {
                Some(limits) => declare(&mut write, sql::LIMIT_GROUP, group, limits).await?,
                None => {
                    let unlimit = sqlx::query(sql::UNLIMIT_GROUP).bind(group);
                    unlimit.execute(&mut *write).await?;
                }
            }
            let mut stirred = Stirred::from([group.to_owned()]);
            self.admit(&mut write, &mut stirred, self.now()).await?;
            write.commit().await
        })
        .await?;
        self.wake();
        Ok(())
    }

    async fn group(&self, name: &str) -> Result<Option<GroupView>, StoreError> {
        deadline(NAME, "group", self.timeout, async {
            let mut read_only = self.pool.begin().await?;
            let group = read(&mut read_only, name, self.window).await?;
            let held = sqlx::query_scalar(sql::HELD).bind(name);
            let held: i64 = held.fetch_one(&mut *read_only).await?;
            read_only.commit().await?;
            Ok::<_, StoreError>(group.map(|group| GroupView {
                limits: group.standing.limits,
                is_set: group.is_set,
                held: held.unsigned_abs(),
                admitted: group.standing.admitted.into(),
            }))
        })
        .await
    }

    async fn limit_queue(&self, queue: &QueueName, rate: Option<Rate>) -> Result<(), StoreError> {
        deadline(NAME, "limit queue", self.timeout, async {
            let mut write = self.begin("limit queue").await?;
            let limit = sqlx::query(sql::LIMIT_QUEUE)
                .bind(queue.as_str())
                .bind(every(rate))
                .bind(burst(rate));
            limit.execute(&mut *write).await?;
            write.commit().await
        })
        .await?;
        self.wake();
        Ok(())
    }

    fn more_in(&self, queue: &QueueName) -> Option<Duration> {
        self.hints.next_of(queue)
    }

    fn admits_in(&self) -> Option<Duration> {
        self.hints.take_admits_in()
    }
}

impl SqliteStore {
    /// Admits what the call that writes has made room for.
    pub(super) async fn admit(
        &self,
        connection: &mut SqliteConnection,
        stirred: &mut Stirred,
        now: Micros,
    ) -> Result<Admitted, StoreError> {
        let admitted = admit(connection, stirred, self.window, now).await?;
        if let Some(due_in) = admitted.due_in {
            self.hints.admits_in(due_in);
        }
        Ok(admitted)
    }
}
