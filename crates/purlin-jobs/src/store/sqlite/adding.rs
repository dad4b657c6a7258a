use std::collections::{BTreeMap, HashMap, HashSet};

use purlin_store::{StoreError, StoreErrorKind, unix_micros};
use serde::Serialize;
use sqlx::SqliteConnection;

use super::admin::unplace;
use super::groups::{Stirred, declare, declared};
use super::row::{self, Micros, after, hex, job_id, list};
use super::{NAME, flows, sql};
use crate::store::flows::check_parents;
use crate::store::{Enqueued, Entry};
use crate::{JobId, OnConflict, Run, Span, UniqueKey};

/// Adds jobs one after the other, as far as their ids and unique keys are free.
///
/// Whoever writes reads what is there, decides and writes it all at once: nobody else writes meanwhile.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    jobs: &[Entry],
    now: Micros,
    stirred: &mut Stirred,
) -> Result<Vec<Enqueued>, StoreError> {
    check_parents(NAME, jobs)?;
    let mut plan = Plan::read(connection, jobs, now).await?;
    let enqueued = jobs.iter().map(|entry| plan.decide(entry, now)).collect();
    plan.write(connection, now, stirred).await?;
    Ok(enqueued)
}

struct Plan<'a> {
    known: HashSet<JobId>,
    holders: HashMap<UniqueKey, Holder>,
    added: Vec<&'a Entry>,
    /// Jobs that waited before, and whose place was taken, with their groups.
    replaced: Vec<(JobId, Option<String>)>,
    /// Those of them that others wait for, with who has their place.
    heirs: Vec<(JobId, JobId)>,
}

struct Holder {
    job: JobId,
    /// It waits, and was not added by this call.
    may_be_replaced: bool,
    group: Option<String>,
    has_children: bool,
}

impl<'a> Plan<'a> {
    async fn read(
        connection: &mut SqliteConnection,
        jobs: &[Entry],
        now: Micros,
    ) -> Result<Self, StoreError> {
        let ids = list(jobs.iter().map(|entry| entry.id.as_uuid()));
        let known: Vec<Vec<u8>> = sqlx::query_scalar(sql::KNOWN)
            .bind(ids)
            .fetch_all(&mut *connection)
            .await?;
        Ok(Self {
            known: row::job_ids(&known)?.into_iter().collect(),
            holders: holders(connection, jobs, now).await?,
            added: Vec::with_capacity(jobs.len()),
            replaced: Vec::new(),
            heirs: Vec::new(),
        })
    }

    fn decide(&mut self, entry: &'a Entry, now: Micros) -> Enqueued {
        let new = entry.id;
        if self.known.contains(&new) {
            return Enqueued::Existing(new);
        }
        let mut replaced = None;
        if let Some(unique) = &entry.options.unique {
            if let Some(holder) = self.holders.get(&unique.key) {
                if unique.on_conflict == OnConflict::Keep || !holder.may_be_replaced {
                    return Enqueued::Existing(holder.job);
                }
                replaced = Some((holder.job, holder.group.clone()));
                if holder.has_children {
                    self.heirs.push((holder.job, new));
                }
            }
            let is_over = key_until(unique.span, now).is_some_and(|until| until <= now);
            if is_over {
                self.holders.remove(&unique.key);
            } else {
                let holder = Holder {
                    job: new,
                    may_be_replaced: false,
                    group: None,
                    has_children: false,
                };
                self.holders.insert(unique.key, holder);
            }
        }
        self.known.insert(new);
        self.added.push(entry);
        let Some((old, group)) = replaced else {
            return Enqueued::New(new);
        };
        self.known.remove(&old);
        self.replaced.push((old, group));
        Enqueued::Replaced { new, old }
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        now: Micros,
        stirred: &mut Stirred,
    ) -> Result<(), StoreError> {
        let heirs = self.heirs.iter().map(|(_, new)| *new).collect();
        let flows = flows::flows(&self.added, &heirs)?;
        for (old, group) in &self.replaced {
            unplace(connection, *old, group.as_deref(), stirred).await?;
        }
        if !self.replaced.is_empty() {
            let replaced = list(self.replaced.iter().map(|(old, _)| old.as_uuid()));
            let delete = sqlx::query(sql::DELETE).bind(replaced);
            delete.execute(&mut *connection).await?;
        }
        for (old, new) in &self.heirs {
            sqlx::query(sql::HAND_CHILDREN_ON)
                .bind(&old.as_uuid().as_bytes()[..])
                .bind(&new.as_uuid().as_bytes()[..])
                .execute(&mut *connection)
                .await?;
        }
        if self.added.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let rows: Vec<_> = self
            .added
            .iter()
            .map(|entry| Row::new(entry, flows.get(&entry.id).copied(), now, &mut bytes))
            .collect();
        let (mut ready, mut held, mut scheduled, mut unique) = (false, false, false, false);
        for row in &rows {
            let is_blocked = row.flow.is_some_and(|flow| flow & flows::IS_CHILD > 0);
            if !is_blocked {
                *(if row.run_at > now {
                    &mut scheduled
                } else if row.group_name.is_some() {
                    &mut held
                } else {
                    &mut ready
                }) = true;
            }
            unique |= row.key_at.is_some();
        }
        let rows = json(&rows)?;
        let add = sqlx::query(sql::ADD).bind(&rows).bind(&bytes).bind(now);
        add.execute(&mut *connection).await?;
        for (some, statement) in [
            (ready, sql::ADD_READY),
            (held, sql::ADD_HELD),
            (scheduled, sql::ADD_SCHEDULED),
        ] {
            if some {
                let place = sqlx::query(statement).bind(&rows).bind(now);
                place.execute(&mut *connection).await?;
            }
        }
        if unique {
            let take = sqlx::query(sql::TAKE_KEYS).bind(&rows).bind(&bytes);
            take.execute(&mut *connection).await?;
        }
        flows::block(connection, &self.added).await?;
        self.declare(connection, stirred).await
    }

