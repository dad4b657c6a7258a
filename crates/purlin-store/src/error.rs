use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// What kind of thing went wrong, for code that has to decide what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, is shutting down, starting, full, or read-only after a
    /// failover. Whether a write that was under way took effect is unknown. Later may be better.
    Unavailable,
    /// No answer within the deadline, or no free connection. Whether a write that was under way
    /// took effect is unknown.
    Timeout,
    /// Somebody else was there at the same time: a unique key that exists, a serialization
    /// failure, a deadlock, a lock that was not free in time. Nothing was changed.
    Conflict,
    /// What is stored cannot be read back: a damaged file, a value that does not decode.
    Corrupt,
    /// The tables are missing, too old, too new, or not the ones that were released. The
    /// [`source`](StdError::source) is a `SchemaError` where the migrations were checked.
    Schema,
    /// The store is there and refused: wrong credentials, a missing permission, a statement or
    /// a setting that it does not accept. Trying again changes nothing.
    Refused,
}

impl StoreErrorKind {
    fn phrase(self) -> &'static str {
        match self {
            Self::Unavailable => "store is unavailable",
            Self::Timeout => "no answer in time",
            Self::Conflict => "conflict with a concurrent change",
            Self::Corrupt => "stored data is corrupt",
            Self::Schema => "schema does not fit",
            Self::Refused => "refused by the store",
        }
    }
}

/// A store did not do what it was asked to: which store, which operation, of what
/// [kind](StoreErrorKind), after how long, and because of what.
///
/// `Display` is one line without the cause, for instance
/// `redis: claim: no answer in time after 50ms`; the cause is the [`source`](StdError::source).
/// Neither holds a connection URL. `Debug` shows the causes by their messages and leaves out what a
/// driver keeps beside them, such as the row that violated a constraint.
///
/// Driver errors become a `StoreError` by `?` (`From<sqlx::Error>` with the feature `postgres` or
/// `sqlite`, `From<RedisError>` with `redis`), and [`deadline`](crate::deadline) fills in the store,
/// the operation and the time.
pub struct StoreError(Box<Inner>);

struct Inner {
    kind: StoreErrorKind,
    store: Option<&'static str>,
    operation: Option<&'static str>,
    tried_for: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// An error of this kind, of `operation` on `store`; both in lower case, as they shall stand in
    /// a log line (`"redis"`, `"claim"`).
    #[must_use]
    pub fn new(kind: StoreErrorKind, store: &'static str, operation: &'static str) -> Self {
        let mut error = Self::of_kind(kind);
        error.0.store = Some(store);
        error.0.operation = Some(operation);
        error
    }

    pub(crate) fn of_kind(kind: StoreErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            store: None,
            operation: None,
            tried_for: None,
            source: None,
        }))
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, saying how long it was tried. A time that is known already stays.
    #[must_use]
    pub fn with_tried_for(mut self, tried_for: Duration) -> Self {
        self.0.tried_for.get_or_insert(tried_for);
        self
    }

    /// Names the store and the operation, unless they are known already: the innermost call
    /// knows best what it was doing.
    #[must_use]
    pub(crate) fn during(mut self, store: &'static str, operation: &'static str) -> Self {
        self.0.store.get_or_insert(store);
        self.0.operation.get_or_insert(operation);
        self
    }

    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.0.kind
    }

    /// Which store it was, in lower case; `"store"` when that is not known.
    #[must_use]
    pub fn store(&self) -> &'static str {
        self.0.store.unwrap_or("store")
    }

    /// What was being done, in lower case; `None` when that is not known.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// How long it was tried; `None` when nobody measured.
    #[must_use]
    pub fn tried_for(&self) -> Option<Duration> {
        self.0.tried_for
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.store())?;
        if let Some(operation) = self.0.operation {
            write!(f, "{operation}: ")?;
        }
        f.write_str(self.0.kind.phrase())?;
        if let Some(tried_for) = self.0.tried_for {
            // Nanoseconds of a network call are noise in a log line.
            let rounded =
                Duration::from_micros(u64::try_from(tried_for.as_micros()).unwrap_or(u64::MAX));
            write!(f, " after {rounded:?}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.0.kind)
            .field("store", &self.0.store)
            .field("operation", &self.0.operation)
            .field("tried_for", &self.0.tried_for)
            .field("source", &self.0.source.as_deref().map(Chain))
            .finish()
    }
}

/// The causes by their `Display`. A driver's `Debug` holds more than belongs in a log: Postgres'
/// has the key of a unique violation and the row of a check violation.
struct Chain<'a>(&'a (dyn StdError + Send + Sync + 'static));

impl fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        let mut next: Option<&dyn StdError> = Some(self.0);
        while let Some(error) = next {
            list.entry(&format_args!("{error}"));
            next = error.source();
        }
        list.finish()
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// A value given to a constructor of this crate is not one that it can work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A schema name must be 1–63 of `a–z`, `0–9`, `_`, not start with a digit, and not with `pg_`,
    /// which Postgres keeps for itself.
    #[error("schema name must be 1 to 63 of a-z, 0-9 and _, not starting with a digit or pg_")]
    SchemaName,
    /// A key prefix must be 1–64 of `a–z`, `A–Z`, `0–9`, `_`, `-`, `.`, `:`: no brace, since braces
    /// choose the slot in a cluster.
    #[error("key prefix must be 1 to 64 of a-z, A-Z, 0-9, _, -, . and :")]
    KeyPrefix,
    /// The connection URL does not parse. It is not repeated here because it may hold a password.
    #[error("connection url does not parse")]
    Url,
    /// A list of addresses is empty.
    #[error("list of addresses is empty")]
    NoAddress,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_store_operation_kind_and_time_but_not_the_source() {
        let error = StoreError::new(StoreErrorKind::Timeout, "redis", "claim")
            .with_tried_for(Duration::from_nanos(50_000_499))
            .with_source("the cause");
        assert_eq!(
            error.to_string(),
            "redis: claim: no answer in time after 50ms"
        );
        assert_eq!(error.source().expect("was given").to_string(), "the cause");
    }

    #[test]
    fn what_is_known_first_stays() {
        let error = StoreError::of_kind(StoreErrorKind::Conflict)
            .during("postgres", "insert")
            .with_tried_for(Duration::from_millis(3))
            .during("redis", "outer")
            .with_tried_for(Duration::from_secs(9));
        assert_eq!(
            error.to_string(),
            "postgres: insert: conflict with a concurrent change after 3ms"
        );
    }

    #[test]
    fn an_error_is_one_word_wide() {
        assert_eq!(size_of::<StoreError>(), size_of::<usize>());
    }
}
