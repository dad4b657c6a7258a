//! Jobs that are added.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use purlin_store::{StoreError, deadline};
use sqlx::postgres::{PgArguments, types::PgInterval};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row as _, SqlStr};
use uuid::Uuid;

use super::flows::{Flows, HAS_CHILDREN};
use super::limits::{at_most, burst, every};
use super::{NAME, PostgresStore, interval, row};
use crate::store::flows::check_parents;
use crate::store::{
    Enqueued, Entry, KeptResult, Note, Noted, Notes, Settled, TransactionalJobStore,
};
use crate::{Group, JobId, LeaseId, OnConflict, Run, Span, Unique, UniqueKey};

#[async_trait]
impl TransactionalJobStore<PgConnection> for PostgresStore {
    async fn enqueue_in(
        &self,
        connection: &mut PgConnection,
        jobs: &[Entry],
    ) -> Result<Vec<Enqueued>, StoreError> {
        let added = self.add(Some(connection), jobs);
        deadline(NAME, "enqueue in", self.timeout, added).await
    }

    async fn complete_in(
        &self,
        connection: &mut PgConnection,
        lease: LeaseId,
        job: JobId,
    ) -> Result<Settled, StoreError> {
        let completed = self.complete_joined(connection, lease, job);
        deadline(NAME, "complete in", self.timeout, completed).await
    }

    async fn recall_in(
        &self,
        connection: &mut PgConnection,
        job: JobId,
    ) -> Result<Option<Notes>, StoreError> {
        let notes = self.notes_of(Some(connection), job);
        deadline(NAME, "recall in", self.timeout, notes).await
    }

    async fn note_in(
        &self,
        connection: &mut PgConnection,
        lease: LeaseId,
        job: JobId,
        note: &Note,
    ) -> Result<Noted, StoreError> {
        let noted = self.note_joined(connection, lease, job, note);
        deadline(NAME, "note in", self.timeout, noted).await
    }

    async fn keep_in(
        &self,
        connection: &mut PgConnection,
        job: JobId,
        result: &KeptResult,
    ) -> Result<(), StoreError> {
        let kept = self.keep_joined(connection, job, result);
        deadline(NAME, "keep in", self.timeout, kept).await
    }
}

