//! What real servers answer, sorted into kinds; and that no error shows a password.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::error::Error as _;
use std::time::{Duration, Instant};

use purlin_store::postgres::PostgresConfig;
use purlin_store::redis::RedisConfig;
use purlin_store::redis::driver::cmd;
use purlin_store::sqlite::SqliteConfig;
use purlin_store::{ConfigError, StoreError, StoreErrorKind, deadline};
use purlin_testkit::{PostgresServer, RedisServer, TestDatabase, TestFile};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

const PASSWORD: &str = "hunter2";

/// Everything that a log could show of an error.
fn shown(error: &StoreError) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(" {cause}"));
        next = cause.source();
    }
    text
}

async fn pool(url: &str) -> PgPool {
    PostgresConfig::new(url)
        .unwrap()
        .with_max_connections(3)
        .connect()
        .await
        .unwrap()
}

async fn run(pool: &PgPool, sql: &'static str) -> Result<(), StoreError> {
    deadline("postgres", "run", Duration::from_secs(10), async {
        sqlx::raw_sql(sql).execute(pool).await.map(drop)
    })
    .await
}

async fn kind(pool: &PgPool, sql: &'static str) -> StoreErrorKind {
    // Not back into the pool: a batch that failed may have begun a transaction.
    let connection = match pool.acquire().await {
        Ok(connection) => connection,
        Err(error) => return StoreError::from(error).kind(),
    };
    let error = sqlx::raw_sql(sql)
        .execute(&mut connection.detach())
        .await
        .unwrap_err();
    StoreError::from(error).kind()
}

#[tokio::test]
async fn postgres_statements() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url()).await;
    run(
        &pool,
        "create table t (id int primary key, n int check (n > 0)); insert into t values (1, 1)",
    )
    .await
    .unwrap();

    assert_eq!(
        kind(&pool, "insert into t values (1, 2)").await,
        StoreErrorKind::Conflict
    );
    assert_eq!(
        kind(&pool, "insert into t values (2, 0)").await,
        StoreErrorKind::Refused
    );
    assert_eq!(kind(&pool, "selekt").await, StoreErrorKind::Refused);
    assert_eq!(
        kind(&pool, "select * from nowhere").await,
        StoreErrorKind::Schema
    );
    assert_eq!(
        kind(&pool, "select absent from t").await,
        StoreErrorKind::Schema
    );
    assert_eq!(
        kind(&pool, "select * from nowhere.t").await,
        StoreErrorKind::Schema
    );
    let slow = "begin; set local statement_timeout = 20; select pg_sleep(20)";
    assert_eq!(kind(&pool, slow).await, StoreErrorKind::Timeout);
    let standby = "begin; set transaction read only; insert into t values (3, 1)";
    assert_eq!(kind(&pool, standby).await, StoreErrorKind::Unavailable);
    let killed = "select pg_terminate_backend(pg_backend_pid())";
    assert_eq!(kind(&pool, killed).await, StoreErrorKind::Unavailable);
    run(&pool, "select 1").await.unwrap();

    let text = sqlx::query_scalar::<_, i32>("select 'x'")
        .fetch_one(&pool)
        .await
        .unwrap_err();
    assert_eq!(StoreError::from(text).kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn a_unique_violation_does_not_show_the_key() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url()).await;
    run(
        &pool,
        "create table t (id text primary key); insert into t values ('hunter2')",
    )
    .await
    .unwrap();
    let error = sqlx::query("insert into t values ($1)")
        .bind(PASSWORD)
        .execute(&pool)
        .await
        .unwrap_err();
    // The driver's own would show it, or this proves nothing.
    assert!(format!("{error:?}").contains(PASSWORD));
    let error = StoreError::from(error);
    assert!(!shown(&error).contains(PASSWORD), "{error:?}");
}

