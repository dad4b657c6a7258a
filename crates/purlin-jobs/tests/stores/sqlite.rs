use std::sync::Arc;
use std::time::Duration;

use purlin_jobs::testing::conformance::{Harness, start};
use purlin_jobs::{JobAdmin, SqliteStore};
use purlin_store::sqlite::{Durability, SqliteConfig};
use purlin_store::testing::ManualClock;
use purlin_testkit::TestFile;

/// One file, opened twice as by two processes.
struct File {
    store: SqliteStore,
    second: SqliteStore,
    clock: ManualClock,
    _file: TestFile,
}

async fn file() -> Option<File> {
    let file = TestFile::new();
    // Nothing here loses its power, so that nothing has to wait for the disk.
    let config = SqliteConfig::new(file.path())
        .with_durability(Durability::ProcessCrash)
        .with_busy_timeout(Duration::from_secs(60));
    let clock = ManualClock::new(start());
    let open = async || {
        let pool = config.connect().await.unwrap();
        SqliteStore::new(pool).with_clock(clock.clone())
    };
    let (store, second) = (open().await, open().await);
    store.migrate().await.unwrap();
    Some(File {
        store,
        second,
        clock,
        _file: file,
    })
}

impl Harness for File {
    fn store(&self) -> Arc<dyn JobAdmin> {
        Arc::new(self.store.clone())
    }

    fn second(&self) -> Arc<dyn JobAdmin> {
        Arc::new(self.second.clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

mod contract {
    purlin_jobs::store_conformance!(super::file());
}
