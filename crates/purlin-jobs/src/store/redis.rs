mod admin;
mod record;
mod scripts;
mod wakeups;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use purlin_store::redis::driver::{FromRedisValue, Value};
use purlin_store::redis::{Invocation, KeySpace, RedisHandle, Script};
use purlin_store::{Clock, StoreError, StoreErrorKind, SystemClock};

use self::record::{New, Record, Wrong, corrupt, kept, micros};
use self::scripts::Scripts;
use super::{
    Beat, Claim, Claimed, Enqueued, Entry, Failure, JobStore, Outcome, Promoted, Rescue, Rescued,
    Settled, Settlement, Wakeups, no_notes,
};
use crate::{JobId, LeaseId, QueueName, WorkerId};

const NAME: &str = "redis";
const KEY_PREFIX: &str = "purlin:jobs";
const TAG: &str = "jobs";

/// How many jobs one script deals with, if its call may be divided.
const AT_ONCE: u64 = 500;

/// The parts of the keys, in the order in which scripts are given them.
const PARTS: [&str; 17] = [
    "jobs",
    "ids",
    "ready",
    "scheduled",
    "finished",
    "payloads",
    "leased",
    "leases",
    "left",
    "owned",
    "workers",
    "cancels",
    "unique",
    "periods",
    "paused",
    "counts",
    "wake",
];

/// Where among them the stream is that wakes workers.
const WAKE: usize = 16;

/// Jobs in Redis (feature `redis`, needs Redis 7.0 or Valkey): one node, sentinels or a cluster.
///
/// All keys begin with `<prefix>:{<tag>}`, so that they are on one node of a cluster; a store of another
/// tag may be on another. Clones share the connection. Ask [`check`](Self::check) when a service starts.
/// A user with an access list needs all of `@read`, `@write` and `@scripting` on these keys, and `INFO`:
/// a script that is refused a command in its midst stays half done.
///
/// # What Redis can lose
///
/// What a call has confirmed is in the memory of the server. How much of it a failure takes away is a
/// setting of the server, and nothing here can change it:
///
/// | | killed and restarted | loss of power |
/// |---|---|---|
/// | `appendonly no` | everything since the last snapshot, or all | the same |
/// | `appendfsync no` | nothing, unless the disk was busy | up to half a minute, as the kernel likes |
/// | `appendfsync everysec` | nothing, unless the disk was busy: up to two seconds | one or two seconds |
/// | `appendfsync always` | nothing | nothing, as far as the disk tells the truth |
///
/// So [`enqueue`](JobStore::enqueue) is durable with `always` alone. With `everysec` jobs of the last
/// seconds may be gone, and what had become of others is forgotten: what was done then runs again, and
/// what was claimed then is ready again. The log keeps scripts whole, so no job is lost in part, in two
/// places, or without its unique key.
///
/// - **Failover.** Replication is asynchronous: what the master has confirmed and the replica not received
///   is gone when that is promoted, whatever `appendfsync` says. `min-replicas-to-write` bounds it.
/// - **Eviction.** Any `maxmemory-policy` but `noeviction` may delete jobs, and `check` refuses it. A full
///   server refuses `enqueue`, `claim`, `join`, `heartbeat` and `replay`
///   ([`Unavailable`](StoreErrorKind::Unavailable)) and still takes settlements, `leave` and `rescue`,
///   which make room.
/// - **`FLUSHALL`, `FLUSHDB`**, and whoever deletes keys.
///
/// There is no transaction to join: where a job must commit with its cause, take `PostgresStore` or
/// `SqliteStore`.
///
/// # Round trips
///
/// Each call is one script and one round trip; two the first time that a server sees the script.
/// `settle`, `promote`, `purge_finished` and `list` take one for each 500 jobs, and `leave` and `rescue` begin
/// no further lease in a script that has had as many: a server does one thing at a time, and 500 jobs take
/// it some milliseconds. A call of `enqueue` or `claim` is never divided, however many jobs it has.
///
/// # Claims
///
/// Ready jobs stand by queue and kind, so that a claim reads none of a kind that it is not asked for. It
/// reads as many as it takes, and of several kinds up to 64 of each more.
///
/// # Wake-ups
///
/// A script that makes something ready of a kind of which a queue had nothing adds an entry to a stream of
/// 256. [`wakeups`](JobStore::wakeups) reads it on a connection of its own, on from where it was, so that a lost connection
/// loses no entry; but when the server has lost it, workers find the jobs by polling.
///
/// # Errors
///
/// Those of [`RedisHandle::run`], whose deadline holds for every trip; 500 ms by default is short for
/// batches of large payloads ([`RedisHandle::with_timeout`]). A value that is not a job is
/// [`Corrupt`](StoreErrorKind::Corrupt).
///
/// # Cancel safety
///
/// Every trip is one script, which Redis runs to its end or not at all, whether or not somebody waits.
/// The driver of a *cluster* repeats what a node has not answered, which the contract allows.
#[derive(Clone)]
pub struct RedisStore {
    redis: RedisHandle,
    space: KeySpace,
    tag: Arc<str>,
    keys: Arc<[String]>,
    clock: Arc<dyn Clock>,
    scripts: Arc<Scripts>,
}