impl PostgresStore {
    /// Adds jobs in the transaction of `connection`, or else in one of their own.
    pub(super) async fn add(
        &self,
        connection: Option<&mut PgConnection>,
        jobs: &[Entry],
    ) -> Result<Vec<Enqueued>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        check_parents(NAME, jobs)?;
        let is_unique = jobs.iter().any(|job| job.options.unique.is_some());
        let is_flow = jobs.iter().any(|job| !job.parents.is_empty());
        match connection {
            _ if !is_unique && !is_flow => Ok(self.add_plain(connection, jobs).await?),
            Some(connection) => self.add_several(connection, jobs, &mut false).await,
            None => {
                let mut transaction = self.runner.begin("begin").await?;
                let mut is_stirred = jobs.iter().any(|job| job.options.group.is_some());
                let add = self.add_several(&mut transaction, jobs, &mut is_stirred);
                let enqueued = add.await?;
                if is_stirred {
                    self.open_mail(Some(&mut *transaction)).await?;
                }
                transaction.commit().await?;
                Ok(enqueued)
            }
        }
    }

    /// By several statements.
    async fn add_several(
        &self,
        connection: &mut PgConnection,
        jobs: &[Entry],
        is_stirred: &mut bool,
    ) -> Result<Vec<Enqueued>, StoreError> {
        let enqueued = if jobs.iter().any(|job| job.options.unique.is_some()) {
            self.add_unique(connection, jobs, is_stirred).await?
        } else {
            self.add_plain(Some(&mut *connection), jobs).await?
        };
        self.link(connection, jobs, &enqueued).await?;
        Ok(enqueued)
    }

    async fn add_plain(
        &self,
        connection: Option<&mut PgConnection>,
        jobs: &[Entry],
    ) -> Result<Vec<Enqueued>, sqlx::Error> {
        let mut seen = HashSet::with_capacity(jobs.len());
        let firsts: Vec<_> = jobs.iter().filter(|job| seen.insert(job.id)).collect();
        let flows = Flows::of(jobs);
        let mut added = self.insert(connection, &firsts, &flows).await?;
        let enqueued = jobs.iter().map(|job| {
            if added.remove(&job.id) {
                Enqueued::New(job.id)
            } else {
                Enqueued::Existing(job.id)
            }
        });
        Ok(enqueued.collect())
    }

    /// Adds jobs of different ids, and says which were not there.
    async fn insert(
        &self,
        connection: Option<&mut PgConnection>,
        jobs: &[&Entry],
        flows: &Flows,
    ) -> Result<HashSet<JobId>, sqlx::Error> {
        let row = if connection.is_some() {
            let query = self.insertion(&self.sql.enqueue_in, jobs, flows);
            self.runner.fetch_one(connection, query).await?
        } else {
            loop {
                let query = self.insertion(&self.sql.enqueue, jobs, flows);
                match self.runner.fetch_one(None, query).await {
                    // One of an id was added since the statement had begun: the next one sees it.
                    Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                    fetched => break fetched?,
                }
            }
        };
        self.heard(&row)?;
        if let Some(lowest) = row::micros(&row, "lowest")? {
            for job in jobs {
                self.low_water.lower(&job.options.queue, lowest);
            }
        }
        Ok(row::ids(&row)?.into_iter().collect())
    }

    fn insertion<'a>(
        &'a self,
        sql: &SqlStr,
        jobs: &[&'a Entry],
        flows: &Flows,
    ) -> Query<'a, Postgres, PgArguments> {
        let unique = |job: &&'a Entry| job.options.unique.as_ref();
        self.query(sql)
            .bind(column(jobs, |job| *job.id.as_uuid()))
            .bind(column(jobs, |job| &*job.kind))
            .bind(column(jobs, |job| job.version.cast_signed()))
            .bind(column(jobs, |job| &*job.payload))
            .bind(column(jobs, |job| job.traceparent.as_deref()))
            .bind(column(jobs, |job| job.options.queue.as_str()))
            .bind(column(jobs, |job| i16::from(job.options.priority.level())))
            .bind(column(jobs, max_attempts))
            .bind(column(jobs, timeout))
            .bind(column(jobs, after))
            .bind(column(jobs, at))
            .bind(column(jobs, |job| {
                unique(&job).map(|unique| unique.key.as_bytes().as_slice())
            }))
            .bind(column(jobs, |job| {
                unique(&job).map(|unique| span(unique.span))
            }))
            .bind(flows.column(jobs))
            .bind(&*self.channel)
            .bind(queue_of_all(jobs))
            .bind(of_groups(jobs, |group| Some(&*group.name)))
            .bind(of_groups(jobs, |group| at_most(group.limits)))
            .bind(of_groups(jobs, |group| every(group.limits.rate)))
            .bind(of_groups(jobs, |group| burst(group.limits.rate)))
    }

    /// As if one job were added after the other, but by as few statements as that can be done: first
    /// it is settled who has each key, then all are added that have theirs.
    async fn add_unique(
        &self,
        connection: &mut PgConnection,
        jobs: &[Entry],
        is_stirred: &mut bool,
    ) -> Result<Vec<Enqueued>, sqlx::Error> {
        let query = sqlx::query(self.sql.known.clone()).bind(uuids(jobs));
        let known = self.runner.fetch_all(Some(&mut *connection), query).await?;
        let known = known.iter().map(|row| row.try_get("id"));
        let known = known.collect::<Result<HashSet<Uuid>, _>>()?;

        let mut flows = Flows::of(jobs);
        let mut verdicts: HashMap<usize, Enqueued> = HashMap::new();
        let mut added: HashSet<JobId> = HashSet::new();
        let mut holders: HashMap<UniqueKey, JobId> = HashMap::new();
        let mut left: Vec<usize> = (0..jobs.len()).collect();
        while !left.is_empty() {
            let mut round = Vec::new();
            let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
            for index in std::mem::take(&mut left) {
                let job = &jobs[index];
                let key = job.options.unique.map(|unique| unique.key);
                let holder = key.and_then(|key| holders.get(&key).copied());
                // Whoever shares its id or key with one before waits for what becomes of that.
                let is_first = ids.insert(job.id) & key.is_none_or(|key| keys.insert(key));
                if !is_first {
                    left.push(index);
                } else if known.contains(job.id.as_uuid()) || added.contains(&job.id) {
                    verdicts.insert(index, Enqueued::Existing(job.id));
                } else if let Some(holder) = holder {
                    verdicts.insert(index, Enqueued::Existing(holder));
                } else {
                    round.push(index);
                }
            }
            let taken = self.take_keys(connection, jobs, round, is_stirred, &mut flows);
            for (index, verdict) in taken.await? {
                verdicts.insert(index, verdict);
                if let Enqueued::New(id) | Enqueued::Replaced { new: id, .. } = verdict {
                    added.insert(id);
                    // A period that is over at once excludes nobody.
                    if let Some(unique) = jobs[index].options.unique
                        && unique.span != Span::For(Duration::ZERO)
                    {
                        holders.insert(unique.key, id);
                    }
                }
            }
        }

        let new: Vec<_> = (0..jobs.len())
            .filter(|index| !matches!(verdicts[index], Enqueued::Existing(_)))
            .map(|index| &jobs[index])
            .collect();
        let inserted = self.insert(Some(connection), &new, &flows).await?;
        let verdict = |(index, job): (usize, &Entry)| match verdicts[&index] {
            // Somebody has added one of its id meanwhile.
            Enqueued::New(id) if !inserted.contains(&id) => Enqueued::Existing(job.id),
            verdict => verdict,
        };
        Ok(jobs.iter().enumerate().map(verdict).collect())
    }

    /// Takes the keys of jobs with different ones, or finds out who has them.
    async fn take_keys(
        &self,
        connection: &mut PgConnection,
        jobs: &[Entry],
        round: Vec<usize>,
        is_stirred: &mut bool,
        flows: &mut Flows,
    ) -> Result<Vec<(usize, Enqueued)>, sqlx::Error> {
        let mut verdicts = Vec::new();
        let mut left: Vec<(usize, Unique)> = Vec::new();
        for index in round {
            match jobs[index].options.unique {
                Some(unique) => left.push((index, unique)),
                None => verdicts.push((index, Enqueued::New(jobs[index].id))),
            }
        }
        while !left.is_empty() {
            let query = self
                .query(&self.sql.take_keys)
                .bind(uuids(left.iter().map(|(index, _)| &jobs[*index])))
                .bind(keys(left.iter().map(|(_, unique)| &unique.key)))
                .bind(Vec::from_iter(
                    left.iter().map(|(_, unique)| period(unique.span)),
                ));
            let rows = self.runner.fetch_all(Some(&mut *connection), query).await?;
            let taken = rows.iter().map(|row| row.try_get("job"));
            let taken = taken.collect::<Result<HashSet<Uuid>, _>>()?;
            left.retain(|(index, _)| {
                let id = jobs[*index].id;
                let is_taken = taken.contains(id.as_uuid());
                if is_taken {
                    verdicts.push((*index, Enqueued::New(id)));
                }
                !is_taken
            });
            if left.is_empty() {
                break;
            }
            let holders = self.holders(connection, &left).await?;
            let mut over = Vec::new();
            for (index, unique) in std::mem::take(&mut left) {
                match holders.get(unique.key.as_bytes().as_slice()) {
                    None => left.push((index, unique)),
                    Some((_, true)) => {
                        over.push(unique.key);
                        left.push((index, unique));
                    }
                    Some((holder, false)) => {
                        let id = jobs[index].id;
                        let changes = (&mut *is_stirred, &mut *flows);
                        let replace = self.stand_in(connection, *holder, id, &unique, changes);
                        match replace.await? {
                            Some(verdict) => verdicts.push((index, verdict)),
                            None => left.push((index, unique)),
                        }
                    }
                }
            }
            if !over.is_empty() {
                let query = self.query(&self.sql.drop_keys).bind(keys(over.iter()));
                self.runner.fetch_all(Some(&mut *connection), query).await?;
            }
        }
        Ok(verdicts)
    }

    /// Who has each key, and whether his time is over.
    async fn holders(
        &self,
        connection: &mut PgConnection,
        wanted: &[(usize, Unique)],
    ) -> Result<HashMap<Vec<u8>, (JobId, bool)>, sqlx::Error> {
        let wanted = keys(wanted.iter().map(|(_, unique)| &unique.key));
        let query = self.query(&self.sql.holders).bind(wanted);
        let rows = self.runner.fetch_all(Some(connection), query).await?;
        let holder = |row: &sqlx::postgres::PgRow| {
            let is_over: Option<bool> = row.try_get("is_over")?;
            let job = JobId::from_uuid(row.try_get("job")?);
            Ok((row.try_get("key")?, (job, is_over == Some(true))))
        };
        rows.iter().map(holder).collect()
    }

    /// What becomes of a job whose key is taken; `None` when the one that has it is on its way.
    async fn stand_in(
        &self,
        connection: &mut PgConnection,
        old: JobId,
        new: JobId,
        unique: &Unique,
        (is_stirred, flows): (&mut bool, &mut Flows),
    ) -> Result<Option<Enqueued>, sqlx::Error> {
        if unique.on_conflict == OnConflict::Keep {
            return Ok(Some(Enqueued::Existing(old)));
        }
        let query = self
            .query(&self.sql.replace)
            .bind(old.as_uuid())
            .bind(new.as_uuid())
            .bind(unique.key.as_bytes().as_slice())
            .bind(period(unique.span));
        let row = self.runner.fetch_one(Some(connection), query).await?;
        *is_stirred |= row.try_get::<bool, _>("is_stirred")?;
        if row.try_get("has_children")? {
            flows.add(new, HAS_CHILDREN);
        }
        Ok(if row.try_get("done")? {
            Some(Enqueued::Replaced { new, old })
        } else if row.try_get("has_moved")? {
            None
        } else {
            Some(Enqueued::Existing(old))
        })
    }
}

