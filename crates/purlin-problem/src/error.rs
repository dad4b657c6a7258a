//! What can be wrong with a configuration.

use std::fmt;

/// The parts given to a builder do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A date is before 1970 or after the year 9999, where an HTTP date ends (RFC 9110 §5.6.7).
    DateOutOfRange,
    /// The resource would be gone before it is deprecated, which RFC 9745 §4 forbids.
    SunsetBeforeDeprecation,
    /// Two problem types have this slug and are not the same otherwise.
    SlugConflict(&'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DateOutOfRange => f.write_str("the date is not between 1970 and 9999"),
            Self::SunsetBeforeDeprecation => {
                f.write_str("the sunset is earlier than the deprecation")
            }
            Self::SlugConflict(slug) => {
                write!(f, "two different problem types have the slug {slug}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}
