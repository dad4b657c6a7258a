use std::sync::Arc;
use std::time::Duration;

use purlin_jobs::testing::conformance::{Harness, TransactionalHarness, start};
use purlin_jobs::{JobAdmin, PostgresStore};
use purlin_store::postgres::PostgresConfig;
use purlin_store::testing::ManualClock;
use purlin_testkit::TestDatabase;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

/// One database, with two pools as of two instances.
struct Database {
    store: PostgresStore,
    second: PostgresStore,
    pool: PgPool,
    clock: ManualClock,
    _database: TestDatabase,
}

async fn connect(url: &str) -> PgPool {
    PostgresConfig::new(url)
        .unwrap()
        .with_max_connections(6)
        .with_acquire_timeout(Duration::from_secs(60))
        .connect()
        .await
        .unwrap()
}

async fn database() -> Option<Database> {
    let database = TestDatabase::create()?;
    let pool = connect(&database.url()).await;
    let clock = ManualClock::new(start());
    let store = PostgresStore::new(pool.clone()).with_clock(clock.clone());
    store.migrate().await.unwrap();
    let second = PostgresStore::new(connect(&database.url()).await).with_clock(clock.clone());
    Some(Database {
        store,
        second,
        pool,
        clock,
        _database: database,
    })
}

impl Harness for Database {
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

impl TransactionalHarness for Database {
    type Connection = PgConnection;
    type Transaction = Transaction<'static, Postgres>;
    type Store = PostgresStore;

    fn transactional_store(&self) -> &PostgresStore {
        &self.store
    }

    async fn begin(&self) -> Self::Transaction {
        self.pool.begin().await.unwrap()
    }

    async fn commit(&self, transaction: Self::Transaction) {
        transaction.commit().await.unwrap();
    }

    async fn roll_back(&self, transaction: Self::Transaction) {
        transaction.rollback().await.unwrap();
    }
}

mod contract {
    purlin_jobs::store_conformance!(super::database());
}

mod flows {
    purlin_jobs::flow_conformance!(super::database());
}

mod limited_flows {
    purlin_jobs::limited_flow_conformance!(super::database());
    purlin_jobs::transactional_limited_flow_conformance!(super::database());
}

mod limits {
    purlin_jobs::limit_store_conformance!(super::database());
    purlin_jobs::transactional_limit_store_conformance!(super::database());
}

mod transactions {
    purlin_jobs::transactional_store_conformance!(super::database());
}

mod flow_transactions {
    purlin_jobs::transactional_flow_conformance!(super::database());
}

mod schedules {
    purlin_jobs::schedule_conformance!(super::database());
}

mod notes {
    purlin_jobs::note_store_conformance!(super::database());
}

mod notes_in_transactions {
    purlin_jobs::transactional_note_store_conformance!(super::database());
}

#[test]
fn histories() {
    crate::model::compare(8, database);
}
