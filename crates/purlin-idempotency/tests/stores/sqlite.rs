use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use purlin_idempotency::testing::conformance::{Harness, TransactionalHarness, start};
use purlin_idempotency::{IdempotencyStore, RequestTransaction, SqliteStore, TransactionalStore};
use purlin_store::sqlite::{Durability, SqliteConfig};
use purlin_store::testing::ManualClock;
use purlin_testkit::TestFile;
use sqlx::{Sqlite, SqlitePool};

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
    let pool = config.clone().connect().await.unwrap();
    let clock = ManualClock::new(start());
    let store = SqliteStore::new(pool.clone()).with_clock(clock.clone());
    store.migrate().await.unwrap();
    sqlx::raw_sql("create table effects (name integer not null) strict")
        .execute(&pool)
        .await
        .unwrap();
    let second = SqliteStore::new(config.connect().await.unwrap()).with_clock(clock.clone());
    Some(File {
        store,
        second,
        pool,
        clock,
        _file: file,
    })
}

impl Harness for File {
    fn store(&self) -> Arc<dyn IdempotencyStore> {
        Arc::new(self.store.clone())
    }

    fn second(&self) -> Arc<dyn IdempotencyStore> {
        Arc::new(self.second.clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

impl TransactionalHarness for File {
    fn store(&self) -> Arc<dyn TransactionalStore> {
        Arc::new(self.store.clone())
    }

    fn second(&self) -> Arc<dyn TransactionalStore> {
        Arc::new(self.store.clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn write(&self, extensions: &Extensions, effect: u64) {
        let mut transaction = RequestTransaction::<Sqlite>::take(extensions).unwrap();
        sqlx::query("insert into effects values (?)")
            .bind(effect.cast_signed())
            .execute(&mut *transaction)
            .await
            .unwrap();
    }

    fn keep(&self, extensions: &Extensions) -> Box<dyn Any + Send> {
        Box::new(RequestTransaction::<Sqlite>::take(extensions).unwrap())
    }

    async fn effects(&self, effect: u64) -> u64 {
        let count: i64 = sqlx::query_scalar("select count(*) from effects where name = ?")
            .bind(effect.cast_signed())
            .fetch_one(&self.pool)
            .await
            .unwrap();
        count.cast_unsigned()
    }

    fn excludes_writers(&self) -> bool {
        true
    }
}

mod contract {
    purlin_idempotency::store_conformance!(super::file());
}

mod units_of_work {
    purlin_idempotency::transactional_store_conformance!(super::file());
}

#[test]
fn histories() {
    crate::histories::compare(64, file);
}
