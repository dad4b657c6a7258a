use std::sync::Arc;

use purlin_jobs::testing::conformance::{Harness, start};
use purlin_jobs::{JobAdmin, MemoryStore};
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
    fn store(&self) -> Arc<dyn JobAdmin> {
        Arc::new(self.store.clone())
    }

    fn second(&self) -> Arc<dyn JobAdmin> {
        Arc::new(self.store.clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

mod contract {
    purlin_jobs::store_conformance!(super::memory());
}

mod flows {
    purlin_jobs::flow_conformance!(super::memory());
}

mod schedules {
    purlin_jobs::schedule_conformance!(super::memory());
}

mod limited_flows {
    purlin_jobs::limited_flow_conformance!(super::memory());
}

mod limits {
    purlin_jobs::limit_store_conformance!(super::memory());
}

mod notes {
    purlin_jobs::note_store_conformance!(super::memory());
}

#[test]
fn histories() {
    crate::model::compare(256, memory);
}
