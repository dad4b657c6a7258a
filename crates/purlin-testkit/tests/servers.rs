//! Places of one's own on a shared server, and private servers that are broken and mended.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::panic::catch_unwind;
use std::process::Command;
use std::thread;
use std::time::Duration;

use purlin_testkit::{
    PostgresServer, RedisCluster, RedisSentinel, RedisServer, TestDatabase, TestFile, TestRedis,
    TestSchema,
};
use sqlx::{Connection as _, PgConnection};

async fn databases(url: &str, name: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("select count(*) from pg_database where datname = $1")
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_database_is_empty_and_goes_with_its_test() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let (url, name) = (database.url(), database.name().to_owned());
    // A session that is still open does not keep the database.
    let mut open = PgConnection::connect(&url).await.unwrap();
    let tables: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(&mut open)
            .await
            .unwrap();
    assert_eq!(tables, 0);

    let server = std::env::var("PURLIN_TEST_POSTGRES_URL").unwrap();
    assert_eq!(databases(&server, &name).await, 1);
    drop(database);
    assert_eq!(databases(&server, &name).await, 0);
}

#[tokio::test]
async fn a_database_goes_with_a_test_that_panics() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let name = database.name().to_owned();
    let panicked = catch_unwind(move || {
        let _database = database;
        panic!("as a failed assertion does");
    });
    assert!(panicked.is_err());
    let server = std::env::var("PURLIN_TEST_POSTGRES_URL").unwrap();
    assert_eq!(databases(&server, &name).await, 0);
}

#[tokio::test]
async fn leftovers_of_killed_runs_are_purged() {
    // On a server of its own, since the purge happens once per process.
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    for name in ["purlin_test_1700000000_1_0", "purlin_test_mine"] {
        let sql = format!("create database {name}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut admin)
            .await
            .unwrap();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["purging_child", "--exact", "--ignored"])
        .env("PURLIN_TEST_POSTGRES_URL", server.url())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        databases(&server.url(), "purlin_test_1700000000_1_0").await,
        0
    );
    assert_eq!(databases(&server.url(), "purlin_test_mine").await, 1);
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn purging_child() {
    assert!(TestDatabase::create().is_some());
}

#[tokio::test]
async fn a_schema_goes_with_its_test() {
    let Some(schema) = TestSchema::create() else {
        return;
    };
    let mut connection = PgConnection::connect(&schema.url()).await.unwrap();
    let name = schema.name().to_owned();
    let exists = "select to_regnamespace($1) is not null";
    let found: bool = sqlx::query_scalar(exists)
        .bind(&name)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(found);
    drop(schema);
    let found: bool = sqlx::query_scalar(exists)
        .bind(&name)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(!found);
}

fn redis(url: &str, words: &[&str]) -> String {
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    let answer = redis::cmd(words[0])
        .arg(&words[1..])
        .query(&mut connection)
        .unwrap();
    match answer {
        redis::Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_keys_of_a_prefix_go_with_the_test() {
    let Some(one) = TestRedis::create() else {
        return;
    };
    let other = TestRedis::create().unwrap();
    assert_ne!(one.prefix(), other.prefix());
    let url = one.url().to_owned();
    let (mine, theirs) = (
        format!("{}:k", one.prefix()),
        format!("{}:k", other.prefix()),
    );
    redis(&url, &["SET", &mine, "1"]);
    redis(&url, &["SET", &theirs, "1"]);
    drop(one);
    assert_eq!(redis(&url, &["EXISTS", &mine]), "0");
    assert_eq!(redis(&url, &["EXISTS", &theirs]), "1");
}

#[test]
fn a_file_goes_with_its_test() {
    let file = TestFile::new();
    std::fs::write(file.path(), "x").unwrap();
    let folder = file.folder().to_owned();
    drop(file);
    assert!(!folder.exists());
}

#[tokio::test]
async fn postgres_survives_kill_freeze_and_restart() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let url = server.url();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("create table t (n int); insert into t values (7)")
        .execute(&mut connection)
        .await
        .unwrap();

    server.freeze();
    let asked = sqlx::query_scalar::<_, i32>("select n from t").fetch_one(&mut connection);
    let mut asked = Box::pin(asked);
    let waited = tokio::time::timeout(Duration::from_millis(100), &mut asked).await;
    assert!(waited.is_err(), "a frozen server answered");
    server.thaw();
    assert_eq!(asked.await.unwrap(), 7);

    server.kill();
    assert!(PgConnection::connect(&url).await.is_err());
    server.restart();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let n: i32 = sqlx::query_scalar("select n from t")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(n, 7);

    server.stop();
    assert!(PgConnection::connect(&url).await.is_err());
    server.restart();
    PgConnection::connect(&url).await.unwrap();
}

#[test]
fn redis_survives_kill_freeze_and_restart() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let address = format!("127.0.0.1:{}", server.port());
    server.command(&["SET", "k", "v"]);

    server.freeze();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    assert!(
        stream.read(&mut [0; 8]).is_err(),
        "a frozen server answered"
    );
    server.thaw();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    assert!(stream.read(&mut [0; 8]).is_ok_and(|n| n > 0));

    server.kill();
    assert!(TcpStream::connect(&address).is_err());
    server.restart();
    assert_eq!(server.command(&["GET", "k"]), "v");
    server.stop();
    server.restart();
    assert_eq!(server.command(&["GET", "k"]), "v");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the kernel tells nobody when it has killed"
)]
fn a_private_server_does_not_outlive_a_thread_that_forgets_it() {
    let server_at = thread::spawn(|| {
        let server = RedisServer::start()?;
        let folder = server.command(&["CONFIG", "GET", "dir"]);
        let server_at = (server.port(), folder.lines().nth(1).unwrap().to_owned());
        // As a test process does that is killed: nothing is dropped.
        std::mem::forget(server);
        Some(server_at)
    })
    .join()
    .unwrap();
    let Some((port, folder)) = server_at else {
        return;
    };
    let begun = std::time::Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the server lives on"
        );
        thread::sleep(Duration::from_millis(10));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_cluster_spreads_keys_over_its_nodes() {
    let Some(mut cluster) = RedisCluster::start() else {
        return;
    };
    assert_eq!(cluster.urls().len(), 3);
    // `a` and `b` have slots 15495 and 3300.
    assert_eq!(cluster.nodes()[2].command(&["SET", "a", "1"]), "OK");
    assert_eq!(cluster.nodes()[0].command(&["SET", "b", "1"]), "OK");
    cluster.nodes()[1].kill();
    cluster.nodes()[1].restart();
    cluster.until_ok();
}

#[test]
fn a_sentinel_promotes_the_replica() {
    let Some(mut redis) = RedisSentinel::start() else {
        return;
    };
    redis.master().kill();
    redis.until_failed_over();
}
