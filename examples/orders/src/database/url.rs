use std::{fmt, path::PathBuf, str::FromStr};

use purlin_store::postgres::PostgresConfig;
use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

/// Where the database is. `Display` and `Debug` show no password.
#[derive(Clone)]
pub(crate) enum DatabaseUrl {
    Postgres { url: String, shown: String },
    Sqlite { path: PathBuf },
}

impl DatabaseUrl {
    /// The SQLite file `orders.db` in the working directory.
    pub(crate) fn default_file() -> Self {
        Self::Sqlite {
            path: PathBuf::from("orders.db"),
        }
    }

    fn postgres(url: &str) -> Result<Self, &'static str> {
        const MALFORMED: &str = "is not of the form postgres://user:password@host:5432/database";
        PostgresConfig::new(url).map_err(|_| MALFORMED)?;
        let parts = PgConnectOptions::from_str(url).map_err(|_| MALFORMED)?;
        // Put together again from the parts that are no secrets: a password may stand in more
        // than one place.
        let shown = format!(
            "postgres://{}:***@{}:{}/{}",
            parts.get_username(),
            parts.get_host(),
            parts.get_port(),
            parts.get_database().unwrap_or_default(),
        );
        Ok(Self::Postgres {
            url: url.to_owned(),
            shown,
        })
    }

    fn sqlite(url: &str) -> Result<Self, &'static str> {
        let (file, query) = url.split_once('?').unwrap_or((url, "mode=rwc"));
        if query != "mode=rwc" {
            return Err("has options; an SQLite file is always opened as by mode=rwc");
        }
        let parts = SqliteConnectOptions::from_str(file)
            .map_err(|_| "is not of the form sqlite:path/to/file.db")?;
        let path = parts.get_filename();
        if path.as_os_str().is_empty() || file.ends_with(":memory:") {
            return Err("names no file; each connection would get a database of its own");
        }
        Ok(Self::Sqlite {
            path: path.to_owned(),
        })
    }
}

impl FromStr for DatabaseUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Self::postgres(url),
            Some(("sqlite", _)) => Self::sqlite(url),
            _ => Err("must begin with sqlite: or postgres:"),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres { shown, .. } => f.write_str(shown),
            Self::Sqlite { path } => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}
