use std::borrow::Cow;
use std::fmt;

use crate::ConfigError;

/// The name of a queue: 1–64 of `a–z`, `A–Z`, `0–9`, `_`, `-`, `.`, `:`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Cow<'static, str>);

impl QueueName {
    /// Where jobs wait that were not told to wait elsewhere: `default`.
    pub const DEFAULT: Self = Self(Cow::Borrowed("default"));

    /// A queue of this name.
    ///
    /// # Errors
    ///
    /// [`ConfigError::QueueName`] when it has other characters, none or too many.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Result<Self, ConfigError> {
        let name = name.into();
        if Self::is_name(&name) {
            Ok(Self(name))
        } else {
            Err(ConfigError::QueueName)
        }
    }

    pub(crate) fn is_name(name: &str) -> bool {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        (1..=64).contains(&name.len()) && name.bytes().all(known)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
