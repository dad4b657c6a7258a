//! Servers of this run's own, so that nobody else's requests are counted, with the settings that
//! their packages have: commits reach the disk.

use std::time::Duration;

use purlin_testkit::{PostgresServer, RedisServer};
use sqlx::{AssertSqlSafe, PgPool, Row as _, postgres::PgPoolOptions};

/// Connections of each pool.
pub const CONNECTIONS: u32 = 16;

pub struct Postgres {
    server: PostgresServer,
    /// For what is asked beside the measurement, on a database of its own.
    pub admin: PgPool,
}

impl Postgres {
    /// With `pg_stat_statements` and 300 connections, and a database `bench`.
    pub async fn start() -> Option<Self> {
        let mut server = PostgresServer::start()?;
        let load = "alter system set shared_preload_libraries = 'pg_stat_statements'";
        let first = pool(&server.url(), 1).await;
        execute(&first, load).await;
        // A pool for each of those that are compared.
        execute(&first, "alter system set max_connections = 300").await;
        drop(first);
        server.stop();
        server.restart();
        let admin = pool(&server.url(), 1).await;
        execute(&admin, "create extension pg_stat_statements").await;
        execute(&admin, "create database bench").await;
        Some(Self { server, admin })
    }

    pub async fn pool(&self, connections: u32) -> PgPool {
        pool(&self.url(), connections).await
    }

    pub fn url(&self) -> String {
        self.server.url().replace("/postgres?", "/bench?")
    }

    /// The URL of another database on it, which is made.
    pub async fn database(&self, name: &str) -> String {
        let create = AssertSqlSafe(format!("create database {name}"));
        let created = sqlx::raw_sql(create).execute(&self.admin).await;
        created.expect("is made");
        self.server
            .url()
            .replace("/postgres?", &format!("/{name}?"))
    }

    /// What somebody who repeats this should know.
    pub async fn describe(&self) -> String {
        let mut text = "Postgres".to_owned();
        for name in [
            "server_version",
            "fsync",
            "synchronous_commit",
            "shared_buffers",
        ] {
            let sql = AssertSqlSafe(format!("show {name}"));
            let row = sqlx::query(sql).fetch_one(&self.admin).await;
            let value: String = row.expect("is a setting").get(0);
            text += &match name {
                "server_version" => format!(" {value}"),
                _ => format!(", {name} = {value}"),
            };
        }
        text
    }
}

/// Nothing but what the caller asks goes over its connections: no test before they are lent.
pub async fn pool(url: &str, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(60))
        .connect(url)
        .await
        .expect("the server takes connections")
}

pub async fn execute(pool: &PgPool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.expect("is executed");
}

pub struct Redis {
    server: RedisServer,
    pub connection: redis::aio::MultiplexedConnection,
}

impl Redis {
    pub async fn start() -> Option<Self> {
        let server = RedisServer::start_with(&["--appendfsync", "everysec"])?;
        let client = redis::Client::open(server.url()).expect("is a URL");
        let connection = client.get_multiplexed_async_connection().await;
        let connection = connection.expect("the server takes connections");
        Some(Self { server, connection })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn describe(&self) -> String {
        let info = self.server.command(&["INFO", "server"]);
        let version = info
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"));
        format!(
            "Redis {}, appendfsync = everysec",
            version.unwrap_or("?").trim()
        )
    }

    /// Loads a script and returns its hash.
    pub async fn load(&self, code: &str) -> String {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(code);
        let loaded = command.query_async(&mut self.connection.clone()).await;
        loaded.expect("is loaded")
    }

    pub fn forget_statistics(&self) {
        self.server.command(&["CONFIG", "RESETSTAT"]);
    }

    /// What was executed since, inside of scripts too.
    pub fn commands(&self) -> Vec<Command> {
        let info = self.server.command(&["INFO", "commandstats"]);
        let commands = info.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let (calls, rest) = rest.split_once(",usec=")?;
            let (micros, _) = rest.split_once(',')?;
            Some(Command {
                name: name.to_owned(),
                calls: calls.parse().ok()?,
                micros: micros.parse().ok()?,
            })
        });
        let ours = ["config|resetstat", "info"];
        commands
            .filter(|command| !ours.contains(&&*command.name))
            .collect()
    }
}

pub struct Command {
    pub name: String,
    pub calls: u64,
    /// What the server took for all of them; for a script, what it calls included.
    pub micros: u64,
}

impl Command {
    pub fn is_script(&self) -> bool {
        self.name.starts_with("eval") || self.name.starts_with("fcall")
    }
}
