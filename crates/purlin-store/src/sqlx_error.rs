use sqlx::error::{DatabaseError, ErrorKind};

use crate::{StoreError, StoreErrorKind};

/// Sorts by what the database said: its SQLSTATE (PostgreSQL documentation, appendix A) or its
/// result code (sqlite.org/rescode.html). Anything not listed there was
/// [`Refused`](StoreErrorKind::Refused).
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Database(database) => return of_database(&**database).with_source(error),
            sqlx::Error::PoolTimedOut => StoreErrorKind::Timeout,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            // What `BEGIN` answers on a connection whose server is being replaced.
            | sqlx::Error::BeginFailed => StoreErrorKind::Unavailable,
            sqlx::Error::RowNotFound | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                StoreErrorKind::Corrupt
            }
            sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::TypeNotFound { .. } => StoreErrorKind::Schema,
            _ => StoreErrorKind::Refused,
        };
        StoreError::of_kind(kind).with_source(error)
    }
}

fn of_database(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default();
    #[cfg(feature = "postgres")]
    if error
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .is_some()
    {
        return StoreError::of_kind(of_sqlstate(&code));
    }
    #[cfg(feature = "sqlite")]
    if error
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some()
    {
        return StoreError::of_kind(of_sqlite_code(&code, error.message()));
    }
    // Another driver, through the same sqlx.
    let _ = code;
    StoreError::of_kind(match error.kind() {
        ErrorKind::UniqueViolation => StoreErrorKind::Conflict,
        _ => StoreErrorKind::Refused,
    })
}

#[cfg(feature = "postgres")]
fn of_sqlstate(code: &str) -> StoreErrorKind {
    match code {
        // unique_violation, exclusion_violation, lock_not_available
        "23505" | "23P01" | "55P03" => StoreErrorKind::Conflict,
        // query_canceled, which is what statement_timeout raises; idle_in_transaction_session_timeout
        "57014" | "25P03" => StoreErrorKind::Timeout,
        // read_only_sql_transaction: the primary has become a standby
        "25006" => StoreErrorKind::Unavailable,
        // invalid_schema_name, undefined_table, undefined_column, undefined_function
        "3F000" | "42P01" | "42703" | "42883" => StoreErrorKind::Schema,
        // transaction_rollback: serialization failure, deadlock
        _ if code.starts_with("40") => StoreErrorKind::Conflict,
        // connection exception, insufficient resources, operator intervention, system error
        _ if ["08", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            StoreErrorKind::Unavailable
        }
        // data corrupted, index corrupted
        "XX001" | "XX002" => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Refused,
    }
}

#[cfg(feature = "sqlite")]
fn of_sqlite_code(code: &str, message: &str) -> StoreErrorKind {
    let Ok(code) = code.parse::<u32>() else {
        return StoreErrorKind::Refused;
    };
    match (code, code & 0xff) {
        // SQLITE_CONSTRAINT_PRIMARYKEY, _UNIQUE, _ROWID; SQLITE_BUSY, SQLITE_LOCKED
        (1555 | 2067 | 2579, _) | (_, 5 | 6) => StoreErrorKind::Conflict,
        // SQLITE_INTERRUPT
        (_, 9) => StoreErrorKind::Timeout,
        // SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN
        (_, 8 | 10 | 13 | 14) => StoreErrorKind::Unavailable,
        // SQLITE_CORRUPT, SQLITE_NOTADB
        (_, 11 | 26) => StoreErrorKind::Corrupt,
        // SQLITE_ERROR covers every statement that does not compile; its message tells which.
        (_, 1)
            if ["no such table", "no such column"]
                .iter()
                .any(|start| message.starts_with(start)) =>
        {
            StoreErrorKind::Schema
        }
        // SQLITE_SCHEMA: the tables changed while the statement ran.
        (_, 17) => StoreErrorKind::Schema,
        _ => StoreErrorKind::Refused,
    }
}
