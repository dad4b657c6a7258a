use std::collections::{HashMap, HashSet};

use purlin_store::{StoreError, StoreErrorKind, unix_micros};
use serde::Serialize;
use sqlx::SqliteConnection;

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
) -> Result<Vec<Enqueued>, StoreError> {
    check_parents(NAME, jobs)?;
    let mut plan = Plan::read(connection, jobs, now).await?;
    let enqueued = jobs.iter().map(|entry| plan.decide(entry, now)).collect();
    plan.write(connection, now).await?;
    Ok(enqueued)
}

struct Plan<'a> {
    known: HashSet<JobId>,
    holders: HashMap<UniqueKey, Holder>,
    added: Vec<&'a Entry>,
    /// Jobs that waited before, and whose place was taken.
    replaced: Vec<JobId>,
    /// Those of them that others wait for, with who has their place.
    heirs: Vec<(JobId, JobId)>,
}

struct Holder {
    job: JobId,
    /// It waits, and was not added by this call.
    may_be_replaced: bool,
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
                replaced = Some(holder.job);
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
                    has_children: false,
                };
                self.holders.insert(unique.key, holder);
            }
        }
        self.known.insert(new);
        self.added.push(entry);
        let Some(old) = replaced else {
            return Enqueued::New(new);
        };
        self.known.remove(&old);
        self.replaced.push(old);
        Enqueued::Replaced { new, old }
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        now: Micros,
    ) -> Result<(), StoreError> {
        let heirs = self.heirs.iter().map(|(_, new)| *new).collect();
        let flows = flows::flows(&self.added, &heirs)?;
        for old in &self.replaced {
            for statement in [sql::UNREADY, sql::UNSCHEDULE] {
                let remove = sqlx::query(statement).bind(&old.as_uuid().as_bytes()[..]);
                remove.execute(&mut *connection).await?;
            }
        }
        if !self.replaced.is_empty() {
            let replaced = list(self.replaced.iter().map(JobId::as_uuid));
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
        let (mut ready, mut scheduled, mut unique) = (false, false, false);
        for row in &rows {
            let is_blocked = row.flow.is_some_and(|flow| flow & flows::IS_CHILD > 0);
            scheduled |= !is_blocked && row.run_at > now;
            ready |= !is_blocked && row.run_at <= now;
            unique |= row.key_at.is_some();
        }
        let rows = json(&rows)?;
        let add = sqlx::query(sql::ADD).bind(&rows).bind(&bytes).bind(now);
        add.execute(&mut *connection).await?;
        for (some, statement) in [(ready, sql::ADD_READY), (scheduled, sql::ADD_SCHEDULED)] {
            if some {
                let place = sqlx::query(statement).bind(&rows).bind(now);
                place.execute(&mut *connection).await?;
            }
        }
        if unique {
            let take = sqlx::query(sql::TAKE_KEYS).bind(&rows).bind(&bytes);
            take.execute(&mut *connection).await?;
        }
        flows::block(connection, &self.added).await
    }
}

/// A key, the job that has it, whether that may be replaced, and its flow.
type Found = (Vec<u8>, Vec<u8>, bool, Option<u8>);

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
    let holders: Vec<Found> = sqlx::query_as(sql::HOLDERS)
        .bind(json(&keys)?)
        .bind(bytes)
        .bind(now)
        .fetch_all(connection)
        .await?;
    let read = |(key, job, may_be_replaced, flow): Found| {
        let key = <[u8; 32]>::try_from(key).map_err(|_| row::corrupt("a unique key is not one"))?;
        let holder = Holder {
            job: job_id(&job)?,
            may_be_replaced,
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
