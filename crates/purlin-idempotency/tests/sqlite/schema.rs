use std::error::Error as _;

use purlin_idempotency::store::{Completion, Nonce};
use purlin_idempotency::{Fingerprint, IdempotencyStore as _, SqliteStore};
use purlin_store::{SchemaError, StoreErrorKind};
use purlin_testkit::TestFile;
use sqlx::{AssertSqlSafe, SqlitePool};

use crate::harness::{HOUR, acquire, config, fingerprint, id, place};

async fn tables(pool: &SqlitePool) -> Vec<String> {
    sqlx::query_scalar("select name || ' ' || coalesce(sql, '') from sqlite_schema order by 1")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn forward_and_back_leaves_nothing_behind() {
    let file = TestFile::new();
    let pool = config(file.path()).connect().await.unwrap();
    let store = SqliteStore::new(pool.clone());
    let error = store.check_schema().await.unwrap_err();
    let reason = error.source().and_then(|source| source.downcast_ref());
    assert!(
        matches!(reason, Some(SchemaError::Missing { .. })),
        "{error:?}"
    );
    let error = store.get(&id(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema, "{error:?}");

    assert_eq!(store.migrate().await.unwrap(), 1);
    assert_eq!(
        store.migrate().await.unwrap(),
        1,
        "a second time does nothing"
    );
    store.check_schema().await.unwrap();
    acquire(&store, id(1)).await;

    assert_eq!(
        SqliteStore::migrator().revert_to(&pool, 0).await.unwrap(),
        0
    );
    assert_eq!(tables(&pool).await, [""; 0]);
    store.migrate().await.unwrap();
    store.check_schema().await.unwrap();
}

#[tokio::test]
async fn exported_sql_does_what_migrate_does() {
    let (by_hand, by_code) = (TestFile::new(), TestFile::new());
    let by_hand = config(by_hand.path()).connect().await.unwrap();
    let by_code = config(by_code.path()).connect().await.unwrap();
    SqliteStore::new(by_code.clone()).migrate().await.unwrap();
    let run = async |sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&by_hand)
            .await
            .unwrap();
    };
    run(SqliteStore::migrator().sql(0)).await;
    assert_eq!(tables(&by_hand).await, tables(&by_code).await);
    SqliteStore::new(by_hand.clone())
        .check_schema()
        .await
        .unwrap();
    run(SqliteStore::migrator().revert_sql(0)).await;
    assert_eq!(tables(&by_hand).await, [""; 0]);
}

/// A release must be able to read what the one before it has written.
#[tokio::test]
async fn rows_are_what_they_were() {
    let place = place().await;
    let mut lease = acquire(&place.store, id(1)).await;
    lease.nonce = Nonce::from_bytes(&[7; 16]).unwrap();
    sqlx::query("update purlin_idempotency set nonce = ?")
        .bind(&lease.nonce.as_bytes()[..])
        .execute(&place.pool)
        .await
        .unwrap();
    let row = async || -> String {
        sqlx::query_scalar(
            "select concat_ws(' ', quote(id), quote(scope), attempt, quote(nonce), quote(fingerprint),
                 quote(lease_until), expires_at, quote(answer), visible_until)
             from purlin_idempotency",
        )
        .fetch_one(&place.pool)
        .await
        .unwrap()
    };
    let key = "X'F97ED096C7EA9C348AF46AAB9B20D2AD8788E96EE8ACB7C670BF1F7E7AC21CF6' \
               X'A2D529CAA119FB5250B0B701E55F1E61' 1 X'07070707070707070707070707070707'";
    let in_flight = "NULL 1700000060000000 1702592000000000 NULL 1702592000000000";
    assert_eq!(row().await, format!("{key} {in_flight}"));
    let completion = Completion::new(fingerprint(0xAB), "{}".into(), HOUR);
    let _ = place.store.complete(&lease, &completion).await.unwrap();
    let fingerprint = "AB".repeat(Fingerprint::BYTES);
    let completed = format!("X'{fingerprint}' NULL 1700003600000000 X'7B7D' 1700003600000000");
    assert_eq!(row().await, format!("{key} {completed}"));
    place.store.erase_scope(&id(1).scope()).await.unwrap();
    let erased = "NULL NULL 1700003600000000 NULL 1700003600000000";
    assert_eq!(row().await, format!("{key} {erased}"));
}

#[tokio::test]
async fn a_row_that_is_not_one_is_corrupt() {
    let place = place().await;
    acquire(&place.store, id(1)).await;
    sqlx::query("update purlin_idempotency set fingerprint = x'00'")
        .execute(&place.pool)
        .await
        .unwrap();
    let error = place.store.get(&id(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
}
