//! Migrations on a real Postgres.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::process::{Command, Stdio};
use std::time::Duration;

use purlin_store::postgres::{Pooling, PostgresConfig};
use purlin_store::testing::{Dropped, drop_at_every_await};
use purlin_store::{
    Migration, Migrations, PostgresMigrator, SchemaError, SchemaName, StoreError, StoreErrorKind,
};
use purlin_testkit::{FaultProxy, PgBouncer, PostgresServer, TestDatabase};
use sqlx::PgPool;
use sqlx::migrate::Migrator;

const STEPS: &[Migration] = &[
    Migration::new(
        1,
        "create",
        1,
        "create table {schema}.purlin_notes (id bigint primary key, body text not null);
         create index purlin_notes_body on {schema}.purlin_notes (body); -- a comment at the end",
        "drop table {schema}.purlin_notes",
    ),
    Migration::new(
        2,
        "title",
        1,
        "alter table {schema}.purlin_notes add column title text not null default ''",
        "alter table {schema}.purlin_notes drop column title;",
    ),
    Migration::new(
        3,
        "drop_body",
        2,
        "alter table {schema}.purlin_notes drop column body",
        "alter table {schema}.purlin_notes add column body text not null default '';
         create index purlin_notes_body on {schema}.purlin_notes (body)",
    ),
];

fn notes(versions: usize) -> PostgresMigrator {
    in_schema(versions, "public")
}

fn in_schema(versions: usize, schema: &str) -> PostgresMigrator {
    let migrations = Migrations::new("notes", &STEPS[..versions]);
    PostgresMigrator::new(migrations, SchemaName::new(schema).unwrap())
}

async fn pool(url: &str) -> PgPool {
    PostgresConfig::new(url).unwrap().connect().await.unwrap()
}

/// Every table, column and index, to compare two states of a database.
async fn shape(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select table_schema || '.' || table_name || '.' || column_name || ' ' || data_type
         from information_schema.columns
         where table_schema not in ('pg_catalog', 'information_schema')
         union all select schemaname || '.' || indexdef from pg_indexes
         where schemaname not in ('pg_catalog', 'information_schema') order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

fn reason(error: &StoreError) -> &SchemaError {
    assert_eq!(error.kind(), StoreErrorKind::Schema, "{error:?}");
    let source = std::error::Error::source(error).expect("a schema error has a source");
    source.downcast_ref().expect("which is a SchemaError")
}

#[tokio::test]
async fn forward_and_back_leaves_nothing_behind() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url()).await;
    let empty = shape(&pool).await;

    let mut shapes = vec![empty.clone()];
    for version in 1..=3 {
        assert_eq!(
            notes(version).migrate(&pool).await.unwrap(),
            u32::try_from(version).unwrap()
        );
        notes(version).check_schema(&pool).await.unwrap();
        shapes.push(shape(&pool).await);
    }
    assert_eq!(
        notes(3).migrate(&pool).await.unwrap(),
        3,
        "a second time does nothing"
    );
    assert_eq!(shape(&pool).await, shapes[3]);

    for version in [2, 1] {
        assert_eq!(notes(3).revert_to(&pool, version).await.unwrap(), version);
        let mut expected = shapes[usize::try_from(version).unwrap()].clone();
        let mut found = shape(&pool).await;
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "back to version {version}");
    }
    assert_eq!(notes(3).revert_to(&pool, 0).await.unwrap(), 0);
    assert_eq!(shape(&pool).await, empty);
    assert_eq!(
        notes(3).revert_to(&pool, 0).await.unwrap(),
        0,
        "nothing is there to revert"
    );
}

#[tokio::test]
async fn check_schema_says_what_is_missing() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url()).await;
    let error = notes(2).check_schema(&pool).await.unwrap_err();
    assert!(
        matches!(reason(&error), SchemaError::Missing { known: 2, .. }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string().split(" after ").next(),
        Some("postgres: check schema: schema does not fit")
    );

    notes(1).migrate(&pool).await.unwrap();
    let error = notes(2).check_schema(&pool).await.unwrap_err();
    assert!(matches!(
        reason(&error),
        SchemaError::Behind {
            applied: 1,
            known: 2,
            ..
        }
    ));

    sqlx::query("update purlin_notes_migrations set checksum = 'x'")
        .execute(&pool)
        .await
        .unwrap();
    for result in [
        notes(1).check_schema(&pool).await.map(|()| 0),
        notes(2).migrate(&pool).await,
    ] {
        let error = result.unwrap_err();
        assert!(matches!(
            reason(&error),
            SchemaError::Changed { version: 1, .. }
        ));
    }

    let nowhere = in_schema(1, "nowhere");
    let error = nowhere.migrate(&pool).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema, "{error:?}");
}