#[tokio::test]
async fn postgres_conflicts_between_transactions() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = pool(&database.url()).await;
    run(
        &pool,
        "create table t (id int primary key, n int); insert into t values (1, 0)",
    )
    .await
    .unwrap();
    let begin = "begin isolation level serializable";
    let (mut one, mut two) = (
        pool.begin_with(begin).await.unwrap(),
        pool.begin_with(begin).await.unwrap(),
    );
    for tx in [&mut one, &mut two] {
        let _: i32 = sqlx::query_scalar("select n from t")
            .fetch_one(&mut **tx)
            .await
            .unwrap();
    }
    sqlx::query("update t set n = 1")
        .execute(&mut *one)
        .await
        .unwrap();
    one.commit().await.unwrap();
    let error = sqlx::query("update t set n = 2")
        .execute(&mut *two)
        .await
        .unwrap_err();
    assert_eq!(StoreError::from(error).kind(), StoreErrorKind::Conflict);
    two.rollback().await.unwrap();

    let mut holder = pool.begin().await.unwrap();
    sqlx::query("update t set n = 3")
        .execute(&mut *holder)
        .await
        .unwrap();
    let waiting = "begin; set local lock_timeout = 20; update t set n = 4";
    assert_eq!(kind(&pool, waiting).await, StoreErrorKind::Conflict);
}

#[tokio::test]
async fn postgres_without_a_free_connection() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = PostgresConfig::new(&database.url())
        .unwrap()
        .with_max_connections(1)
        .with_acquire_timeout(Duration::from_millis(50))
        .connect_lazy();
    let held = pool.acquire().await.unwrap();
    assert_eq!(kind(&pool, "select 1").await, StoreErrorKind::Timeout);
    drop(held);
    pool.close().await;
    assert_eq!(kind(&pool, "select 1").await, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn postgres_freezes_dies_and_comes_back() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let pool = pool(&server.url()).await;
    let select = async || {
        let begun = Instant::now();
        let result = deadline("postgres", "get", Duration::from_millis(300), async {
            sqlx::query_scalar::<_, i32>("select 1")
                .fetch_one(&pool)
                .await
        })
        .await;
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it took {:?}",
            begun.elapsed()
        );
        result
    };
    select().await.unwrap();

    server.freeze();
    let error = select().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.store(), error.operation()),
        (StoreErrorKind::Timeout, "postgres", Some("get"))
    );
    server.thaw();
    while select().await.is_err() {}

    server.kill();
    let error = select().await.unwrap_err();
    // A pool that cannot connect tries again until its own timeout, which is later than ours.
    assert!(
        matches!(
            error.kind(),
            StoreErrorKind::Unavailable | StoreErrorKind::Timeout
        ),
        "{error:?}"
    );
    server.restart();
    let begun = Instant::now();
    while let Err(error) = select().await {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it does not recover: {error:?}"
        );
    }
}

/// Makes a user with another password than `PASSWORD`, and the URL that has this one.
async fn ask_for_a_password(postgres: &mut PostgresServer) -> String {
    let user = "create user locked password 'another';
        do $$ begin execute format(
            'copy (values (%L), (%L)) to %L',
            'host all locked all scram-sha-256', 'host all all all trust',
            current_setting('hba_file')
        ); end $$";
    let pool = pool(&postgres.url()).await;
    run(&pool, user).await.unwrap();
    pool.close().await;
    postgres.stop();
    postgres.restart();
    let right = postgres.url().replace("postgres@", "locked:another@");
    PostgresConfig::new(&right)
        .unwrap()
        .connect()
        .await
        .unwrap();
    postgres
        .url()
        .replace("postgres@", &format!("locked:{PASSWORD}@"))
}

