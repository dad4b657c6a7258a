mod record;
mod scripts;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use purlin_store::redis::driver::Value;
use purlin_store::redis::{Invocation, KeySpace, RedisHandle, Script};
use purlin_store::{Clock, StoreError, StoreErrorKind, SystemClock};

use self::record::Record;
use self::scripts::Scripts;
use super::{Claim, Claimed, Completion, Existing, Fenced, IdempotencyStore, Lease, LeaseLost};
use crate::{RecordId, ScopeId};

const NAME: &str = "redis";
const KEY_PREFIX: &str = "purlin:idem";

/// As long as nobody will wait for, since a double counts microseconds exactly until 2255.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// For how much longer than it is visible Redis keeps a key whose value has the deadline that decides:
/// this is for a clock of a test that runs slower than the real one.
const KEPT_LONGER: Duration = Duration::from_secs(60);

/// Leases in Redis (feature `redis`, needs Redis 7.0 or Valkey): one node, sentinels or a cluster.
///
/// One string per record, at `<prefix>:{<scope>:<id>}`. In a cluster the records of a scope are
/// spread over all nodes. Clones share the connection. A user with an access list needs `EVALSHA`, `EVAL`,
/// `TIME`, `GET`, `SET`, `GETRANGE`, `SETRANGE`, `PEXPIRE`, `PTTL` and `UNLINK`, and for `erase_scope` `SCAN` and
/// in a cluster `INFO` and `CLUSTER SLOTS`.
///
/// # What Redis can lose
///
/// A record that is lost is a request that is executed again when it is retried. Redis answers before
/// a write is safe, and nothing here can change that:
///
/// - **Failover.** Replication is asynchronous. What the master has confirmed and the replica has
///   not received is gone when the replica is promoted: claims and answers of the last moments, or
///   of as long as the two were cut off from each other. `min-replicas-to-write` and
///   `min-replicas-max-lag` bound that time; they do not make it zero.
/// - **Restart.** Without an append-only file all records are gone since the last snapshot, or
///   altogether. With `appendfsync everysec` a power cut takes up to about a second, with `always`
///   nothing that was confirmed.
/// - **Eviction.** Every key here has an expiry, so all policies but `noeviction` may evict records,
///   those of work that is under way included. Use a Redis with `noeviction`, not the cache. It
///   refuses writes when it is full ([`Unavailable`](StoreErrorKind::Unavailable)), heartbeats and
///   completions included.
/// - **`FLUSHALL`, `FLUSHDB`**, and whoever deletes keys.
///
/// An owner whose record was lost may still complete it, if nobody has claimed the key again:
/// then his answer is kept. [`Lease::attempt`] begins at 1 again after a loss, so it is a fencing
/// token only for as long as nothing is lost. Where one of these must not happen twice, take a store
/// that commits the record with the effect: `PostgresStore` or `SqliteStore`.
///
/// # Round trips
///
/// One for each call, two the first time that a server sees a script.
/// [`erase_scope`](IdempotencyStore::erase_scope) looks at *all* keys of the database, some hundred a
/// trip, and needs one more for each record that it finds; keys that the cluster moves from one
/// node to another meanwhile may be missed. It is [`Unavailable`](StoreErrorKind::Unavailable) when a
/// node cannot be reached or was restarted, and is then to be asked again. Expired keys are collected
/// by Redis.
///
/// # Errors
///
/// Those of [`RedisHandle::run`], whose deadline holds for every trip. A value that is not a record is
/// [`Corrupt`](StoreErrorKind::Corrupt); [`remove`](IdempotencyStore::remove) makes way for a new one.
///
/// # Cancel safety
///
/// Every call is one script, which Redis runs to its end or not at all, whether or not somebody waits.
/// Of `erase_scope` each record is.
///
/// The driver of a *cluster* repeats what a node has not answered. A `release` that was executed twice
/// says [`Fenced::Lost`] and a `remove` `false`; all else gives the same answer again.
#[derive(Clone)]
pub struct RedisStore {
    redis: RedisHandle,
    keys: KeySpace,
    clock: Arc<dyn Clock>,
    scripts: Arc<Scripts>,
}

impl RedisStore {
    /// A store with keys that begin with `purlin:idem`. Connects with the first call.
    #[must_use]
    pub fn new(handle: RedisHandle) -> Self {
        Self {
            redis: handle,
            keys: KeySpace::new(KEY_PREFIX).expect("letters and a colon"),
            clock: Arc::new(SystemClock),
            scripts: Arc::new(Scripts::new()),
        }
    }

    /// With keys of another prefix, so that services that share a Redis do not share records.
    #[must_use]
    pub fn with_key_prefix(mut self, keys: KeySpace) -> Self {
        self.keys = keys;
        self
    }

