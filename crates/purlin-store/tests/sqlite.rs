//! The embedded store: its settings, its migrations, and what survives `kill -9`.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use purlin_store::sqlite::{Durability, SqliteConfig, begin_immediate};
use purlin_store::testing::{Dropped, drop_at_every_await};
use purlin_store::{
    Migration, Migrations, SchemaError, SqliteMigrator, StoreError, StoreErrorKind,
};
use purlin_testkit::TestFile;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqlitePool};

const STEPS: &[Migration] = &[
    Migration::new(
        1,
        "create",
        1,
        "create table purlin_notes (id integer primary key, body text not null default '') strict;
         create index purlin_notes_body on purlin_notes (body)",
        "drop table purlin_notes",
    ),
    Migration::new(
        2,
        "title",
        1,
        "alter table purlin_notes add column title text not null default ''",
        "alter table purlin_notes drop column title;",
    ),
    Migration::new(
        3,
        "drop_body",
        2,
        "drop index purlin_notes_body; alter table purlin_notes drop column body -- a comment at the end",
        "alter table purlin_notes add column body text not null default '';
         create index purlin_notes_body on purlin_notes (body)",
    ),
];

fn notes(versions: usize) -> SqliteMigrator {
    SqliteMigrator::new(Migrations::new("notes", &STEPS[..versions]))
}

async fn open(file: &TestFile) -> SqlitePool {
    SqliteConfig::new(file.path()).connect().await.unwrap()
}

