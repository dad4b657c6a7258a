//! Environment variables: all are read and checked before anything else happens, and everything
//! that is wrong with them is said at once.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::Path,
};

/// What is wrong with a variable: name, reason. The value is not repeated; it may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    variable: String,
    reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.reason)
    }
}

/// The variables, and what was wrong with those that were read.
#[derive(Debug)]
pub struct Vars {
    vars: BTreeMap<OsString, OsString>,
    errors: Vec<ConfigError>,
}

impl Vars {
    /// Reads nothing yet.
    pub fn new(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self {
            vars: vars.into_iter().collect(),
            errors: Vec::new(),
        }
    }

    /// `value`, unless something was wrong with a variable.
    ///
    /// # Errors
    ///
    /// Everything that was wrong, in the order of reading.
    pub fn finish<T>(self, value: T) -> Result<T, Vec<ConfigError>> {
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(self.errors)
        }
    }

    fn error(&mut self, variable: &str, reason: impl Into<String>) {
        self.errors.push(ConfigError {
            variable: variable.to_owned(),
            reason: reason.into(),
        });
    }

    /// The text of a variable. One that is empty is an error, not a default: it is what is left of
    /// a secret that was not there.
    fn text(&mut self, variable: &str) -> Option<String> {
        let value = self.vars.get(OsStr::new(variable))?;
        let reason = match value.to_str() {
            Some("") => "is empty: give it a value or unset it",
            Some(text) => return Some(text.to_owned()),
            None => "is not UTF-8",
        };
        self.error(variable, reason);
        None
    }

    /// The value of a variable; `None` where it is not set, or wrong.
    pub fn read<T>(
        &mut self,
        variable: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let text = self.text(variable)?;
        parse(&text)
            .map_err(|reason| self.error(variable, reason))
            .ok()
    }

    /// The same for one that may be a secret, and so may stand in a file that the variable
    /// `…_FILE` names.
    pub fn read_secret<T>(
        &mut self,
        variable: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let of_file = format!("{variable}_FILE");
        let Some(file) = self.text(&of_file) else {
            return self.read(variable, parse);
        };
        if self.text(variable).is_some() {
            self.error(
                &of_file,
                format!("is set, and so is {variable}: unset one of them"),
            );
            return None;
        }
        let value = std::fs::read_to_string(Path::new(&file))
            .map_err(|error| format!("names a file that cannot be read: {error}"))
            .and_then(|text| {
                parse(text.trim()).map_err(|reason| format!("names a file whose content {reason}"))
            });
        value.map_err(|reason| self.error(&of_file, reason)).ok()
    }

    /// Those that begin with `prefix` and are none of `known`. They are no errors, because a
    /// container platform sets some of its own in the name of a service (`ORDERS_SERVICE_HOST`).
    #[must_use]
    pub fn unknown(&self, prefix: &str, known: &[&str]) -> Vec<String> {
        let names = self.vars.keys().filter_map(|name| name.to_str());
        names
            .filter(|name| name.starts_with(prefix) && !known.contains(name))
            .map(str::to_owned)
            .collect()
    }
}