    /// What is declared last of each group.
    async fn declare(
        &self,
        connection: &mut SqliteConnection,
        stirred: &mut Stirred,
    ) -> Result<(), StoreError> {
        let groups = self
            .added
            .iter()
            .filter_map(|entry| entry.options.group.as_ref());
        let groups: BTreeMap<_, _> = groups.map(|group| (&group.name, group.limits)).collect();
        for (name, limits) in groups {
            declare(connection, sql::DECLARE, name, limits).await?;
            stirred.insert(name.clone());
        }
        Ok(())
    }
}

/// A key, the job that holds it, whether that waits, its group and its flow.
type HolderRow = (Vec<u8>, Vec<u8>, bool, Option<String>, Option<u8>);

/// Who has the keys that these jobs want.
async fn holders(
    connection: &mut SqliteConnection,
    jobs: &[Entry],
    now: Micros,
) -> Result<HashMap<UniqueKey, Holder>, StoreError> {
    let wanted = jobs.iter().filter_map(|entry| entry.options.unique);
    let mut bytes = Vec::new();
    let keys: Vec<_> = wanted
        .map(|unique| put(&mut bytes, unique.key.as_bytes()))
        .collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let holders: Vec<HolderRow> = sqlx::query_as(sql::HOLDERS)
        .bind(json(&keys)?)
        .bind(bytes)
        .bind(now)
        .fetch_all(connection)
        .await?;
    let read = |(key, job, may_be_replaced, group, flow): HolderRow| {
        let key = <[u8; 32]>::try_from(key).map_err(|_| row::corrupt("a unique key is not one"))?;
        let holder = Holder {
            job: job_id(&job)?,
            may_be_replaced,
            group,
            has_children: flow.is_some_and(|flow| flow & flows::HAS_CHILDREN > 0),
        };
        Ok((UniqueKey::from_bytes(key), holder))
    };
    holders.into_iter().map(read).collect()
}

/// A job as the statements read it. `key_at` and `payload_at` are places in the bytes beside it.
#[derive(Serialize)]
struct Row<'a> {
    id: String,
    kind: &'a str,
    version: u16,
    queue: &'a str,
    priority_offset: Micros,
    max_attempts: u16,
    timeout: Option<Micros>,
    traceparent: Option<&'a str>,
    key_at: Option<usize>,
    key_until: Option<Micros>,
    span: Option<u8>,
    run_at: Micros,
    flow: Option<u8>,
    payload_at: usize,
    payload_bytes: usize,
    group_name: Option<&'a str>,
    group_limits: Option<String>,
}

impl<'a> Row<'a> {
    fn new(entry: &'a Entry, flow: Option<u8>, now: Micros, bytes: &mut Vec<u8>) -> Self {
        let options = &entry.options;
        let run_at = match options.run {
            _ if !entry.parents.is_empty() => now,
            Run::Now => now,
            Run::After(delay) => after(now, delay),
            Run::At(at) => row::run_at(unix_micros(at)),
        };
        let unique = options.unique.as_ref();
        Self {
            id: hex(entry.id.as_uuid()),
            kind: &entry.kind,
            version: entry.version,
            queue: options.queue.as_str(),
            priority_offset: row::micros(options.priority.offset()),
            max_attempts: options.max_attempts,
            timeout: options.timeout.map(row::micros),
            traceparent: entry.traceparent.as_deref(),
            key_at: unique.map(|unique| put(bytes, unique.key.as_bytes())),
            key_until: unique.and_then(|unique| key_until(unique.span, now)),
            span: unique.map(|unique| match unique.span {
                Span::UntilStart => 0,
                Span::UntilDone => 1,
                Span::For(_) => 2,
            }),
            run_at: run_at.max(now),
            flow,
            payload_at: put(bytes, &entry.payload),
            payload_bytes: entry.payload.len(),
            group_name: options.group.as_ref().map(|group| &*group.name),
            group_limits: options.group.as_ref().map(|group| declared(group.limits)),
        }
    }
}

/// Appends these, and says where they stand.
fn put(bytes: &mut Vec<u8>, more: &[u8]) -> usize {
    let at = bytes.len();
    bytes.extend_from_slice(more);
    at
}

fn key_until(span: Span, now: Micros) -> Option<Micros> {
    match span {
        Span::UntilStart | Span::UntilDone => None,
        Span::For(period) => Some(after(now, period)),
    }
}

pub(super) fn json(rows: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(rows)
        .map_err(|error| StoreError::new(StoreErrorKind::Refused, NAME, "write").with_source(error))
}