async fn shape(pool: &SqlitePool) -> Vec<String> {
    sqlx::query_scalar(
        "select t.name || '.' || c.name || ' ' || c.type
         from sqlite_schema t join pragma_table_info(t.name) c where t.type = 'table'
         union all select sql from sqlite_schema where type = 'index' and sql is not null
         order by 1",
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
async fn every_connection_has_the_settings() {
    let file = TestFile::new();
    for (durability, synchronous) in [(Durability::PowerLoss, 2), (Durability::ProcessCrash, 1)] {
        let config = SqliteConfig::new(file.path()).with_durability(durability);
        let pool = config
            .with_busy_timeout(Duration::from_secs(7))
            .connect()
            .await
            .unwrap();
        let mut connections = Vec::new();
        for _ in 0..4 {
            let mut connection = pool.acquire().await.unwrap();
            let (mode,): (String,) = sqlx::query_as("pragma journal_mode")
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            let mut number = async |pragma: &'static str| -> i64 {
                sqlx::query_scalar(pragma)
                    .fetch_one(&mut *connection)
                    .await
                    .unwrap()
            };
            assert_eq!(mode, "wal");
            assert_eq!(number("pragma synchronous").await, synchronous);
            assert_eq!(number("pragma busy_timeout").await, 7_000);
            assert_eq!(number("pragma foreign_keys").await, 1);
            connections.push(connection);
        }
    }
}

#[tokio::test]
async fn forward_and_back_leaves_nothing_behind() {
    let file = TestFile::new();
    let pool = open(&file).await;
    let mut shapes = vec![shape(&pool).await];
    for version in 1..=3 {
        let error = notes(version).check_schema(&pool).await.unwrap_err();
        assert!(matches!(
            reason(&error),
            SchemaError::Missing { .. } | SchemaError::Behind { .. }
        ));
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
    for version in [2, 1, 0] {
        assert_eq!(notes(3).revert_to(&pool, version).await.unwrap(), version);
        assert_eq!(
            shape(&pool).await,
            shapes[usize::try_from(version).unwrap()]
        );
    }
    assert_eq!(
        notes(3).revert_to(&pool, 0).await.unwrap(),
        0,
        "nothing is there to revert"
    );
}

#[tokio::test]
async fn two_releases_run_side_by_side() {
    let file = TestFile::new();
    let pool = open(&file).await;
    notes(2).migrate(&pool).await.unwrap();
    assert_eq!(notes(1).migrate(&pool).await.unwrap(), 2);
    notes(1).check_schema(&pool).await.unwrap();
    sqlx::query("insert into purlin_notes (id, body) values (1, 'x')")
        .execute(&pool)
        .await
        .unwrap();
    notes(3).migrate(&pool).await.unwrap();
    notes(2).check_schema(&pool).await.unwrap();
    sqlx::query("insert into purlin_notes (id, title) values (2, 'x')")
        .execute(&pool)
        .await
        .unwrap();
    let error = notes(1).check_schema(&pool).await.unwrap_err();
    assert!(matches!(
        reason(&error),
        SchemaError::TooNew {
            applied: 3,
            needed: 2,
            ..
        }
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_that_start_at_once_migrate_once_beside_the_application() {
    let file = TestFile::new();
    let app_sql = TestFile::new();
    std::fs::write(
        app_sql.folder().join("1_app.sql"),
        "create table app (id int);",
    )
    .unwrap();
    let app = std::sync::Arc::new(Migrator::new(app_sql.folder()).await.unwrap());
    app.run(&open(&file).await).await.unwrap();
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(8));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (barrier, path) = (barrier.clone(), file.path());
            tokio::spawn(async move {
                let pool = SqliteConfig::new(path).connect().await?;
                barrier.wait().await;
                notes(3).migrate(&pool).await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), 3);
    }
    app.run(&open(&file).await).await.unwrap();
}

#[tokio::test]
async fn exported_sql_does_what_migrate_does() {
    let (by_hand, by_code) = (TestFile::new(), TestFile::new());
    let (by_hand, by_code) = (open(&by_hand).await, open(&by_code).await);
    let run = async |sql: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&by_hand)
            .await
            .unwrap();
    };
    notes(3).migrate(&by_code).await.unwrap();
    run(notes(1).sql(0)).await;
    run(notes(3).sql(1)).await;
    assert_eq!(shape(&by_hand).await, shape(&by_code).await);
    notes(3).check_schema(&by_hand).await.unwrap();
    run(notes(3).revert_sql(0)).await;
    assert_eq!(shape(&by_hand).await, Vec::<String>::new());
}

#[tokio::test]
async fn dropped_anywhere_all_or_nothing_happened_and_the_pool_works() {
    let file = TestFile::new();
    let pool = SqliteConfig::new(file.path())
        .with_max_connections(2)
        .connect()
        .await
        .unwrap();
    let migrator = notes(3);
    // A worker thread that answers at once leaves no place to be dropped at, so one run may have
    // few of them on a busy machine.
    let (mut dropped, mut runs) = (0, 0);
    while dropped < 10 {
        assert!(runs < 100, "only {dropped} places in {runs} runs");
        runs += 1;
        dropped += drop_at_every_await(
            || migrator.migrate(&pool),
            async |at| {
                if let Err(error) = notes(3).check_schema(&pool).await {
                    assert!(
                        matches!(reason(&error), SchemaError::Missing { .. }),
                        "{error:?}"
                    );
                    assert_ne!(at, Dropped::Completed);
                }
                notes(3).migrate(&pool).await.unwrap();
                notes(3).revert_to(&pool, 0).await.unwrap();
            },
        )
        .await;
    }
}

/// Every row that the killed process said it had committed is there, and nothing half done.
#[tokio::test]
async fn kill_9_loses_no_commit_and_keeps_no_half() {
    let file = TestFile::new();
    let pool = open(&file).await;
    notes(3).migrate(&pool).await.unwrap();
    for durability in ["full", "normal"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["writing_child", "--exact", "--ignored", "--nocapture"])
            .env("PURLIN_STORE_CHILD_FILE", file.path())
            .env("PURLIN_STORE_CHILD_DURABILITY", durability)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut committed = Vec::new();
        for line in output.lines() {
            if let Some(id) = line.unwrap().strip_prefix("committed ") {
                committed.push(id.parse::<i64>().unwrap());
            }
            if committed.len() == 50 {
                // SIGKILL, in the middle of whatever it is doing.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(committed.len() >= 50, "only {} commits", committed.len());

        let found: Vec<i64> = sqlx::query_scalar("select id from purlin_notes where title = ?")
            .bind(durability)
            .fetch_all(&pool)
            .await
            .unwrap();
        for id in &committed {
            assert!(
                found.contains(id) && found.contains(&-id),
                "commit {id} is lost"
            );
        }
        for id in &found {
            assert!(found.contains(&-id), "half of the transaction {id}");
        }
        let (check,): (String,) = sqlx::query_as("pragma integrity_check")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(check, "ok");
        sqlx::query("delete from purlin_notes")
            .execute(&pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
#[ignore = "run and killed by another test, in a process of its own"]
async fn writing_child() {
    let name = std::env::var("PURLIN_STORE_CHILD_DURABILITY").unwrap();
    let durability = if name == "full" {
        Durability::PowerLoss
    } else {
        Durability::ProcessCrash
    };
    let path = std::env::var("PURLIN_STORE_CHILD_FILE").unwrap();
    let pool = SqliteConfig::new(path)
        .with_durability(durability)
        .connect()
        .await
        .unwrap();
    for id in 1_i64.. {
        let mut tx = begin_immediate(&pool).await.unwrap();
        for id in [id, -id] {
            sqlx::query("insert into purlin_notes (id, title) values (?, ?)")
                .bind(id)
                .bind(&name)
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        writeln!(std::io::stdout(), "committed {id}").unwrap();
    }
}

/// Writers that wait for each other instead of failing: what `BEGIN IMMEDIATE` is for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_wait_for_each_other() {
    let file = TestFile::new();
    let pool = open(&file).await;
    sqlx::query("create table counter (n integer)")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("insert into counter values (0)")
        .execute(&pool)
        .await
        .unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    let mut tx = begin_immediate(&pool).await?;
                    let n: i64 = sqlx::query_scalar("select n from counter")
                        .fetch_one(&mut *tx)
                        .await?;
                    sqlx::query("update counter set n = ?")
                        .bind(n + 1)
                        .execute(&mut *tx)
                        .await?;
                    tx.commit().await?;
                }
                Ok::<_, StoreError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let n: i64 = sqlx::query_scalar("select n from counter")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(n, 100);
}

/// SQLite has rolled back by itself by then, which the driver does not know.
#[tokio::test]
async fn a_full_disk_leaves_the_pool_usable() {
    const LARGE: &[Migration] = &[Migration::new(
        1,
        "create",
        1,
        "create table purlin_large (body blob);
         insert into purlin_large values (randomblob(1000000))",
        "drop table purlin_large",
    )];
    let file = TestFile::new();
    let pool = SqliteConfig::new(file.path())
        .with_max_connections(1)
        .connect()
        .await
        .unwrap();
    sqlx::query("pragma max_page_count = 20")
        .execute(&pool)
        .await
        .unwrap();
    let large = SqliteMigrator::new(Migrations::new("large", LARGE));
    let error = large.migrate(&pool).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    assert_eq!(shape(&pool).await, Vec::<String>::new());
    notes(3).migrate(&pool).await.unwrap();
    notes(3).check_schema(&pool).await.unwrap();
}

#[tokio::test]
async fn extreme_settings_do_not_panic() {
    let file = TestFile::new();
    let pool = SqliteConfig::new(file.path())
        .with_busy_timeout(Duration::MAX)
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

/// Somebody reads while the file is not in WAL mode yet: SQLite itself would fail at once.
#[tokio::test]
async fn connecting_waits_for_a_file_that_is_in_use() {
    let file = TestFile::new();
    let reader = SqliteConnectOptions::new()
        .filename(file.path())
        .create_if_missing(true);
    let mut reader = reader.connect().await.unwrap();
    sqlx::raw_sql("create table app (id int); begin; select * from app")
        .execute(&mut reader)
        .await
        .unwrap();
    // Long beside one attempt to connect, which on a busy machine takes its time too.
    let busy_timeout = Duration::from_secs(1);
    let config = SqliteConfig::new(file.path()).with_busy_timeout(busy_timeout);
    let error = config.connect().await.unwrap_err();
    // The pool waits as long as SQLite does; either may be the first to give up.
    assert!(
        matches!(
            error.kind(),
            StoreErrorKind::Conflict | StoreErrorKind::Timeout
        ),
        "{error:?}"
    );
    assert!(error.tried_for().unwrap() >= busy_timeout, "{error}");

    sqlx::raw_sql("commit").execute(&mut reader).await.unwrap();
    config.connect().await.unwrap();
}
