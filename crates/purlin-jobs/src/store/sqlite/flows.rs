//! What the end of a job means to those that wait for it.

use std::collections::{HashMap, HashSet};

use purlin_store::StoreError;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::adding::json;
use super::groups::Stirred;
use super::row::{self, Micros, hex, job_id, list};
use super::{NAME, sql};
use crate::store::flows::parent_is_taken;
use crate::store::{Entry, On, Tally};
use crate::{JobId, Run};

/// A job waits for others, or did.
pub(super) const IS_CHILD: u8 = 1;
/// Others wait for it, or did.
pub(super) const HAS_CHILDREN: u8 = 2;

/// Who is in a flow among jobs that are added: the bits of each.
pub(super) fn flows(
    added: &[&Entry],
    heirs: &HashSet<JobId>,
) -> Result<HashMap<JobId, u8>, StoreError> {
    let mut flows: HashMap<JobId, u8> = heirs.iter().map(|id| (*id, HAS_CHILDREN)).collect();
    if added.iter().all(|entry| entry.parents.is_empty()) {
        return Ok(flows);
    }
    let ids: HashSet<JobId> = added.iter().map(|entry| entry.id).collect();
    for entry in added.iter().filter(|entry| !entry.parents.is_empty()) {
        *flows.entry(entry.id).or_default() |= IS_CHILD;
        for parent in &entry.parents {
            if !ids.contains(&parent.id) {
                return Err(parent_is_taken(NAME));
            }
            *flows.entry(parent.id).or_default() |= HAS_CHILDREN;
        }
    }
    Ok(flows)
}

#[derive(Serialize)]
struct Child {
    child: String,
    waits_for: usize,
    delay: Option<Micros>,
    start_at: Option<Micros>,
}

#[derive(Serialize)]
struct Edge {
    parent: String,
    child: String,
    on_ended: bool,
}

