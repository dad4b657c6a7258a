use std::time::Duration;

use async_trait::async_trait;
use purlin_store::redis::driver::Value;
use purlin_store::{StoreError, StoreErrorKind};

use super::record::{self, Record, Wrong, corrupt, micros};
use super::{AT_ONCE, NAME, RedisStore, bytes};
use crate::store::{Counts, Filter, JobAdmin, JobView, Page};
use crate::{JobId, QueueName};

#[async_trait]
impl JobAdmin for RedisStore {
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let call = self.on(&self.scripts.get).arg(&id.as_uuid().as_bytes()[..]);
        self.read("get", &call, |found: Value| {
            let Value::Array(found) = found else {
                return Ok(None);
            };
            let [letter, found] = pair(found)?;
            let state = record::state(*bytes(letter)?.first().unwrap_or(&0))?;
            Record::decode(bytes(found)?)?.view(id, state).map(Some)
        })
        .await
    }

    /// In parts of 500 jobs that are looked at, each of one moment.
    async fn list(&self, filter: &Filter, page: &Page) -> Result<Vec<JobView>, StoreError> {
        let mut views = Vec::new();
        let mut after = page.after.map(|id| id.as_uuid().as_bytes().to_vec());
        loop {
            let call = self
                .on(&self.scripts.list)
                .arg(after.unwrap_or_default())
                .arg(filter.queue.as_ref().map_or("", QueueName::as_str))
                .arg(filter.kind.as_deref().unwrap_or_default())
                .arg(filter.state.map_or("", record::letter))
                .arg(usize::from(page.limit) - views.len())
                .arg(AT_ONCE);
            let last = self
                .read("list", &call, |mut found: Vec<Value>| {
                    let last = found.pop().ok_or_else(|| corrupt("no answer"))?;
                    for view in found {
                        views.push(listed(view)?);
                    }
                    bytes(last)
                })
                .await?;
            if last.is_empty() || views.len() >= page.limit.into() {
                return Ok(views);
            }
            after = Some(last.into());
        }
    }

    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError> {
        let call = self
            .timed(&self.scripts.counts)
            .arg(queue.map_or("", QueueName::as_str));
        self.read(
            "counts",
            &call,
            |found: (Vec<(String, i64)>, u64, String)| {
                let (of_queues, ready, waited) = found;
                let mut counts = Counts {
                    ready,
                    ..Counts::default()
                };
                let waited = waited.parse::<i64>().ok();
                counts.oldest_ready =
                    waited.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
                for (name, jobs) in of_queues {
                    let (letter, of) = name.split_at_checked(1).unwrap_or_default();
                    if queue.is_some_and(|queue| queue.as_str() != of) {
                        continue;
                    }
                    *match letter {
                        "s" => &mut counts.scheduled,
                        "l" => &mut counts.leased,
                        "d" => &mut counts.dead,
                        "c" => &mut counts.cancelled,
                        _ => return Err(corrupt("an unknown count")),
                    } += u64::try_from(jobs).unwrap_or_default();
                }
                Ok(counts)
            },
        )
        .await
    }

    async fn cancel(&self, id: JobId) -> Result<bool, StoreError> {
        let call = self
            .timed(&self.scripts.cancel)
            .arg(&id.as_uuid().as_bytes()[..]);
        self.redis.run("cancel", &call).await
    }

    async fn replay(&self, id: JobId) -> Result<bool, StoreError> {
        let call = self
            .timed(&self.scripts.replay)
            .arg(&id.as_uuid().as_bytes()[..]);
        match self.redis.run("replay", &call).await? {
            -1_i64 => Err(StoreError::new(StoreErrorKind::Conflict, NAME, "replay")
                .with_source("another job holds its unique key")),
            replayed => Ok(replayed == 1),
        }
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let call = self.on(&self.scripts.pause).arg(queue.as_str()).arg(1);
        self.redis.run("pause", &call).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let call = self.on(&self.scripts.pause).arg(queue.as_str()).arg(0);
        self.redis.run("resume", &call).await
    }

    async fn purge_finished(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let mut purged = 0;
        loop {
            let some = (u64::from(limit) - purged).min(AT_ONCE);
            let call = self.timed(&self.scripts.purge).arg(micros(age)).arg(some);
            let rows: u64 = self.redis.run("purge finished", &call).await?;
            purged += rows;
            if rows < some || purged >= limit.into() {
                return Ok(purged);
            }
        }
    }
}

/// Letter, id and record in one.
fn listed(found: Value) -> Result<JobView, Wrong> {
    let mut found = bytes(found)?;
    if found.len() < 17 {
        return Err(corrupt("a job is too short"));
    }
    let state = record::state(found.split_to(1)[0])?;
    let id = record::id(&found.split_to(16))?;
    Record::decode(found)?.view(id, state)
}

fn pair(found: Vec<Value>) -> Result<[Value; 2], Wrong> {
    found.try_into().map_err(|_| corrupt("not two values"))
}
