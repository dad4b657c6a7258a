use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use purlin_idempotency::testing::conformance::{Harness, TransactionalHarness, start};
use purlin_idempotency::{IdempotencyStore, PostgresStore, RequestTransaction, TransactionalStore};
use purlin_store::postgres::PostgresConfig;
use purlin_store::testing::ManualClock;
use purlin_testkit::TestDatabase;
use sqlx::{PgPool, Postgres};

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
    sqlx::raw_sql("create table effects (name bigint not null)")
        .execute(&pool)
        .await
        .unwrap();
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

impl TransactionalHarness for Database {
    fn store(&self) -> Arc<dyn TransactionalStore> {
        Arc::new(self.store.clone())
    }

    fn second(&self) -> Arc<dyn TransactionalStore> {
        Arc::new(self.second.clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn write(&self, extensions: &Extensions, effect: u64) {
        let mut transaction = RequestTransaction::<Postgres>::take(extensions).unwrap();
        sqlx::query("insert into effects values ($1)")
            .bind(effect.cast_signed())
            .execute(&mut *transaction)
            .await
            .unwrap();
    }

    fn keep(&self, extensions: &Extensions) -> Box<dyn Any + Send> {
        Box::new(RequestTransaction::<Postgres>::take(extensions).unwrap())
    }

    async fn effects(&self, effect: u64) -> u64 {
        let count: i64 = sqlx::query_scalar("select count(*) from effects where name = $1")
            .bind(effect.cast_signed())
            .fetch_one(&self.pool)
            .await
            .unwrap();
        count.cast_unsigned()
    }
}

mod contract {
    purlin_idempotency::store_conformance!(super::database());
}

mod units_of_work {
    purlin_idempotency::transactional_store_conformance!(super::database());
}

#[test]
fn histories() {
    crate::histories::compare(64, database);
}