#[tokio::test]
async fn failing_connections_do_not_show_the_password() {
    let (Some(mut redis), Some(mut postgres)) = (
        RedisServer::start_with(&["--requirepass", "other"]),
        PostgresServer::start(),
    ) else {
        return;
    };
    let redis_url = redis.url().replace("://", &format!("://user:{PASSWORD}@"));
    let postgres_url = postgres
        .url()
        .replace("postgres@", &format!("postgres:{PASSWORD}@"));
    let no_database = postgres_url.replace("/postgres?", "/nowhere?");
    let connect_redis = async || {
        let config = RedisConfig::node(&*redis_url);
        assert!(!format!("{config:?}").contains(PASSWORD), "{config:?}");
        let handle = config.open().unwrap();
        assert!(!format!("{handle:?}").contains(PASSWORD), "{handle:?}");
        let error = handle
            .query::<String>("ping", &cmd("PING"))
            .await
            .unwrap_err();
        assert!(!format!("{handle:?}").contains(PASSWORD), "{handle:?}");
        error
    };
    let connect_postgres = async |url: &str| {
        let config = PostgresConfig::new(url).unwrap();
        assert!(!format!("{config:?}").contains(PASSWORD), "{config:?}");
        config.connect().await.unwrap_err()
    };

    let locked = ask_for_a_password(&mut postgres).await;
    let wrong = [
        connect_redis().await,
        connect_postgres(&no_database).await,
        connect_postgres(&locked).await,
    ];
    redis.stop();
    postgres.stop();
    let down = [connect_redis().await, connect_postgres(&postgres_url).await];
    for (errors, kind) in [
        (&wrong[..], StoreErrorKind::Refused),
        (&down, StoreErrorKind::Unavailable),
    ] {
        for error in errors {
            assert_eq!(error.kind(), kind, "{error:?}");
            assert!(error.source().is_some(), "the cause is told");
            assert!(!shown(error).contains(PASSWORD), "{}", shown(error));
        }
    }

    let bad = format!("postgres://user:{PASSWORD}@host:port/x");
    let error = PostgresConfig::new(&bad).unwrap_err();
    assert_eq!(error, ConfigError::Url);
    assert!(!format!("{error} {error:?}").contains(PASSWORD));
}

#[tokio::test]
async fn sqlite_answers() {
    let file = TestFile::new();
    let pool = SqliteConfig::new(file.path())
        .with_busy_timeout(Duration::from_millis(50))
        .connect()
        .await
        .unwrap();
    let run = async |sql: &'static str| sqlx::raw_sql(sql).execute(&pool).await.map(drop);
    let kind = async |sql| StoreError::from(run(sql).await.unwrap_err()).kind();
    run("create table t (id integer primary key, k text unique, n int check (n > 0)) strict")
        .await
        .unwrap();
    run("insert into t values (1, 'a', 1)").await.unwrap();

    assert_eq!(
        kind("insert into t values (1, 'b', 1)").await,
        StoreErrorKind::Conflict
    );
    assert_eq!(
        kind("insert into t values (2, 'a', 1)").await,
        StoreErrorKind::Conflict
    );
    assert_eq!(
        kind("insert into t values (2, 'b', 0)").await,
        StoreErrorKind::Refused
    );
    assert_eq!(kind("select * from nowhere").await, StoreErrorKind::Schema);
    assert_eq!(kind("select absent from t").await, StoreErrorKind::Schema);
    assert_eq!(kind("selekt").await, StoreErrorKind::Refused);

    let _writer = purlin_store::sqlite::begin_immediate(&pool).await.unwrap();
    let error = purlin_store::sqlite::begin_immediate(&pool)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error:?}");
    assert!(
        error.to_string().starts_with("sqlite: begin: conflict"),
        "{error}"
    );

    let nowhere = SqliteConfig::new(file.folder().join("no/such/folder/test.db"));
    assert_eq!(
        nowhere.connect().await.unwrap_err().kind(),
        StoreErrorKind::Unavailable
    );
    let text = file.folder().join("text");
    std::fs::write(
        &text,
        "this is a text and not a database, for longer than a header".repeat(99),
    )
    .unwrap();
    let error = SqliteConfig::new(&text).connect().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
}

/// The driver retries inside the pool; what the caller gets must still say what was wrong.
#[tokio::test]
async fn a_pool_of_the_application_maps_the_same() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let url = server.url().replace("/postgres?", "/nowhere?");
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(200))
        .connect(&url)
        .await;
    assert_eq!(
        StoreError::from(pool.unwrap_err()).kind(),
        StoreErrorKind::Refused
    );
}
