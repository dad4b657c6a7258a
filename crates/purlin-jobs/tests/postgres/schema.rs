//! The tables: what is in them, where they are, who may use them, how they come and go.

use bytes::Bytes;
use purlin_jobs::store::{JobAdmin as _, KeptResult, Note, NoteKind, NoteStore as _, Signalled};
use purlin_jobs::{
    JobId, JobStore as _, LeaseId, PostgresStore, QueueName, TransactionalJobStore as _, Unique,
    WorkerId,
};
use purlin_store::{SchemaName, StoreErrorKind};
use purlin_testkit::{PostgresServer, TestDatabase};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::harness::{
    DAY, Db, HOUR, MINUTE, claim_of, discard, job_with, pool, settlement, use_it,
};

/// Every row of a table, as Postgres writes it.
async fn rows(pool: &PgPool, table: &str) -> Vec<String> {
    let sql = format!("select t::text from purlin_jobs_{table} t order by 1");
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_all(pool)
        .await
        .unwrap()
}

/// Rows of a release are read by the next one, and by the one before it.
#[tokio::test]
async fn rows_look_as_they_did_when_they_were_first_released() {
    let Some(db) = Db::with_connections(1).await else {
        return;
    };
    sqlx::raw_sql("set timezone = 'UTC'")
        .execute(&db.pool)
        .await
        .unwrap();
    let id = |n| JobId::from_uuid(Uuid::from_u128(n));
    let mut first = job_with(|options| {
        options
            .with_queue(QueueName::new("mail").unwrap())
            .with_timeout(MINUTE)
            .with_unique(Unique::until_done("golden"))
    });
    first.id = id(1);
    first.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    let mut second = job_with(|options| {
        let key = Unique::for_period("golden period", DAY);
        options.with_delay(DAY).with_unique(key)
    });
    second.id = id(2);
    db.store.enqueue(&[first, second]).await.unwrap();
    let jobs = [
        r#"(00000000-0000-0000-0000-000000000001,"2027-01-15 08:00:00.123457+00",,,60000000,1,4,20,0,0,1,,f,,mail,send_receipt,"\\x7b226f72646572223a223031393264336634222c226c616e67223a31327d",00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01,"\\xdd56de4137951d9c92681b03416ec15f886b4482a27e3a517d32f085244cbe5d",,,)"#,
        r#"(00000000-0000-0000-0000-000000000002,"2027-01-15 08:00:00.123458+00","2027-01-16 08:00:00.123457+00",,,1,4,20,0,0,2,,f,,default,send_receipt,"\\x7b226f72646572223a223031393264336634222c226c616e67223a31327d",,"\\xdf93883967247530ccfe4b8331751ed1c24485bbeccb37fd041746808c5ed4e3",,,)"#,
    ];
    assert_eq!(rows(&db.pool, "jobs").await, jobs);
    let ready = r#"("2027-01-15 08:40:00.123457+00",00000000-0000-0000-0000-000000000001,mail,send_receipt)"#;
    assert_eq!(rows(&db.pool, "ready").await, [ready]);
    let scheduled = r#"(00000000-0000-0000-0000-000000000002,"2027-01-16 08:00:00.123457+00")"#;
    assert_eq!(rows(&db.pool, "scheduled").await, [scheduled]);
    let unique = [
        r#"("\\xdd56de4137951d9c92681b03416ec15f886b4482a27e3a517d32f085244cbe5d",00000000-0000-0000-0000-000000000001,)"#,
        r#"("\\xdf93883967247530ccfe4b8331751ed1c24485bbeccb37fd041746808c5ed4e3",00000000-0000-0000-0000-000000000002,"2027-01-16 08:00:00.123457+00")"#,
    ];
    assert_eq!(rows(&db.pool, "unique").await, unique);

    let worker = WorkerId::from_uuid(Uuid::from_u128(8));
    db.store.join(worker, HOUR).await.unwrap();
    let mut claim = claim_of(worker, 1);
    claim.lease = LeaseId::from_uuid(Uuid::from_u128(9));
    claim.queue = QueueName::new("mail").unwrap();
    assert_eq!(db.store.claim(&claim).await.unwrap().len(), 1);
    let alive = r#"(00000000-0000-0000-0000-000000000008,"2027-01-15 09:00:00.123457+00")"#;
    assert_eq!(rows(&db.pool, "workers").await, [alive]);
    let lease = "(00000000-0000-0000-0000-000000000009,00000000-0000-0000-0000-000000000008,{00000000-0000-0000-0000-000000000001})";
    assert_eq!(rows(&db.pool, "leases").await, [lease]);

    let value = Bytes::from_static(b"1");
    let signalled = db.store.signal(id(1), "paid", &value).await;
    assert_eq!(signalled.unwrap(), Signalled::Sent);
    let timer = Note {
        kind: NoteKind::Timer,
        name: "cool-off".to_owned(),
        value: None,
        due_in: Some(DAY),
    };
    db.store.note(claim.lease, id(1), &timer).await.unwrap();
    let notes = [
        r#"(00000000-0000-0000-0000-000000000001,"2027-01-15 08:00:00.123457+00","2027-01-16 08:00:00.123457+00",1,cool-off,)"#,
        r#"(00000000-0000-0000-0000-000000000001,"2027-01-15 08:00:00.123457+00",,3,paid,"\\x31")"#,
    ];
    assert_eq!(rows(&db.pool, "notes").await, notes);

    let dead = settlement(id(1), discard());
    db.store.settle(claim.lease, &dead).await.unwrap();
    let finished = r#"(00000000-0000-0000-0000-000000000001,"2027-01-15 08:00:00.123457+00",,"2027-01-15 08:00:00.123457+00","2027-01-15 08:00:00.123457+00",60000000,1,4,20,1,0,1,1,3,,mail,send_receipt,"\\x7b226f72646572223a223031393264336634222c226c616e67223a31327d",00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01,"\\xdd56de4137951d9c92681b03416ec15f886b4482a27e3a517d32f085244cbe5d","no such order",,)"#;
    assert_eq!(rows(&db.pool, "finished").await, [finished]);
    let mut connection = db.pool.acquire().await.unwrap();
    let result = KeptResult {
        value: Bytes::from_static(b"1"),
        ttl: DAY,
    };
    let kept = db.store.keep_in(&mut connection, id(3), &result);
    kept.await.unwrap();
    drop(connection);
    let result =
        r#"(00000000-0000-0000-0000-000000000003,"2027-01-16 08:00:00.123457+00","\\x31")"#;
    assert_eq!(rows(&db.pool, "results").await, [result]);
    assert!(db.store.pause(&QueueName::DEFAULT).await.unwrap());
    assert_eq!(rows(&db.pool, "queues").await, ["(default,t,,,)"]);
    for table in ["ready", "leases"] {
        assert_eq!(rows(&db.pool, table).await, Vec::<String>::new(), "{table}");
    }
}