/// Lets jobs that were added wait for their parents.
pub(super) async fn block(
    connection: &mut SqliteConnection,
    added: &[&Entry],
) -> Result<(), StoreError> {
    let blocked = || added.iter().filter(|entry| !entry.parents.is_empty());
    let child = |entry: &&Entry| Child {
        child: hex(entry.id.as_uuid()),
        waits_for: entry.parents.len(),
        delay: match entry.options.run {
            Run::After(delay) => Some(row::micros(delay)),
            Run::Now | Run::At(_) => None,
        },
        start_at: match entry.options.run {
            Run::At(at) => Some(row::run_at(purlin_store::unix_micros(at))),
            Run::Now | Run::After(_) => None,
        },
    };
    let children: Vec<_> = blocked().map(child).collect();
    if children.is_empty() {
        return Ok(());
    }
    let edge = |entry: &&Entry| {
        let child = hex(entry.id.as_uuid());
        let parents = entry.parents.clone().into_iter();
        parents.map(move |parent| Edge {
            parent: hex(parent.id.as_uuid()),
            child: child.clone(),
            on_ended: parent.on == On::Ended,
        })
    };
    let edges: Vec<_> = blocked().flat_map(edge).collect();
    for (rows, statement) in [
        (json(&children)?, sql::ADD_CHILDREN),
        (json(&edges)?, sql::ADD_EDGES),
    ] {
        let add = sqlx::query(statement).bind(rows);
        add.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Jobs of flows that have ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    done: Vec<JobId>,
    dead: Vec<JobId>,
    cancelled: Vec<JobId>,
    /// Jobs that are to be cancelled and wait for others.
    blocked: Vec<JobId>,
    purged: Vec<JobId>,
}

impl Ended {
    pub(super) fn done(&mut self, id: JobId) {
        self.done.push(id);
    }

    /// How a row that has not been deleted says that it ended.
    pub(super) fn as_said(&mut self, id: JobId, finished_as: Option<&str>) {
        match finished_as {
            Some("dead") => self.dead.push(id),
            Some(_) => self.cancelled.push(id),
            None => {}
        }
    }

    pub(super) fn cancelled(&mut self, id: JobId) {
        self.cancelled.push(id);
    }

    pub(super) fn blocked(&mut self, id: JobId) {
        self.blocked.push(id);
    }

    pub(super) fn purged(&mut self, id: JobId) {
        self.purged.push(id);
    }

    fn is_empty(&self) -> bool {
        let all = [&self.done, &self.dead, &self.cancelled, &self.blocked];
        all.iter().all(|ids| ids.is_empty()) && self.purged.is_empty()
    }

    /// Tells their children, and says whether one of those goes on.
    pub(super) async fn tell(
        mut self,
        connection: &mut SqliteConnection,
        now: Micros,
        stirred: &mut Stirred,
    ) -> Result<bool, StoreError> {
        if self.is_empty() {
            return Ok(false);
        }
        self.fall(connection, now).await?;
        let told = self.cut(connection).await?;
        for ids in [&self.done, &self.purged] {
            if !ids.is_empty() {
                execute(connection, sql::FORGET_CHILDREN, ids).await?;
            }
        }
        if told.is_empty() {
            return Ok(false);
        }
        go_on(connection, &told, now, stirred).await
    }

    /// Cancels those whose parents can never be done.
    async fn fall(
        &mut self,
        connection: &mut SqliteConnection,
        now: Micros,
    ) -> Result<(), StoreError> {
        let roots = [&self.cancelled, &self.purged, &self.blocked];
        let roots: Vec<_> = roots.into_iter().flatten().map(JobId::as_uuid).collect();
        if roots.is_empty() {
            return Ok(());
        }
        let fallen: Vec<Vec<u8>> = sqlx::query_scalar(sql::FALLEN)
            .bind(list(roots))
            .fetch_all(&mut *connection)
            .await?;
        let mut fallen = row::job_ids(&fallen)?;
        fallen.append(&mut self.blocked);
        if fallen.is_empty() {
            return Ok(());
        }
        sqlx::query(sql::CANCEL_FALLEN)
            .bind(list(fallen.iter().map(JobId::as_uuid)))
            .bind(now)
            .execute(&mut *connection)
            .await?;
        for statement in [sql::FREE_KEYS, sql::UNBLOCK, sql::CUT_OFF] {
            execute(connection, statement, &fallen).await?;
        }
        self.cancelled.append(&mut fallen);
        Ok(())
    }

    /// Takes the edges away that have been waited for, and says what each child hears.
    async fn cut(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<HashMap<JobId, Tally>, StoreError> {
        let all = [&self.done, &self.dead, &self.cancelled, &self.purged];
        let all = all.into_iter().flatten().map(JobId::as_uuid);
        let edges: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(sql::CUT)
            .bind(list(all))
            .bind(list(self.dead.iter().map(JobId::as_uuid)))
            .fetch_all(connection)
            .await?;
        let done: HashSet<_> = self.done.iter().copied().collect();
        let dead: HashSet<_> = self.dead.iter().copied().collect();
        let mut told: HashMap<JobId, Tally> = HashMap::new();
        for (parent, child) in &edges {
            let (parent, tally) = (job_id(parent)?, told.entry(job_id(child)?).or_default());
            *if done.contains(&parent) {
                &mut tally.done
            } else if dead.contains(&parent) {
                &mut tally.dead
            } else {
                &mut tally.cancelled
            } += 1;
        }
        Ok(told)
    }
}

#[derive(Serialize)]
struct Told {
    child: String,
    done: u32,
    dead: u32,
    cancelled: u32,
}

#[derive(Serialize)]
struct Start {
    id: String,
    run_at: Micros,
}

/// A child, how many it still waits for, its delay, its time to start and its group.
type Counted = (Vec<u8>, i64, Option<Micros>, Option<Micros>, Option<String>);

/// Counts what the children hear, and lets those begin that have heard of all. Says whether one of those is ready;
/// those with a group stand in its line.
async fn go_on(
    connection: &mut SqliteConnection,
    told: &HashMap<JobId, Tally>,
    now: Micros,
    stirred: &mut Stirred,
) -> Result<bool, StoreError> {
    let told = told.iter().map(|(child, tally)| Told {
        child: hex(child.as_uuid()),
        done: tally.done,
        dead: tally.dead,
        cancelled: tally.cancelled,
    });
    let counted: Vec<Counted> = sqlx::query_as(sql::COUNT)
        .bind(json(&told.collect::<Vec<_>>())?)
        .fetch_all(&mut *connection)
        .await?;
    let (mut ready, mut held, mut scheduled) = (Vec::new(), Vec::new(), Vec::new());
    let mut starts = Vec::new();
    for (child, _, delay, start_at, group) in counted.into_iter().filter(|(_, left, ..)| *left == 0)
    {
        let id = job_id(&child)?;
        let delayed = now.saturating_add(delay.unwrap_or_default());
        let run_at = row::run_at(start_at.unwrap_or(delayed)).max(now);
        if run_at > now {
            scheduled.push(id);
        } else if let Some(group) = group {
            held.push(id);
            stirred.insert(group);
        } else {
            ready.push(id);
        }
        let id = hex(id.as_uuid());
        starts.push(Start { id, run_at });
    }
    if starts.is_empty() {
        return Ok(false);
    }
    let start = sqlx::query(sql::START_AT).bind(json(&starts)?);
    start.execute(&mut *connection).await?;
    for (ids, statement) in [
        (&ready, sql::READY),
        (&held, sql::HOLD),
        (&scheduled, sql::SCHEDULE),
    ] {
        if !ids.is_empty() {
            execute(connection, statement, ids).await?;
        }
    }
    Ok(!ready.is_empty())
}

async fn execute(
    connection: &mut SqliteConnection,
    statement: &'static str,
    ids: &[JobId],
) -> Result<(), StoreError> {
    let query = sqlx::query(statement).bind(list(ids.iter().map(JobId::as_uuid)));
    query.execute(connection).await?;
    Ok(())
}