/// Release N has migrated; N−1 still writes, and starts again. N−2 is too old by then.
#[tokio::test]
async fn two_releases_run_side_by_side() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url()).await;
    notes(1).migrate(&pool).await.unwrap();
    notes(2).migrate(&pool).await.unwrap();
    sqlx::query("insert into purlin_notes (id, body) values (1, 'by release 1')")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        notes(1).migrate(&pool).await.unwrap(),
        2,
        "it leaves the newer tables alone"
    );
    notes(1).check_schema(&pool).await.unwrap();

    notes(3).migrate(&pool).await.unwrap();
    sqlx::query("insert into purlin_notes (id, title) values (2, 'by release 2')")
        .execute(&pool)
        .await
        .unwrap();
    notes(2).check_schema(&pool).await.unwrap();
    for result in [
        notes(1).check_schema(&pool).await.map(|()| 0),
        notes(1).migrate(&pool).await,
    ] {
        let error = result.unwrap_err();
        assert!(matches!(
            reason(&error),
            SchemaError::TooNew {
                applied: 3,
                needed: 2,
                ..
            }
        ));
    }
    let error = notes(2).revert_to(&pool, 1).await.unwrap_err();
    assert!(matches!(
        reason(&error),
        SchemaError::TooNew {
            applied: 3,
            needed: 3,
            ..
        }
    ));
}

#[tokio::test]
async fn a_step_that_fails_leaves_nothing_of_the_others() {
    const BROKEN: &[Migration] = &[
        Migration::new(
            1,
            "create",
            1,
            "create table {schema}.purlin_broken (id int)",
            "",
        ),
        Migration::new(
            2,
            "fails",
            1,
            "create table {schema}.purlin_other (id int); select 1/0",
            "",
        ),
    ];
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url()).await;
    let migrator = PostgresMigrator::new(Migrations::new("broken", BROKEN), SchemaName::default());
    let error = migrator.migrate(&pool).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error:?}");
    assert_eq!(shape(&pool).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_start_at_once_migrate_once() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(8));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (barrier, url) = (barrier.clone(), database.url());
            tokio::spawn(async move {
                let pool = pool(&url).await;
                barrier.wait().await;
                notes(3).migrate(&pool).await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), 3);
    }
}

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let children: Vec<_> = (0..8)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["migrating_child", "--exact", "--ignored"])
                .env("PURLIN_STORE_CHILD_URL", database.url())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let pool = pool(&database.url()).await;
    notes(3).check_schema(&pool).await.unwrap();
}

#[tokio::test]
#[ignore = "run by another test, in several processes"]
async fn migrating_child() {
    let pool = pool(&std::env::var("PURLIN_STORE_CHILD_URL").unwrap()).await;
    assert_eq!(notes(3).migrate(&pool).await.unwrap(), 3);
}

/// Two blocks, one of them in two schemas, and the application by sqlx's own migrator: all at once,
/// and each again afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_and_the_application_do_not_disturb_each_other() {
    const OTHER: &[Migration] = &[Migration::new(
        1,
        "create",
        1,
        "create table {schema}.purlin_other (id int)",
        "",
    )];
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url()).await;
    sqlx::raw_sql("create schema billing")
        .execute(&pool)
        .await
        .unwrap();

    let folder = purlin_testkit::TestFile::new();
    std::fs::write(
        folder.folder().join("1_app.sql"),
        "create table app (id int);",
    )
    .unwrap();
    std::fs::write(
        folder.folder().join("2_more.sql"),
        "alter table app add column n int;",
    )
    .unwrap();
    let app = Migrator::new(folder.folder()).await.unwrap();

    let other = PostgresMigrator::new(Migrations::new("other", OTHER), SchemaName::default());
    let billing = in_schema(3, "billing");
    for _ in 0..2 {
        let here = notes(3);
        let (notes, billing, other, app) = tokio::join!(
            here.migrate(&pool),
            billing.migrate(&pool),
            other.migrate(&pool),
            app.run(&pool),
        );
        assert_eq!(
            (notes.unwrap(), billing.unwrap(), other.unwrap()),
            (3, 3, 1)
        );
        app.unwrap();
    }
    billing.revert_to(&pool, 0).await.unwrap();
    notes(3).check_schema(&pool).await.unwrap();
    other.check_schema(&pool).await.unwrap();
    app.run(&pool).await.unwrap();
}

