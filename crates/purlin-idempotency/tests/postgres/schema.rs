//! The table: what is in it, where it is, who may use it, how it comes and goes.

use std::time::Duration;

use purlin_idempotency::store::{Begun, Claim, Fenced, Settled, TransactionalStore as _};
use purlin_idempotency::{IdempotencyStore as _, Inbox, PostgresStore, Received};
use purlin_store::{SchemaName, StoreErrorKind};
use purlin_testkit::{PostgresServer, TestDatabase};
use sqlx::{AssertSqlSafe, PgPool};

use crate::harness::{
    DAY, Db, MINUTE, acquired, answer, clock, completion, id, id_of, lease, pool, shared, worked,
};

type Row = (
    String,
    String,
    i16,
    i64,
    String,
    Option<String>,
    Option<i64>,
    i64,
    Option<String>,
);

async fn rows(pool: &PgPool) -> Vec<Row> {
    sqlx::query_as(
        "select encode(id, 'hex'), encode(scope, 'hex'), state, attempt, encode(nonce, 'hex'),
            encode(fingerprint, 'hex'), (extract(epoch from lease_until) * 1000000)::bigint,
            (extract(epoch from expires_at) * 1000000)::bigint, encode(answer, 'hex')
         from purlin_idempotency_records order by attempt",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

const ID: &str = "414ee969a51684b1d0fc0053fb3e8eb044f2637bd1420d96693b9d5473d5c788";
const SCOPE: &str = "7328943907179cc76cb06e2c93701501";
const NOW: i64 = 1_800_000_000_123_457;

/// Records of a release are read by the next one, and by the one before it.
#[tokio::test]
async fn a_record_looks_as_it_did_when_it_was_first_released() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id_of("alice", "golden");
    let claim = Claim::new(id, MINUTE).with_unresolved_ttl(DAY);
    let lease = acquired(db.store.claim(&claim).await.unwrap());
    let nonce: String = lease
        .nonce
        .as_bytes()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let micros = |duration: Duration| NOW + i64::try_from(duration.as_micros()).unwrap();
    let in_flight = (
        ID.to_owned(),
        SCOPE.to_owned(),
        0,
        1,
        nonce.clone(),
        None,
        Some(micros(MINUTE)),
        micros(DAY),
        None,
    );
    assert_eq!(rows(&db.pool).await, [in_flight]);

    let done = db.store.complete(&lease, &completion("done")).await;
    assert_eq!(done.unwrap(), Fenced::Applied);
    let completed = |fingerprint: Option<&str>, answer: &str| {
        (
            ID.to_owned(),
            SCOPE.to_owned(),
            1,
            1,
            nonce.clone(),
            fingerprint.map(|byte| byte.repeat(41)),
            None,
            micros(DAY),
            Some(answer.to_owned()),
        )
    };
    assert_eq!(rows(&db.pool).await, [completed(Some("01"), "646f6e65")]);

    assert_eq!(db.store.erase_scope(&id.scope()).await.unwrap(), 1);
    assert_eq!(rows(&db.pool).await, [completed(None, "")]);
}

/// What is in the table and was not written by this code is an error, never a claim.
#[tokio::test]
async fn a_record_that_cannot_be_read_is_corrupt() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    for damage in [
        "state = 7",
        "nonce = '\\x00'",
        "fingerprint = '\\x00'",
        "attempt = -1",
        "answer = null",
    ] {
        let unit = worked(&db.store, &id).await;
        let _ = unit.commit(&completion("done")).await.unwrap();
        let sql = format!("update purlin_idempotency_records set {damage}");
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&db.pool)
            .await
            .unwrap();
        let claim = Claim::new(id, MINUTE);
        for error in [
            db.store.get(&id).await.unwrap_err(),
            db.store.claim(&claim).await.unwrap_err(),
            db.store.begin(&id).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{damage}: {error:?}");
        }
        assert!(db.store.remove(&id).await.unwrap());
    }
}

#[tokio::test]
async fn there_and_back() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url(), 2).await;
    let store = PostgresStore::new(pool.clone());
    let tables = async || -> Vec<String> {
        sqlx::query_scalar(
            "select relname::text from pg_class where relname like 'purlin%' order by 1",
        )
        .fetch_all(&pool)
        .await
        .unwrap()
    };
    for error in [
        store.check_schema().await.unwrap_err(),
        store.get(&id(1)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Schema, "{error:?}");
    }
    assert_eq!(store.migrate().await.unwrap(), 1);
    assert_eq!(store.migrate().await.unwrap(), 1);
    store.check_schema().await.unwrap();
    assert_eq!(
        tables().await,
        [
            "purlin_idempotency_migrations",
            "purlin_idempotency_migrations_pkey",
            "purlin_idempotency_records",
            "purlin_idempotency_records_expires_at",
            "purlin_idempotency_records_pkey",
            "purlin_idempotency_records_scope",
        ]
    );
    assert_eq!(store.migrator().revert_to(&pool, 0).await.unwrap(), 0);
    assert_eq!(tables().await, Vec::<String>::new());

    // By hand.
    for (sql, there) in [
        (store.migrator().sql(0), true),
        (store.migrator().revert_sql(0), false),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(store.check_schema().await.is_ok(), there);
    }
    assert_eq!(tables().await, Vec::<String>::new());
}

