use std::sync::Arc;
use std::time::Duration;

use purlin_jobs::testing::conformance::{Harness, TransactionalHarness, start};
use purlin_jobs::{JobAdmin, SqliteStore};
use purlin_store::sqlite::{Durability, SqliteConfig, begin_immediate};
use purlin_store::testing::ManualClock;
use purlin_testkit::TestFile;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

/// One file, opened twice as by two processes.
struct File {
    store: SqliteStore,
    second: SqliteStore,
    pool: SqlitePool,
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
    let pool = config.connect().await.unwrap();
    let other = config.connect().await.unwrap();
    let [store, second] =
        [pool.clone(), other].map(|pool| SqliteStore::new(pool).with_clock(clock.clone()));
    store.migrate().await.unwrap();
    Some(File {
        store,
        second,
        pool,
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

impl TransactionalHarness for File {
    type Connection = SqliteConnection;
    type Transaction = Transaction<'static, Sqlite>;
    type Store = SqliteStore;

    fn transactional_store(&self) -> &SqliteStore {
        &self.store
    }

    async fn begin(&self) -> Self::Transaction {
        begin_immediate(&self.pool).await.unwrap()
    }

    async fn commit(&self, transaction: Self::Transaction) {
        transaction.commit().await.unwrap();
    }

    async fn roll_back(&self, transaction: Self::Transaction) {
        transaction.rollback().await.unwrap();
    }

    fn waits_for_transactions(&self) -> bool {
        true
    }
}

mod contract {
    purlin_jobs::store_conformance!(super::file());
}

mod flows {
    purlin_jobs::flow_conformance!(super::file());
}

mod limited_flows {
    purlin_jobs::limited_flow_conformance!(super::file());
    purlin_jobs::transactional_limited_flow_conformance!(super::file());
}

mod limits {
    purlin_jobs::limit_store_conformance!(super::file());
    purlin_jobs::transactional_limit_store_conformance!(super::file());
}

mod transactions {
    purlin_jobs::transactional_store_conformance!(super::file());
}

mod flow_transactions {
    purlin_jobs::transactional_flow_conformance!(super::file());
}

mod schedules {
    purlin_jobs::schedule_conformance!(super::file());
}

mod notes {
    purlin_jobs::note_store_conformance!(super::file());
}

mod notes_in_transactions {
    purlin_jobs::transactional_note_store_conformance!(super::file());
}

#[test]
fn histories() {
    crate::model::compare(64, file);
}
