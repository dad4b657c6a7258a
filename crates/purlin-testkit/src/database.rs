use std::future::Future;
use std::sync::Once;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::skip::{is_leftover, skip, unique_name};

const VARIABLE: &str = "PURLIN_TEST_POSTGRES_URL";
const PREFIX: &str = "purlin_test";

/// An empty Postgres database that only this test has; dropped with it, also when it panics.
/// Databases left behind by runs that were killed are dropped once they are an hour old.
#[derive(Debug)]
pub struct TestDatabase {
    server: String,
    name: String,
}

impl TestDatabase {
    /// A new database on the server of `PURLIN_TEST_POSTGRES_URL`; `None` when there is none (see
    /// [`skip`]).
    ///
    /// # Panics
    ///
    /// When the server is named and does not do it.
    #[must_use]
    pub fn create() -> Option<Self> {
        Some(Self::on(&server()?))
    }

    /// A new database on the server at `url`.
    ///
    /// # Panics
    ///
    /// When the server does not do it.
    #[must_use]
    pub fn on(url: &str) -> Self {
        purge_leftovers(url);
        let name = unique_name(PREFIX);
        // `template0` has no sessions that copying would have to wait for.
        execute(url, format!("create database {name} template template0"))
            .expect("the test server makes databases");
        Self {
            server: url.to_owned(),
            name,
        }
    }

    /// The URL of this database.
    #[must_use]
    pub fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }

    /// The name of this database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A server that the test has stopped takes its databases with it.
        let sql = format!("drop database if exists {} with (force)", self.name);
        let _ = execute(&self.server, sql);
    }
}

/// An empty schema that only this test has, in the database of `PURLIN_TEST_POSTGRES_URL`; cheaper
/// than a database, for tests that touch nothing outside their schema.
#[derive(Debug)]
pub struct TestSchema {
    server: String,
    name: String,
}

impl TestSchema {
    /// A new schema; `None` when there is no server (see [`skip`]).
    ///
    /// # Panics
    ///
    /// When the server is named and does not do it.
    #[must_use]
    pub fn create() -> Option<Self> {
        let server = server()?;
        purge_leftovers(&server);
        let name = unique_name(PREFIX);
        execute(&server, format!("create schema {name}")).expect("the test server makes schemas");
        Some(Self { server, name })
    }

    /// The URL of the database that has the schema.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.clone()
    }

    /// The name of the schema.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestSchema {
    fn drop(&mut self) {
        let _ = execute(
            &self.server,
            format!("drop schema if exists {} cascade", self.name),
        );
    }
}

fn server() -> Option<String> {
    let url = std::env::var(VARIABLE).ok();
    if url.is_none() {
        skip(&format!("a Postgres server named by {VARIABLE}"));
    }
    url
}

fn with_database(url: &str, database: &str) -> String {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(base, q)| (base, Some(q)));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let path = base[authority..]
        .find('/')
        .map_or(base.len(), |at| authority + at);
    let query = query.map(|q| format!("?{q}")).unwrap_or_default();
    format!("{}/{database}{query}", &base[..path])
}

fn purge_leftovers(url: &str) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (catalogue, drop) in [
            (
                "select datname::text from pg_database",
                "drop database if exists {} with (force)",
            ),
            (
                "select nspname::text from pg_namespace",
                "drop schema if exists {} cascade",
            ),
        ] {
            let names = block_on(async {
                let mut connection = connect(url).await?;
                let names: Vec<String> = sqlx::query_scalar(catalogue)
                    .fetch_all(&mut connection)
                    .await?;
                connection.close().await?;
                Ok::<_, sqlx::Error>(names)
            });
            for name in names.unwrap_or_default() {
                if is_leftover(&name, PREFIX) {
                    // Another run may be dropping the same one.
                    let _ = execute(url, drop.replace("{}", &name));
                }
            }
        }
    });
}

pub(crate) fn execute(url: &str, sql: String) -> Result<(), sqlx::Error> {
    block_on(async {
        let mut connection = connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        connection.close().await
    })
}

async fn connect(url: &str) -> Result<sqlx::PgConnection, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    // PgBouncer, which this must reach too, refuses that parameter.
    options
        .extra_float_digits(None)
        .disable_statement_logging()
        .connect()
        .await
}

/// Runs on a thread and a runtime of its own, since it is called from `drop` inside a runtime.
fn block_on<T: Send>(
    future: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, sqlx::Error> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(future)
        });
        thread.join().unwrap_or(Err(sqlx::Error::WorkerCrashed))
    })
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn only_the_database_of_a_url_changes() {
        for (url, expected) in [
            ("postgres://u:p@h:5432/postgres", "postgres://u:p@h:5432/x"),
            ("postgres://u@h", "postgres://u@h/x"),
            (
                "postgres://u@h/?sslmode=disable",
                "postgres://u@h/x?sslmode=disable",
            ),
        ] {
            assert_eq!(with_database(url, "x"), expected);
        }
    }
}