impl RedisStore {
    /// A store whose keys begin with `purlin:jobs:{jobs}`. Connects with the first call.
    #[must_use]
    pub fn new(handle: RedisHandle) -> Self {
        let space = KeySpace::new(KEY_PREFIX).expect("letters and a colon");
        Self {
            redis: handle,
            keys: keys(&space, TAG),
            space,
            tag: TAG.into(),
            clock: Arc::new(SystemClock),
            scripts: Arc::new(Scripts::new()),
        }
    }

    /// With keys of another prefix, so that services that share a Redis do not share jobs.
    #[must_use]
    pub fn with_key_prefix(mut self, keys: KeySpace) -> Self {
        self.space = keys;
        self.keys = self::keys(&self.space, &self.tag);
        self
    }

    /// With another hash tag than `jobs`. All jobs of a store are on one node of a cluster, which the
    /// tag chooses: stores of other tags have other jobs, and may be on other nodes.
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.tag = tag.into();
        self.keys = keys(&self.space, tag);
        self
    }

    /// Judges times by this clock; by default it is Redis' own `TIME`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Says whether the server is one that keeps jobs: Redis 7.0 or later, with `maxmemory-policy
    /// noeviction`. Ask at start, on every service that uses the store.
    ///
    /// # Errors
    ///
    /// [`Refused`](StoreErrorKind::Refused) when it is not, with what is wrong as the source, and those
    /// of [`RedisHandle::run`].
    ///
    /// # Cancel safety
    ///
    /// Reads only.
    pub async fn check(&self) -> Result<(), StoreError> {
        let call = self.on(&self.scripts.check);
        let (server, memory): (String, String) = self.redis.run("check", &call).await?;
        let refused = |why: String| {
            Err(StoreError::new(StoreErrorKind::Refused, NAME, "check").with_source(why))
        };
        let version = field(&server, "redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|text| text.parse().ok());
        if major.is_none_or(|major: u32| major < 7) {
            return refused(format!("redis 7.0 is needed, and this is `{version}`"));
        }
        match field(&memory, "maxmemory_policy") {
            Some("noeviction") => Ok(()),
            policy => refused(format!(
                "maxmemory-policy must be noeviction, and is {}: it would delete jobs",
                policy.unwrap_or("not told")
            )),
        }
    }

    fn on<'a>(&self, script: &'a Script) -> Invocation<'a> {
        script.on(&self.keys)
    }

    fn timed<'a>(&self, script: &'a Script) -> Invocation<'a> {
        self.on(script).clock(&*self.clock)
    }

    fn apart_with(&self, redis: RedisHandle) -> Self {
        Self {
            redis,
            ..self.clone()
        }
    }

    /// Runs a script and reads its answer, of which errors say what was being done.
    async fn read<A: FromRedisValue, T>(
        &self,
        operation: &'static str,
        call: &Invocation<'_>,
        read: impl FnOnce(A) -> Result<T, Wrong> + Send,
    ) -> Result<T, StoreError> {
        let answer = self.redis.run(operation, call).await?;
        read(answer)
            .map_err(|Wrong(kind, why)| StoreError::new(kind, NAME, operation).with_source(why))
    }

    /// Takes the jobs of one worker, or of dead ones, until none are left.
    async fn forget(
        &self,
        operation: &'static str,
        leaves: Option<WorkerId>,
        rescue: &Rescue,
    ) -> Result<Rescued, StoreError> {
        let mut rescued = Rescued::default();
        loop {
            let mut call = self
                .timed(&self.scripts.forget)
                .arg(rescue.limit - rescued.workers)
                .arg(rescue.max_crashes)
                .arg(Failure::CRASHED)
                .arg(AT_ONCE);
            if let Some(worker) = leaves {
                call = call.arg(&worker.as_uuid().as_bytes()[..]);
            }
            let (workers, ready, dead, more): (u32, u32, u32, bool) =
                self.redis.run(operation, &call).await?;
            rescued.workers += workers;
            rescued.ready += ready;
            rescued.dead += dead;
            if !more {
                return Ok(rescued);
            }
        }
    }

    async fn settle_some(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        let letters = settlements.iter().map(|end| letter(&end.outcome));
        let letters: Option<Vec<u8>> = letters.collect();
        let letters = letters.ok_or_else(|| no_notes(NAME, "settle"))?;
        let mut call = self
            .timed(&self.scripts.settle)
            .arg(&lease.as_uuid().as_bytes()[..])
            .arg(&letters);
        for end in settlements {
            call = call.arg(&end.id.as_uuid().as_bytes()[..]);
        }
        for end in settlements {
            call = match &end.outcome {
                Outcome::Retry { after, error } => call.arg(micros(*after)).arg(kept(error)),
                Outcome::Discard { error } => call.arg(kept(error)),
                Outcome::Snooze { after } => call.arg(micros(*after)),
                _ => call,
            };
        }
        self.read("settle", &call, |said: Vec<u8>| {
            if said.len() != settlements.len() {
                return Err(corrupt("an answer for other jobs"));
            }
            let settled = said.iter().map(|said| match said {
                b'1' => Settled::Applied,
                _ => Settled::Stale,
            });
            Ok(settled.collect())
        })
        .await
    }
}