fn column<'a, T>(jobs: &[&'a Entry], of: impl Fn(&'a Entry) -> T) -> Vec<T> {
    jobs.iter().map(|job| of(job)).collect()
}

/// As [`column`], but empty when no job has a group, which stands for nulls.
fn of_groups<'a, T>(jobs: &[&'a Entry], of: impl Fn(&'a Group) -> Option<T>) -> Vec<Option<T>> {
    let group = |job: &'a Entry| job.options.group.as_ref();
    if jobs.iter().all(|job| group(job).is_none()) {
        return Vec::new();
    }
    column(jobs, |job| group(job).and_then(&of))
}

pub(super) fn uuids<'a>(jobs: impl IntoIterator<Item = &'a Entry>) -> Vec<Uuid> {
    jobs.into_iter().map(|job| *job.id.as_uuid()).collect()
}

fn keys<'a>(keys: impl Iterator<Item = &'a UniqueKey>) -> Vec<&'a [u8]> {
    keys.map(|key| key.as_bytes().as_slice()).collect()
}

fn max_attempts(job: &Entry) -> i16 {
    i16::try_from(job.options.max_attempts).unwrap_or(i16::MAX)
}

fn timeout(job: &Entry) -> Option<i64> {
    let micros = job.options.timeout?.as_micros();
    Some(i64::try_from(micros).unwrap_or(i64::MAX))
}

pub(super) fn after(job: &Entry) -> Option<PgInterval> {
    match job.options.run {
        Run::After(delay) => Some(interval(delay)),
        Run::Now | Run::At(_) => None,
    }
}

pub(super) fn at(job: &Entry) -> Option<PgInterval> {
    match job.options.run {
        Run::At(at) => Some(interval(at.duration_since(UNIX_EPOCH).unwrap_or_default())),
        Run::Now | Run::After(_) => None,
    }
}

fn span(span: Span) -> i16 {
    match span {
        Span::UntilStart => 0,
        Span::UntilDone => 1,
        Span::For(_) => 2,
    }
}

fn period(span: Span) -> Option<PgInterval> {
    match span {
        Span::For(period) => Some(interval(period)),
        Span::UntilStart | Span::UntilDone => None,
    }
}

/// The queue of these jobs; nothing when they have several, which stands for any.
fn queue_of_all<'a>(jobs: &[&'a Entry]) -> &'a str {
    let Some((first, rest)) = jobs.split_first() else {
        return "";
    };
    let queue = &first.options.queue;
    let is_only = rest.iter().all(|job| job.options.queue == *queue);
    if is_only { queue.as_str() } else { "" }
}