    /// Judges leases and expiry by this clock; by default it is Redis' own `TIME`.
    ///
    /// Redis collects a key by real time, a minute after the durations given: a clock of a test must
    /// not stand still for longer.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn script<'a>(&self, script: &'a Script, id: &RecordId) -> Invocation<'a> {
        script
            .on(&[self.keys.key(&record::tag(id))])
            .clock(&*self.clock)
    }

    fn leased<'a>(&self, script: &'a Script, lease: &Lease) -> Invocation<'a> {
        self.script(script, &lease.id)
            .arg(record::owner(lease).as_slice())
    }

    /// Runs a script that says whether it has done it.
    async fn ask(
        &self,
        operation: &'static str,
        call: &Invocation<'_>,
    ) -> Result<bool, StoreError> {
        match self.redis.run(operation, call).await? {
            1 => Ok(true),
            0 => Ok(false),
            _ => Err(corrupt(operation)),
        }
    }

    async fn write(
        &self,
        operation: &'static str,
        call: &Invocation<'_>,
    ) -> Result<Fenced, StoreError> {
        Ok(if self.ask(operation, call).await? {
            Fenced::Applied
        } else {
            Fenced::Lost
        })
    }

    async fn erase(&self, key: &[u8]) -> Result<bool, StoreError> {
        let call = self.scripts.erase.on(&[key]).clock(&*self.clock);
        self.ask(ERASE, &call).await
    }
}

const ERASE: &str = "erase scope";

#[async_trait]
impl IdempotencyStore for RedisStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let head = record::claimed(claim);
        let call = self
            .script(&self.scripts.claim, &claim.id)
            .arg(micros(claim.lease_ttl))
            .arg(micros(claim.unresolved_ttl))
            .arg(kept_millis(claim.lease_ttl.max(claim.unresolved_ttl)))
            .arg(&head[..record::DEADLINES.start])
            .arg(&head[record::DEADLINES.end..])
            .arg(i32::from(claim.lease_lost == LeaseLost::Reexecute));
        match self.redis.run("claim", &call).await? {
            Value::Int(attempt) if attempt > 0 => Ok(Claimed::Acquired(Lease {
                id: claim.id,
                attempt: attempt.unsigned_abs(),
                nonce: claim.nonce,
            })),
            found => existing("claim", found).map(Claimed::Existing),
        }
    }

    async fn extend(&self, lease: &Lease, ttl: Duration) -> Result<Fenced, StoreError> {
        let call = self
            .leased(&self.scripts.extend, lease)
            .arg(micros(ttl))
            .arg(kept_millis(ttl));
        self.write("extend", &call).await
    }

    async fn complete(&self, lease: &Lease, completion: &Completion) -> Result<Fenced, StoreError> {
        let retention = micros(completion.retention);
        let expires_at = self.clock.override_micros();
        let expires_at = expires_at.map(|now| now.saturating_add(retention));
        let px = match expires_at {
            Some(_) => kept_millis(completion.retention),
            None => whole_millis(retention),
        };
        let call = self
            .leased(&self.scripts.complete, lease)
            .arg(px)
            .arg(record::Completed {
                lease,
                completion,
                expires_at,
            });
        self.write("complete", &call).await
    }

    async fn release(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        let call = self.leased(&self.scripts.release, lease);
        self.write("release", &call).await
    }

    async fn abandon(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        let call = self.leased(&self.scripts.abandon, lease);
        self.write("abandon", &call).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Existing>, StoreError> {
        let call = self.script(&self.scripts.get, id);
        match self.redis.run("get", &call).await? {
            Value::Nil => Ok(None),
            found => existing("get", found).map(Some),
        }
    }

    async fn remove(&self, id: &RecordId) -> Result<bool, StoreError> {
        let call = self.script(&self.scripts.remove, id);
        self.ask("remove", &call).await
    }

    async fn erase_scope(&self, scope: &ScopeId) -> Result<u64, StoreError> {
        let mut part = String::with_capacity(33);
        record::push_hex(&mut part, scope.as_bytes());
        part.push(':');
        let mut scan = self.redis.scan(ERASE, &self.keys.beginning_with(&part));
        let (mut erased, mut unreadable) = (0, None);
        while let Some(keys) = scan.next().await? {
            for key in keys {
                match self.erase(&key).await {
                    Ok(had_answer) => erased += u64::from(had_answer),
                    // The others are erased all the same.
                    Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                        unreadable = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        unreadable.map_or(Ok(erased), Err)
    }

    /// Always 0: Redis collects expired keys itself.
    async fn purge_expired(&self, _limit: u32) -> Result<u64, StoreError> {
        Ok(0)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("redis", &self.redis)
            .field("keys", &self.keys)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// Reads a record and how long it is so, as a script has seen it.
fn existing(operation: &'static str, found: Value) -> Result<Existing, StoreError> {
    let Value::Array(found) = found else {
        return Err(corrupt(operation));
    };
    let Ok([Value::Int(micros), Value::BulkString(record)]) = <[Value; 2]>::try_from(found) else {
        return Err(corrupt(operation));
    };
    let record = Record::decode(&Bytes::from(record)).ok_or_else(|| corrupt(operation))?;
    Ok(record.existing(micros))
}

fn corrupt(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, NAME, operation)
        .with_source("the value is not a record of this version")
}

fn micros(ttl: Duration) -> i64 {
    i64::try_from(ttl.min(LONGEST).as_micros()).unwrap_or(i64::MAX)
}

/// For how long Redis keeps what a script judges to be visible for `ttl`.
fn kept_millis(ttl: Duration) -> i64 {
    whole_millis(micros(ttl.min(LONGEST) + KEPT_LONGER))
}

/// Rounded up; Redis takes no 0.
fn whole_millis(micros: i64) -> i64 {
    micros / 1_000 + 1
}
