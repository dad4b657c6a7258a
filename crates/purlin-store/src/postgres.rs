//! A Postgres pool with settings that fit a service (feature `postgres`).

mod runner;

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

pub use self::runner::PostgresRunner;
use crate::deadline::LONGEST_WAIT;
use crate::{ConfigError, StoreError, deadline};

/// Whether a connection of the pool is one session of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pooling {
    /// A connection is a session: straight to the server, or through PgBouncer in session mode.
    /// Statements are prepared once per connection.
    #[default]
    Session,
    /// A pooler such as PgBouncer in transaction mode gives every *transaction* whatever session is
    /// free. Nothing may be left in a session: each statement says `persistent(false)`, so that it
    /// has no name, and stands in an explicit transaction, because preparing and executing it
    /// are two trips that could meet two sessions. Setting sqlx's statement cache to 0 is no
    /// substitute: then statements are named and never closed.
    Transaction,
}

/// How to connect to Postgres. Its `Debug` does not show the URL.
#[derive(Clone)]
pub struct PostgresConfig {
    options: PgConnectOptions,
    pooling: Pooling,
    max_connections: u32,
    acquire_timeout: Duration,
}

impl PostgresConfig {
    /// The server named by a URL, `postgres://user:password@host:port/database?sslmode=…`.
    ///
    /// What the URL leaves out sqlx takes from the `PG…` variables of libpq, and the password from
    /// `.pgpass`. TLS needs one of sqlx's `tls-…` features, which the application chooses.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] when it does not parse.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let options = PgConnectOptions::from_str(url).map_err(|_| ConfigError::Url)?;
        Ok(Self {
            // A statement in a log may hold what a user typed; whoever wants them there says so.
            options: options.disable_statement_logging(),
            pooling: Pooling::Session,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
        })
    }

    /// Whether connections are sessions. Default [`Pooling::Session`].
    #[must_use]
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// The most connections this process holds. Default 10: Postgres allows 100 in all by default,
    /// and a transaction that does not wait for the network is done in a few milliseconds. 0 is
    /// taken as 1.
    #[must_use]
    pub fn with_max_connections(mut self, max_connections: u32) -> Self {
        self.max_connections = max_connections.max(1);
        self
    }

    /// How long to wait for a free connection, a new one being made included. Default 5 s; it
    /// should be shorter than the time a client waits for the whole request. At most 24 days.
    #[must_use]
    pub fn with_acquire_timeout(mut self, acquire_timeout: Duration) -> Self {
        self.acquire_timeout = acquire_timeout.min(LONGEST_WAIT);
        self
    }

    /// The name under which these connections stand in `pg_stat_activity`.
    #[must_use]
    pub fn with_application_name(mut self, name: &str) -> Self {
        self.options = self.options.application_name(name);
        self
    }

    /// Makes the pool and its first connection, so that a wrong URL or a server that is down shows
    /// at start.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::StoreErrorKind::Unavailable), [`Timeout`](crate::StoreErrorKind::Timeout),
    /// or [`Refused`](crate::StoreErrorKind::Refused) (password, database).
    ///
    /// # Cancel safety
    ///
    /// Dropped early, there is no pool.
    pub async fn connect(&self) -> Result<PgPool, StoreError> {
        // The pool retries until its timeout and then reports only that it timed out, so the first
        // connection is tried here: its error says what is wrong.
        deadline("postgres", "connect", self.acquire_timeout, async {
            let options = self.session_options();
            sqlx::Connection::close(options.connect().await?).await?;
            let pool = self.pool_options().connect_with(options).await?;
            Ok::<_, sqlx::Error>(pool)
        })
        .await
    }

    /// Makes the pool without connecting: a server that is down shows at the first use.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, where sqlx starts the task that retires old connections.
    #[must_use]
    pub fn connect_lazy(&self) -> PgPool {
        self.pool_options()
            .connect_lazy_with(self.session_options())
    }

    fn pool_options(&self) -> PgPoolOptions {
        PgPoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.acquire_timeout)
            // sqlx does not know of a transaction whose `begin` was dropped before the answer, and
            // would lend the connection to somebody whose statements are then never committed.
            .after_release(|connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql("begin; rollback").execute(connection).await?;
                    Ok(true)
                })
            })
    }

    fn session_options(&self) -> PgConnectOptions {
        match self.pooling {
            Pooling::Session => self.options.clone(),
            // PgBouncer refuses parameters at the start of a session that it does not keep track of,
            // and this one changes nothing for values in binary.
            Pooling::Transaction => self.options.clone().extra_float_digits(None),
        }
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("host", &self.options.get_host())
            .field("port", &self.options.get_port())
            .field("database", &self.options.get_database())
            .field("pooling", &self.pooling)
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .finish_non_exhaustive()
    }
}