#[tokio::test]
async fn exported_sql_does_what_migrate_does() {
    let (Some(by_hand), Some(by_code)) = (TestDatabase::create(), TestDatabase::create()) else {
        return;
    };
    let (by_hand, by_code) = (pool(&by_hand.url()).await, pool(&by_code.url()).await);
    let run = async |sql: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&by_hand)
            .await
            .unwrap();
    };

    notes(1).migrate(&by_code).await.unwrap();
    run(notes(1).sql(0)).await;
    assert_eq!(shape(&by_hand).await, shape(&by_code).await);
    notes(3).migrate(&by_code).await.unwrap();
    run(notes(3).sql(1)).await;
    assert_eq!(shape(&by_hand).await, shape(&by_code).await);
    notes(3).check_schema(&by_hand).await.unwrap();
    assert_eq!(notes(3).migrate(&by_hand).await.unwrap(), 3);

    run(notes(3).revert_sql(1)).await;
    notes(1).check_schema(&by_hand).await.unwrap();
    run(notes(1).revert_sql(0)).await;
    assert_eq!(shape(&by_hand).await, Vec::<String>::new());
}

#[tokio::test]
async fn dropped_anywhere_all_or_nothing_happened_and_the_pool_works() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    // A proxy in this very runtime answers only once the future waits, so each answer of the
    // server is a place to be dropped at, however fast it is.
    let proxy = FaultProxy::before(&database.url()).await;
    let config = PostgresConfig::new(&proxy.url(&database.url()))
        .unwrap()
        .with_max_connections(2);
    let pool = config.connect().await.unwrap();
    let migrator = notes(3);
    let dropped = drop_at_every_await(
        || migrator.migrate(&pool),
        async |at| {
            match notes(3).check_schema(&pool).await {
                Ok(()) => {}
                Err(error) => {
                    assert!(
                        matches!(reason(&error), SchemaError::Missing { .. }),
                        "{error:?}"
                    );
                    assert_ne!(at, Dropped::Completed);
                }
            }
            // The lock of the dropped one is gone, and the next one starts from nothing.
            notes(3).migrate(&pool).await.unwrap();
            notes(3).revert_to(&pool, 0).await.unwrap();
        },
    )
    .await;
    assert!(dropped >= 10, "only {dropped} places");
}

/// The commit reaches the server and its answer does not come back.
#[tokio::test]
async fn a_lost_answer_to_the_commit_is_found_done_the_next_time() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let direct = pool(&database.url()).await;
    notes(3).migrate(&direct).await.unwrap();
    let proxy = FaultProxy::before(&database.url()).await;
    let proxied = PostgresConfig::new(&proxy.url(&database.url())).unwrap();
    let (mut not_done, mut done_unheard) = (0, 0);
    // A call on a fresh connection has about ten replies. A pool that is in use already has others:
    // it asks after a connection that comes back, in a task of its own.
    for reply in 1..=20 {
        let through = proxied.connect_lazy();
        notes(3).revert_to(&direct, 0).await.unwrap();
        proxy.cut_in_reply(reply);
        let result = notes(3).migrate(&through).await;
        proxy.pass();
        if let Err(error) = result {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
            match notes(3).check_schema(&direct).await {
                Ok(()) => done_unheard += 1,
                Err(error) => {
                    assert!(
                        matches!(reason(&error), SchemaError::Missing { .. }),
                        "{error:?}"
                    );
                    not_done += 1;
                }
            }
        }
        assert_eq!(
            notes(3).migrate(&through).await.unwrap(),
            3,
            "after a cut in reply {reply}"
        );
        through.close().await;
    }
    assert!(
        not_done >= 5,
        "only {not_done} calls were cut before the commit"
    );
    assert_eq!(done_unheard, 1, "the answer to the commit was lost");
}

#[tokio::test]
async fn a_lock_that_is_held_ends_in_time_and_leaves_no_waiter() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url()).await;
    notes(1).migrate(&pool).await.unwrap();
    // Another release is migrating: it holds whatever lock `migrate` takes.
    let script = notes(1).sql(0);
    let lock = script
        .lines()
        .nth(1)
        .expect("the second line takes the lock")
        .to_owned();
    let mut other = pool.begin().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock))
        .execute(&mut *other)
        .await
        .unwrap();

    let error = notes(2)
        .with_timeout(Duration::from_millis(300))
        .migrate(&pool)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error:?}");
    let waiting: i64 = sqlx::query_scalar(
        "select count(*) from pg_locks where not granted
         and database = (select oid from pg_database where datname = current_database())",
    )
    .fetch_one(&mut *other)
    .await
    .unwrap();
    assert_eq!(waiting, 0);
    other.rollback().await.unwrap();
    assert_eq!(notes(2).migrate(&pool).await.unwrap(), 2);
}

