//! How the server executes the statements once the table is large.

use std::collections::BTreeMap;

use purlin_idempotency::store::{Claim, TransactionalStore as _};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost, PostgresStore};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::harness::{Db, MINUTE, completion, id, lease, pool};
use crate::wire::Wire;

const ROWS: &str = "insert into purlin_idempotency_records
    select sha256(n::text::bytea), substring(sha256((n % 1000)::text::bytea) for 16),
        case when n % 10 = 0 then 0 else 1 end, 1, substring(sha256(n::text::bytea) for 16),
        case when n % 10 > 0 then decode(repeat('10', 41), 'hex') end,
        case when n % 10 = 0 then clock_timestamp() end,
        clock_timestamp() + n * interval '1 second', case when n % 10 > 0 then '\\xaa'::bytea end
    from generate_series(1, 100000) n";

/// The text of every statement, as it goes over the wire, by the call that sends it.
async fn statements(db: &Db) -> BTreeMap<&'static str, Vec<String>> {
    let url = db.database.url();
    let wire = Wire::before(url.split(['@', '/']).nth(3).unwrap()).await;
    let pool = pool(&wire.url(&url), 1).await;
    let store = PostgresStore::new(pool).with_clock(db.clock.clone());
    let mut texts = BTreeMap::new();
    let mut sent = |call| {
        let parsed = wire.take().parsed;
        assert!(!parsed.is_empty(), "{call} has prepared nothing");
        texts.insert(call, parsed);
    };
    let late = lease(&store, id(1)).await;
    sent("claim");
    db.clock.advance(MINUTE);
    let again = Claim::new(id(1), MINUTE).with_lease_lost(LeaseLost::Reexecute);
    let current = crate::harness::acquired(store.claim(&again).await.unwrap());
    sent("take over");
    let _ = store.extend(&current, MINUTE).await.unwrap();
    sent("extend");
    let _ = store.abandon(&current).await.unwrap();
    sent("abandon");
    // Both statements.
    let _ = store.complete(&late, &completion("late")).await.unwrap();
    sent("complete");
    let _ = store.release(&current).await.unwrap();
    sent("release");
    let _ = store.get(&id(1)).await.unwrap();
    sent("get");
    let _ = store.remove(&id(1)).await.unwrap();
    sent("remove");
    let _ = store.erase_scope(&id(1).scope()).await.unwrap();
    sent("erase");
    let _ = store.purge_expired(1).await.unwrap();
    sent("purge");
    let _ = store.begin(&id(1)).await.unwrap();
    sent("begin");
    texts
}

#[tokio::test]
async fn every_statement_uses_an_index_of_a_large_table() {
    let Some(db) = Db::create().await else {
        return;
    };
    let statements = statements(&db).await;
    let texts: Vec<_> = statements.values().flatten().collect();
    assert_eq!(texts.len(), 12, "every statement of the store");
    sqlx::raw_sql(ROWS).execute(&db.pool).await.unwrap();
    sqlx::raw_sql("vacuum analyze purlin_idempotency_records")
        .execute(&db.pool)
        .await
        .unwrap();

    let mut connection = PgConnection::connect(&db.database.url()).await.unwrap();
    // A plan that holds for all values of the parameters, which are null here.
    run(
        &mut connection,
        "set plan_cache_mode = force_generic_plan".to_owned(),
    )
    .await;
    for (call, texts) in statements {
        let index = match call {
            "erase" => "purlin_idempotency_records_scope",
            "purge" => "purlin_idempotency_records_expires_at",
            _ => "purlin_idempotency_records_pkey",
        };
        for text in texts {
            let plan = plan(&mut connection, &text).await;
            let on_table: Vec<_> = plan
                .iter()
                .filter(|line| line.contains(" on purlin_idempotency_records"))
                .collect();
            assert!(
                plan.iter().any(|line| line.contains(index)),
                "{call}: {plan:#?}"
            );
            assert!(
                !on_table.iter().any(|line| line.contains("Seq Scan")),
                "{call}: {plan:#?}"
            );
        }
    }
}

async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}

async fn plan(connection: &mut PgConnection, text: &str) -> Vec<String> {
    run(connection, format!("prepare statement as {text}")).await;
    let parameters: i32 = sqlx::query_scalar(
        "select cardinality(parameter_types) from pg_prepared_statements where name = 'statement'",
    )
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    let nulls = vec!["null"; usize::try_from(parameters).unwrap()].join(", ");
    let explain = format!("explain execute statement({nulls})");
    let plan = sqlx::raw_sql(AssertSqlSafe(explain))
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    run(connection, "deallocate statement".to_owned()).await;
    plan.iter().map(|row| sqlx::Row::get(row, 0)).collect()
}

/// The planner's estimate is one thing, what it reads another: a batch reads a batch.
#[tokio::test]
async fn a_purge_reads_no_more_than_its_batch() {
    let Some(db) = Db::create().await else {
        return;
    };
    sqlx::raw_sql(ROWS).execute(&db.pool).await.unwrap();
    // The rows end in the next 28 hours of the real time, which the test clock is past.
    let store = db.store.clone();
    assert_eq!(store.purge_expired(1_000).await.unwrap(), 1_000);
    let left: i64 = sqlx::query_scalar("select count(*) from purlin_idempotency_records")
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(left, 99_000);
    let oldest: i64 = sqlx::query_scalar(
        "select count(*) from purlin_idempotency_records
         where id in (select sha256(n::text::bytea) from generate_series(1, 1000) n)",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert_eq!(oldest, 0, "the oldest go first");
}