fn keys(space: &KeySpace, tag: &str) -> Arc<[String]> {
    PARTS.iter().map(|part| space.part(tag, part)).collect()
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// As `settle.lua` reads it. `None` is for stores that keep notes.
fn letter(outcome: &Outcome) -> Option<u8> {
    Some(match outcome {
        Outcome::Done => b'd',
        Outcome::Retry { .. } => b'r',
        Outcome::Discard { .. } => b'x',
        Outcome::Cancelled => b'c',
        Outcome::Snooze { .. } => b's',
        Outcome::Release => b'b',
        Outcome::DoneWith(_) | Outcome::Await { .. } => return None,
    })
}

#[async_trait]
impl JobStore for RedisStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn enqueue(&self, jobs: &[Entry]) -> Result<Vec<Enqueued>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut prefixes: Vec<Vec<u8>> = Vec::new();
        let mut prefix_at = HashMap::new();
        let mut news = Vec::with_capacity(jobs.len());
        for entry in jobs {
            let place = (&entry.options.queue, &*entry.kind);
            let at = match prefix_at.get(&place) {
                Some(at) => *at,
                None => {
                    prefixes.push(record::prefix(place.0, place.1)?);
                    prefix_at.insert(place, prefixes.len());
                    prefixes.len()
                }
            };
            news.push((entry.id, at, New::of(entry)?));
        }
        let mut call = self.timed(&self.scripts.enqueue).arg(prefixes.len());
        for prefix in &prefixes {
            call = call.arg(prefix);
        }
        for (id, at, new) in &news {
            call = call.arg(&id.as_uuid().as_bytes()[..]).arg(*at);
            call = call.arg(&new.when).arg(&new.body);
            if let Some(payload) = new.payload {
                call = call.arg(payload);
            }
            if let Some(unique) = &new.unique {
                call = call.arg(unique);
            }
        }
        self.read("enqueue", &call, |said: Vec<u8>| enqueued(jobs, &said))
            .await
    }

    async fn join(&self, worker: WorkerId, ttl: Duration) -> Result<(), StoreError> {
        let call = self
            .timed(&self.scripts.join)
            .arg(&worker.as_uuid().as_bytes()[..])
            .arg(micros(ttl));
        self.redis.run("join", &call).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        let mut call = self
            .timed(&self.scripts.claim)
            .arg(&claim.worker.as_uuid().as_bytes()[..])
            .arg(&claim.lease.as_uuid().as_bytes()[..])
            .arg(claim.queue.as_str())
            .arg(claim.limit);
        // Twice the same would be claimed twice.
        for kind in claim.kinds.iter().collect::<BTreeSet<_>>() {
            call = call.arg(record::prefix(&claim.queue, kind)?);
        }
        self.read("claim", &call, claimed).await
    }

    async fn settle(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        let mut settled = Vec::with_capacity(settlements.len());
        for some in settlements.chunks(AT_ONCE as usize) {
            settled.append(&mut self.settle_some(lease, some).await?);
        }
        Ok(settled)
    }

    async fn heartbeat(&self, worker: WorkerId, ttl: Duration) -> Result<Beat, StoreError> {
        let call = self
            .timed(&self.scripts.heartbeat)
            .arg(&worker.as_uuid().as_bytes()[..])
            .arg(micros(ttl));
        self.read("heartbeat", &call, |cancel: Option<Vec<u8>>| match cancel {
            None => Ok(Beat::Lost),
            Some(cancel) => Ok(Beat::Alive {
                cancel: record::ids(&cancel)?,
            }),
        })
        .await
    }

    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError> {
        let all = Rescue {
            limit: u32::MAX,
            max_crashes: u16::MAX,
        };
        self.forget("leave", Some(worker), &all).await.map(drop)
    }

    async fn rescue(&self, rescue: &Rescue) -> Result<Rescued, StoreError> {
        self.forget("rescue", None, rescue).await
    }

    async fn promote(&self, limit: u32) -> Result<Promoted, StoreError> {
        let mut jobs = 0;
        loop {
            let some = u64::from(limit - jobs).min(AT_ONCE);
            let call = self.timed(&self.scripts.promote).arg(some);
            let (promoted, next_in) = self.read("promote", &call, promoted).await?;
            jobs += promoted;
            if u64::from(promoted) < some || jobs >= limit {
                return Ok(Promoted { jobs, next_in });
            }
        }
    }

    fn apart(&self) -> Arc<dyn JobStore> {
        Arc::new(self.apart_with(self.redis.apart()))
    }

    async fn wakeups(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        Ok(Box::new(self.listen(queues).await?))
    }
}

