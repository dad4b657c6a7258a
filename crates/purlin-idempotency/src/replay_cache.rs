use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Answer, Fingerprint, RecordId, ScopeId};

/// Answers that this process has seen. A completed record does not change, so none can be stale;
/// only its erasure by another process has to reach this one, within [`MAX_AGE`].
#[derive(Default)]
pub(crate) struct ReplayCache(Mutex<Cached>);

/// How long an answer stays here, at most.
const MAX_AGE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Cached {
    entries: HashMap<RecordId, Entry>,
    // All live equally long, so that the oldest is the next to go.
    order: VecDeque<(RecordId, u64)>,
    weight: usize,
    inserted: u64,
    erasures: u64,
}

/// What is to be kept.
pub(crate) struct Kept {
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) answer: Arc<Answer>,
    pub(crate) remaining: Duration,
    /// [`ReplayCache::erasures`] from before the store was asked.
    pub(crate) erasures: u64,
}

struct Entry {
    fingerprint: Option<Fingerprint>,
    answer: Arc<Answer>,
    until: Instant,
    weight: usize,
    number: u64,
}

impl ReplayCache {
    pub(crate) fn get(&self, id: &RecordId) -> Option<(Option<Fingerprint>, Arc<Answer>)> {
        let cached = self.lock();
        let entry = cached.entries.get(id)?;
        (Instant::now() < entry.until).then(|| (entry.fingerprint, Arc::clone(&entry.answer)))
    }

    /// How often something was erased. What was read before the last time may have been erased since.
    pub(crate) fn erasures(&self) -> u64 {
        self.lock().erasures
    }

    pub(crate) fn insert(&self, id: RecordId, kept: Kept, max_bytes: usize) {
        let weight = kept.answer.weight();
        // One that takes much of the room would drive out many that are asked for as often.
        if weight > max_bytes / 8 {
            return;
        }
        let now = Instant::now();
        let mut cached = self.lock();
        if cached.erasures != kept.erasures {
            return;
        }
        cached.remove(&id);
        cached.inserted += 1;
        let number = cached.inserted;
        cached.weight += weight;
        cached.order.push_back((id, number));
        cached.entries.insert(
            id,
            Entry {
                fingerprint: kept.fingerprint,
                answer: kept.answer,
                until: now + kept.remaining.min(MAX_AGE),
                weight,
                number,
            },
        );
        cached.make_room(now, max_bytes);
    }

    pub(crate) fn remove_scope(&self, scope: ScopeId) {
        let mut cached = self.lock();
        cached.erasures += 1;
        let ids: Vec<_> = cached.entries.keys().copied().collect();
        for id in ids.iter().filter(|id| id.scope() == scope) {
            cached.remove(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cached {
    fn remove(&mut self, id: &RecordId) {
        if let Some(entry) = self.entries.remove(id) {
            self.weight -= entry.weight;
        }
    }

    fn make_room(&mut self, now: Instant, max_bytes: usize) {
        while let Some((id, number)) = self.order.front().copied() {
            let entry = self.entries.get(&id).filter(|entry| entry.number == number);
            match entry {
                Some(entry) if self.weight <= max_bytes && now < entry.until => break,
                Some(_) => self.remove(&id),
                // Removed before, or inserted once more.
                None => {}
            }
            self.order.pop_front();
        }
    }
}

impl fmt::Debug for ReplayCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cached = self.lock();
        f.debug_struct("ReplayCache")
            .field("answers", &cached.entries.len())
            .field("bytes", &cached.weight)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;
    use crate::Scope;

    const LONG: Duration = Duration::from_secs(3_600);

    fn id(principal: &str, key: u8) -> RecordId {
        RecordId::of("test", &Scope::principal(principal), &[key])
    }

    fn answer(bytes: usize) -> Arc<Answer> {
        let mut answer = Answer::new(StatusCode::OK);
        answer.body = Some(Bytes::from(vec![0; bytes]));
        Arc::new(answer)
    }

    fn kept(bytes: usize, remaining: Duration) -> Kept {
        Kept {
            fingerprint: None,
            answer: answer(bytes),
            remaining,
            erasures: 0,
        }
    }

    #[tokio::test]
    async fn the_oldest_make_room() {
        let cache = ReplayCache::default();
        let max_bytes = 16 * answer(1_000).weight();
        for key in 0..20 {
            cache.insert(id("a", key), kept(1_000, LONG), max_bytes);
        }
        let there: Vec<u8> = (0..20)
            .filter(|key| cache.get(&id("a", *key)).is_some())
            .collect();
        assert_eq!(there, (4..20).collect::<Vec<_>>());
        assert!(cache.lock().weight <= max_bytes);
        assert_eq!(cache.lock().order.len(), 16);
    }

    #[tokio::test]
    async fn inserted_again_it_counts_once() {
        let cache = ReplayCache::default();
        for _ in 0..100 {
            cache.insert(id("a", 1), kept(10, LONG), 1 << 20);
        }
        assert_eq!(cache.lock().weight, answer(10).weight());
        cache.insert(id("a", 2), kept(10, LONG), 1 << 20);
        assert!(cache.get(&id("a", 1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_outlives_its_record_or_the_greatest_age() {
        let cache = ReplayCache::default();
        let second = Duration::from_secs(1);
        cache.insert(id("a", 1), kept(10, second), 1 << 20);
        cache.insert(id("a", 2), kept(10, LONG), 1 << 20);
        tokio::time::advance(second).await;
        assert!(cache.get(&id("a", 1)).is_none());
        assert!(cache.get(&id("a", 2)).is_some());
        tokio::time::advance(MAX_AGE).await;
        assert!(cache.get(&id("a", 2)).is_none());
    }

    #[tokio::test]
    async fn a_scope_is_removed_and_no_other() {
        let cache = ReplayCache::default();
        cache.insert(id("a", 1), kept(10, LONG), 1 << 20);
        cache.insert(id("b", 1), kept(10, LONG), 1 << 20);
        cache.remove_scope(id("a", 1).scope());
        assert!(cache.get(&id("a", 1)).is_none());
        assert!(cache.get(&id("b", 1)).is_some());
        // Read before, and only here now.
        cache.insert(id("a", 1), kept(10, LONG), 1 << 20);
        assert!(cache.get(&id("a", 1)).is_none());
    }

    #[tokio::test]
    async fn a_limit_of_zero_keeps_nothing() {
        let cache = ReplayCache::default();
        cache.insert(id("a", 1), kept(0, LONG), 0);
        assert!(cache.get(&id("a", 1)).is_none());
    }
}
