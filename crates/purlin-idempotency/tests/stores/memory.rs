use std::sync::Arc;

use purlin_idempotency::testing::conformance::{Harness, start};
use purlin_idempotency::{IdempotencyStore, MemoryStore};
use purlin_store::testing::ManualClock;

struct Memory {
    store: MemoryStore,
    clock: ManualClock,
}

async fn memory() -> Option<Memory> {
    let clock = ManualClock::new(start());
    let store = MemoryStore::new().with_clock(clock.clone());
    Some(Memory { store, clock })
}

impl Harness for Memory {
    fn store(&self) -> Arc<dyn IdempotencyStore> {
        Arc::new(self.store.clone())
    }

    fn second(&self) -> Arc<dyn IdempotencyStore> {
        Arc::new(self.store.clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

mod contract {
    purlin_idempotency::store_conformance!(super::memory());
}

#[test]
fn histories() {
    crate::histories::compare(512, memory);
}