/// A store is used through each of its calls.
async fn use_it(store: &PostgresStore, pool: &PgPool) {
    store.check_schema().await.unwrap();
    let done = completion("done");
    let first = lease(store, id("first")).await;
    assert_eq!(store.extend(&first, MINUTE).await.unwrap(), Fenced::Applied);
    assert_eq!(store.abandon(&first).await.unwrap(), Fenced::Applied);
    assert_eq!(
        store.complete(&first, &done).await.unwrap(),
        Fenced::Applied
    );
    let second = lease(store, id("second")).await;
    assert_eq!(store.release(&second).await.unwrap(), Fenced::Applied);

    let mut transaction = pool.begin().await.unwrap();
    let fenced = store.complete_in(&mut transaction, &second, &done).await;
    assert_eq!(fenced.unwrap(), Fenced::Applied);
    let received = store
        .receive_in(&mut transaction, &Inbox::new("mail"), b"1")
        .await;
    assert_eq!(received.unwrap(), Received::First);
    transaction.commit().await.unwrap();

    for (key, refuse) in [("third", false), ("fourth", true)] {
        let Begun::Started(mut unit) = store.begin(&id(key)).await.unwrap() else {
            panic!("nobody else is there");
        };
        drop(shared(&mut *unit));
        let settled = if refuse {
            unit.refuse(&done).await.unwrap()
        } else {
            unit.commit(&done).await.unwrap()
        };
        assert_eq!(settled, Settled::Applied);
        assert_eq!(answer(store, &id(key)).await, Some("done".into()));
    }
    assert_eq!(store.erase_scope(&id(1).scope()).await.unwrap(), 4);
    assert!(store.remove(&id("first")).await.unwrap());
    assert_eq!(store.purge_expired(10).await.unwrap(), 0);
}

/// A reserved word is a name like any other; what is in one schema is not seen from another.
#[tokio::test]
async fn in_a_schema_of_its_own() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url(), 5).await;
    sqlx::raw_sql("create schema tenant_7; create schema \"user\"")
        .execute(&pool)
        .await
        .unwrap();
    let in_schema =
        |name| PostgresStore::new(pool.clone()).with_schema(SchemaName::new(name).unwrap());
    for name in ["tenant_7", "user"] {
        let store = in_schema(name).with_clock(clock());
        store.migrate().await.unwrap();
        use_it(&store, &pool).await;
    }
    let id = id("both");
    let (one, other) = (in_schema("tenant_7"), in_schema("user"));
    let units = (
        crate::harness::started(&one, &id).await,
        crate::harness::started(&other, &id).await,
    );
    let done = completion("done");
    assert_eq!(units.0.commit(&done).await.unwrap(), Settled::Applied);
    assert_eq!(units.1.commit(&done).await.unwrap(), Settled::Applied);
    let error = PostgresStore::new(pool.clone()).check_schema().await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Schema);
}

/// One who owns the table, and one who may use it and do nothing else.
#[tokio::test]
async fn for_a_user_without_rights_to_spare() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let admin = pool(&server.url(), 1).await;
    sqlx::raw_sql(
        "create role owner_of_tables login; create role app login;
         create schema blocks authorization owner_of_tables; revoke all on schema public from public;",
    )
    .execute(&admin)
    .await
    .unwrap();
    let of = async |role: &str| {
        let pool = pool(&server.url().replace("postgres@", &format!("{role}@")), 3).await;
        let schema = SchemaName::new("blocks").unwrap();
        (PostgresStore::new(pool.clone()).with_schema(schema), pool)
    };
    let (owner, owners) = of("owner_of_tables").await;
    assert_eq!(owner.migrate().await.unwrap(), 1);

    let (app, apps) = of("app").await;
    assert_eq!(
        app.get(&id(1)).await.unwrap_err().kind(),
        StoreErrorKind::Refused
    );
    sqlx::raw_sql(
        "grant usage on schema blocks to app;
         grant select, insert, update, delete on blocks.purlin_idempotency_records to app;
         grant select on blocks.purlin_idempotency_migrations to app",
    )
    .execute(&owners)
    .await
    .unwrap();
    use_it(&app, &apps).await;
}
