use std::fmt;
use std::str::FromStr;

use crate::ConfigError;

/// The name of a Postgres schema, safe to format into SQL text.
///
/// A schema cannot be a bind parameter, and `search_path` belongs to a session, which a pooler in
/// transaction mode shares between strangers. So the name goes into the text, once, and is checked
/// here: 1–63 of `a–z`, `0–9` and `_`, not starting with a digit, nor with `pg_` (PostgreSQL
/// documentation, "The System Catalog Schema"). Names of this form mean the same with and without
/// quotes; [`Display`](fmt::Display) writes them without, and [`quoted`](SchemaName::quoted) with
/// quotes, which a reserved word such as `user` needs.
///
/// ```
/// use purlin_store::SchemaName;
///
/// let schema: SchemaName = "billing".parse()?;
/// assert_eq!(schema.quoted().to_string(), r#""billing""#);
/// assert!("billing; drop table orders".parse::<SchemaName>().is_err());
/// # Ok::<(), purlin_store::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SchemaName(Box<str>);

impl SchemaName {
    /// Checks `name`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SchemaName`] when it is not of the form described on the type.
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        let first_fits = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let all_fit = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if first_fits && all_fit && name.len() <= 63 && !name.starts_with("pg_") {
            Ok(Self(name.into()))
        } else {
            Err(ConfigError::SchemaName)
        }
    }

    /// The name as it stands in the catalogue, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in double quotes, to be formatted into SQL.
    #[must_use]
    pub fn quoted(&self) -> impl fmt::Display + '_ {
        // No name that passes the check can hold a quote.
        struct Quoted<'a>(&'a str);
        impl fmt::Display for Quoted<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{}\"", self.0)
            }
        }
        Quoted(&self.0)
    }
}

/// `public`, where a new Postgres database has its tables.
impl Default for SchemaName {
    fn default() -> Self {
        Self("public".into())
    }
}

impl FromStr for SchemaName {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        Self::new(name)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        let longest = "a".repeat(63);
        for good in ["public", "_x", "a1", longest.as_str(), "user"] {
            assert!(SchemaName::new(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in [
            "",
            "1a",
            "A",
            "a-b",
            "a.b",
            "a\"b",
            "a b",
            "é",
            "pg_toast",
            "a\0",
            too_long.as_str(),
        ] {
            assert_eq!(SchemaName::new(bad), Err(ConfigError::SchemaName), "{bad}");
        }
    }
}