/// What became of each: a letter, and after some of them an id.
fn enqueued(jobs: &[Entry], mut said: &[u8]) -> Result<Vec<Enqueued>, Wrong> {
    let wrong = || corrupt("an answer for other jobs");
    let mut enqueued = Vec::with_capacity(jobs.len());
    for job in jobs {
        let (letter, rest) = said.split_first().ok_or_else(wrong)?;
        said = rest;
        if *letter == b'n' {
            enqueued.push(Enqueued::New(job.id));
            continue;
        }
        let (other, rest) = said.split_at_checked(16).ok_or_else(wrong)?;
        said = rest;
        let (new, old) = (job.id, record::id(other)?);
        enqueued.push(match letter {
            b'r' => Enqueued::Replaced { new, old },
            _ => Enqueued::Existing(old),
        });
    }
    Ok(enqueued)
}

fn claimed(answer: Value) -> Result<Vec<Claimed>, Wrong> {
    let answer = match answer {
        Value::Int(-1) => {
            let why = "the worker is not known, or was taken for dead";
            return Err(Wrong(StoreErrorKind::Conflict, why));
        }
        Value::Array(answer) if answer.is_empty() => return Ok(Vec::new()),
        Value::Array(answer) => answer,
        _ => return Err(corrupt("a job is ready and not there")),
    };
    let Ok([ids, Value::Array(records)]) = <[Value; 2]>::try_from(answer) else {
        return Err(corrupt("jobs without records"));
    };
    let ids = record::ids(&bytes(ids)?)?.into_iter();
    let jobs = ids
        .zip(records)
        .map(|(id, record): (JobId, Value)| Record::decode(bytes(record)?)?.claimed(id));
    jobs.collect()
}

fn promoted(answer: (u32, Vec<u8>, Vec<u8>)) -> Result<(u32, Option<Duration>), Wrong> {
    let (jobs, next, now) = answer;
    if next.is_empty() {
        return Ok((jobs, None));
    }
    let time = |bytes: Vec<u8>| -> Result<i64, Wrong> {
        let bytes = bytes.try_into().map_err(|_| corrupt("a time is not one"))?;
        Ok(i64::from_be_bytes(bytes))
    };
    let left = time(next)?.saturating_sub(time(now)?);
    let left = Duration::from_micros(u64::try_from(left).unwrap_or_default());
    Ok((jobs, Some(left)))
}

fn bytes(value: Value) -> Result<Bytes, Wrong> {
    match value {
        Value::BulkString(bytes) => Ok(bytes.into()),
        _ => Err(corrupt("a value is not a string")),
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("redis", &self.redis)
            .field("keys", &self.space)
            .field("tag", &self.tag)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