#[tokio::test]
async fn kill_9_in_the_middle_leaves_nothing_or_all() {
    const SLOW: &[Migration] = &[Migration::new(
        1,
        "create",
        1,
        "create table {schema}.purlin_notes (id int); select pg_sleep(60)",
        "",
    )];
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let slow = PostgresMigrator::new(Migrations::new("notes", SLOW), SchemaName::default());
    let pool = pool(&server.url()).await;
    let migrating = tokio::spawn({
        let pool = pool.clone();
        async move { slow.migrate(&pool).await }
    });
    // It is asleep inside its transaction once it holds the lock and has begun the step.
    loop {
        let asleep: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where wait_event = 'PgSleep'",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        if asleep == 1 {
            break;
        }
    }
    server.kill();
    let error = migrating.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    server.restart();
    assert_eq!(notes(3).migrate(&pool).await.unwrap(), 3);
    notes(3).check_schema(&pool).await.unwrap();
}

/// Without a pooler this only shows that the mode names no statement in the session.
#[tokio::test]
async fn transaction_pooling_leaves_nothing_in_the_session() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let config = PostgresConfig::new(&database.url())
        .unwrap()
        .with_pooling(Pooling::Transaction)
        .with_max_connections(1);
    let pool = config.connect().await.unwrap();
    notes(3).migrate(&pool).await.unwrap();
    notes(3).check_schema(&pool).await.unwrap();
    let left: (String, i64, String) = sqlx::query_as(
        "select (select coalesce(string_agg(statement, $$|$$), $$$$) from pg_prepared_statements),
                (select count(*) from pg_locks where locktype = 'advisory'
                 and pid = pg_backend_pid()),
                current_setting('lock_timeout')",
    )
    .persistent(false)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(left, (String::new(), 0, "0".to_owned()));
}

/// Every transaction on another server session, with and without a commit in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_work_through_pgbouncer_in_transaction_mode() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let Some(bouncer) = PgBouncer::start(&server) else {
        return;
    };
    let config = PostgresConfig::new(&bouncer.url())
        .unwrap()
        .with_pooling(Pooling::Transaction);
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move {
                let pool = config.connect().await?;
                for _ in 0..10 {
                    notes(3).migrate(&pool).await?;
                    notes(3).check_schema(&pool).await?;
                }
                Ok::<_, StoreError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let pool = config.connect().await.unwrap();
    assert_eq!(notes(3).revert_to(&pool, 0).await.unwrap(), 0);
}

/// A client hangs up while its handler begins: the next user of the connection must not find the
/// transaction open, in which what it writes would never be committed.
#[tokio::test]
async fn a_begin_that_is_dropped_leaves_no_transaction_behind() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let other = pool(&database.url()).await;
    notes(1).migrate(&other).await.unwrap();
    let proxy = FaultProxy::before(&database.url()).await;
    let pool = PostgresConfig::new(&proxy.url(&database.url()))
        .unwrap()
        .with_max_connections(1)
        .connect()
        .await
        .unwrap();
    let written = std::cell::Cell::new(0_i64);
    let dropped = drop_at_every_await(
        || async { drop(pool.begin().await.unwrap()) },
        async |_| {
            written.set(written.get() + 1);
            sqlx::query("insert into purlin_notes (id, body) values ($1, '')")
                .bind(written.get())
                .execute(&pool)
                .await
                .unwrap();
            let found: i64 = sqlx::query_scalar("select count(*) from purlin_notes")
                .fetch_one(&other)
                .await
                .unwrap();
            assert_eq!(found, written.get());
        },
    )
    .await;
    assert!(dropped >= 4, "only {dropped} places");
}

#[tokio::test]
async fn extreme_settings_do_not_panic() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = PostgresConfig::new(&database.url())
        .unwrap()
        .with_acquire_timeout(Duration::MAX)
        .with_max_connections(0)
        .connect()
        .await
        .unwrap();
    let migrator = notes(3).with_timeout(Duration::MAX);
    assert_eq!(migrator.migrate(&pool).await.unwrap(), 3);
    let error = notes(3).with_timeout(Duration::ZERO);
    let error = error.revert_to(&pool, 0).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout, "{error:?}");
    migrator.check_schema(&pool).await.unwrap();
}