/// What is in the tables and was not written by this code is an error, never a job.
#[tokio::test]
async fn a_job_that_cannot_be_read_is_corrupt() {
    let Some(db) = Db::create().await else {
        return;
    };
    let entry = job_with(|options| options);
    db.store
        .enqueue(std::slice::from_ref(&entry))
        .await
        .unwrap();
    for damage in [
        "failures = -1",
        "failures = 0, crashes = -1",
        "crashes = 0, queue = 'no name'",
    ] {
        let sql = format!("update purlin_jobs_jobs set {damage}");
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&db.pool)
            .await
            .unwrap();
        let error = db.store.get(entry.id).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{damage}: {error:?}");
    }
}

#[tokio::test]
async fn the_tables_come_and_go() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url(), 2).await;
    let store = PostgresStore::new(pool.clone());
    let relations = async || -> i64 {
        let sql = "select (select count(*) from pg_class where relname like 'purlin%')
            + (select count(*) from pg_proc where proname like 'purlin%')";
        sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap()
    };
    for error in [
        store.check_schema().await.unwrap_err(),
        store.counts(None).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Schema, "{error:?}");
    }
    assert_eq!(store.migrate().await.unwrap(), 1);
    assert_eq!(store.migrate().await.unwrap(), 1);
    store.check_schema().await.unwrap();
    // Seventeen tables and that of the migrations, seventeen keys (one of them the migrations'), twelve other indexes, a
    // sequence, a function.
    assert_eq!(relations().await, 49);
    assert_eq!(store.migrator().revert_to(&pool, 0).await.unwrap(), 0);
    assert_eq!(relations().await, 0);

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
    assert_eq!(relations().await, 0);
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
    let clock = crate::harness::clock();
    for name in ["tenant_7", "user"] {
        let store = PostgresStore::new(pool.clone())
            .with_schema(SchemaName::new(name).unwrap())
            .with_clock(clock.clone());
        store.migrate().await.unwrap();
        assert_eq!(store.counts(None).await.unwrap().ready, 0);
        use_it(&store, &pool, Some(&clock)).await;
    }
    let error = PostgresStore::new(pool.clone()).check_schema().await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Schema);
}

/// One who owns the tables, and one who may use them and do nothing else.
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
    let clock = crate::harness::clock();
    let of = async |role: &str| {
        let url = server.url().replace("postgres@", &format!("{role}@"));
        let pool = pool(&url, 3).await;
        let schema = SchemaName::new("blocks").unwrap();
        let store = PostgresStore::new(pool.clone()).with_schema(schema);
        (store.with_clock(clock.clone()), pool)
    };
    let (owner, owners) = of("owner_of_tables").await;
    assert_eq!(owner.migrate().await.unwrap(), 1);

    let (app, apps) = of("app").await;
    let error = app.counts(None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Refused);
    sqlx::raw_sql(
        "grant usage on schema blocks to app;
         grant select, insert, update, delete on blocks.purlin_jobs_jobs, blocks.purlin_jobs_ready,
            blocks.purlin_jobs_scheduled, blocks.purlin_jobs_leases, blocks.purlin_jobs_workers,
            blocks.purlin_jobs_unique, blocks.purlin_jobs_finished, blocks.purlin_jobs_queues,
            blocks.purlin_jobs_children, blocks.purlin_jobs_edges, blocks.purlin_jobs_schedules,
            blocks.purlin_jobs_notes, blocks.purlin_jobs_results, blocks.purlin_jobs_held,
            blocks.purlin_jobs_slots, blocks.purlin_jobs_groups, blocks.purlin_jobs_mail to app;
         grant select on blocks.purlin_jobs_migrations to app",
    )
    .execute(&owners)
    .await
    .unwrap();
    use_it(&app, &apps, Some(&clock)).await;
}
