use std::{
    collections::HashMap,
    fmt,
    hash::BuildHasher as _,
    hash::RandomState,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use purlin_store::{Clock, StoreError, StoreErrorKind, SystemClock};

use super::{Claim, Claimed, Completion, Entry, Existing, Fenced, IdempotencyStore, Lease};
use crate::{RecordId, ScopeId};

const NAME: &str = "memory";
const SHARDS: usize = 64;

/// Records in the memory of this process: for one instance, and for tests. They end with it.
///
/// Clones share the records. A store that is full forgets what has expired and then refuses
/// claims ([`Unavailable`](StoreErrorKind::Unavailable)): records that are visible are never evicted.
///
/// Each call is one lookup under the lock of one of 64 shards; `erase_scope` and `purge_expired` look
/// at all records, a shard at a time. Nothing awaits, so that no call can be dropped half-way.
#[derive(Clone)]
pub struct MemoryStore {
    shards: Arc<[Mutex<Shard>; SHARDS]>,
    hasher: RandomState,
    max_records: usize,
    clock: Arc<dyn Clock>,
}

type Shard = HashMap<RecordId, Entry>;

impl MemoryStore {
    /// An empty store for 100 000 records.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shards: Arc::new(std::array::from_fn(|_| Mutex::default())),
            hasher: RandomState::new(),
            max_records: 100_000,
            clock: Arc::new(SystemClock),
        }
    }

    /// For about this many records: each shard takes a 64th of them, one at least.
    #[must_use]
    pub fn with_max_records(mut self, max_records: usize) -> Self {
        self.max_records = max_records;
        self
    }

    /// Judges leases and expiry by this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How many records it holds, those that have expired and were not purged included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, id: &RecordId) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(id);
        lock(&self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()])
    }

    /// Runs `step` on the record of `id`, and forgets an entry that it leaves empty.
    fn on<T>(&self, id: &RecordId, step: impl FnOnce(&mut Option<Entry>) -> T) -> T {
        let mut shard = self.shard(id);
        let mut slot = shard.remove(id);
        let result = step(&mut slot);
        if let Some(entry) = slot {
            shard.insert(*id, entry);
        }
        result
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl IdempotencyStore for MemoryStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let now = self.clock.now();
        let room = (self.max_records / SHARDS).max(1);
        let mut shard = self.shard(&claim.id);
        if shard.len() >= room && !shard.contains_key(&claim.id) {
            shard.retain(|_, entry| !entry.is_expired(now));
            if shard.len() >= room {
                let error = StoreError::new(StoreErrorKind::Unavailable, NAME, "claim");
                return Err(error.with_source("the store is full"));
            }
        }
        drop(shard);
        Ok(self.on(&claim.id, |slot| Entry::claim(slot, now, claim)))
    }

    async fn extend(&self, lease: &Lease, ttl: Duration) -> Result<Fenced, StoreError> {
        let now = self.clock.now();
        Ok(self.on(&lease.id, |slot| Entry::extend(slot, now, lease, ttl)))
    }

    async fn complete(&self, lease: &Lease, completion: &Completion) -> Result<Fenced, StoreError> {
        let now = self.clock.now();
        Ok(self.on(&lease.id, |slot| {
            Entry::complete(slot, now, lease, completion)
        }))
    }

    async fn release(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        let now = self.clock.now();
        Ok(self.on(&lease.id, |slot| Entry::release(slot, now, lease)))
    }

    async fn abandon(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        let now = self.clock.now();
        Ok(self.on(&lease.id, |slot| Entry::abandon(slot, now, lease)))
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Existing>, StoreError> {
        let now = self.clock.now();
        Ok(self.on(id, |slot| Entry::get(slot, now)))
    }

    async fn remove(&self, id: &RecordId) -> Result<bool, StoreError> {
        let now = self.clock.now();
        Ok(self.on(id, |slot| Entry::remove(slot, now)))
    }

    async fn erase_scope(&self, scope: &ScopeId) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut erased = 0;
        for shard in self.shards.iter() {
            for (_, entry) in lock(shard)
                .iter_mut()
                .filter(|(id, _)| id.scope() == *scope)
            {
                erased += u64::from(entry.erase(now));
            }
        }
        Ok(erased)
    }

    async fn purge_expired(&self, limit: u32) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut purged = 0;
        for shard in self.shards.iter() {
            lock(shard).retain(|_, entry| {
                let goes = purged < u64::from(limit) && entry.is_expired(now);
                purged += u64::from(goes);
                !goes
            });
        }
        Ok(purged)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("records", &self.len())
            .field("max_records", &self.max_records)
            .finish_non_exhaustive()
    }
}
