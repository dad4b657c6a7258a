//! Violations from `garde`.

use garde::{Report, error::Path};

use super::{
    Violation, Violations,
    names::Names,
    place::{Place, Source},
};

impl Violations {
    /// What a `garde` report says about a JSON body, up to
    /// [`DEFAULT_MAX_VIOLATIONS`](super::DEFAULT_MAX_VIOLATIONS), with pointers by the names on the
    /// wire.
    ///
    /// `code` is the rule (`length`, `range`, `email`, …), or `invalid` for a custom one. The
    /// texts are garde's, whose rules do not repeat the value; that of a custom rule is yours, and
    /// must not either.
    ///
    /// ```
    /// use garde::Validate;
    /// use purlin_problem::{Violations, WireNames};
    ///
    /// #[derive(serde::Deserialize, Validate, WireNames)]
    /// #[serde(rename_all = "camelCase")]
    /// struct Account {
    ///     #[garde(length(min = 3))]
    ///     user_name: String,
    /// }
    ///
    /// let account = Account { user_name: "ab".to_owned() };
    /// let report = account.validate().unwrap_err();
    /// let violations = Violations::from_garde(&report, Account::names());
    /// let first = violations.iter().next().unwrap();
    /// assert_eq!(first.pointer().unwrap().as_fragment(), "#/userName");
    /// assert_eq!(first.code(), Some("length"));
    /// ```
    #[must_use]
    pub fn from_garde(report: &Report, names: Names) -> Self {
        Self::read_garde(report, names, Source::Body)
    }

    /// As [`from_garde`](Self::from_garde), for values from a query or a form: the violations name
    /// parameters.
    #[must_use]
    pub fn from_garde_parameters(report: &Report, names: Names) -> Self {
        Self::read_garde(report, names, Source::Parameters)
    }

    fn read_garde(report: &Report, names: Names, source: Source) -> Self {
        let mut violations = Self::new();
        for (path, error) in report.iter() {
            violations.push_with(|| {
                let (code, detail) = rule(error.message());
                let violation = Violation::new(detail.to_owned()).with_code(code);
                place(names, path).apply(violation, source)
            });
        }
        violations
    }
}

fn place(names: Names, path: &Path) -> Place {
    let mut place = Place::root(names);
    // Serialisation is the one public way to the single steps of a path; its text cannot tell a
    // dot in a key from one between two fields.
    let steps: Vec<(String, String)> = serde_json::to_value(path)
        .and_then(serde_json::from_value)
        .unwrap_or_default();
    for (kind, step) in &steps {
        match (kind.as_str(), step.parse()) {
            ("none", _) => {}
            ("index", Ok(index)) if !place.has_members() => place.index(index),
            _ => place.key(step),
        }
    }
    place
}

/// The rule that speaks so, and a text that holds neither another field's value nor its Rust name.
fn rule(message: &str) -> (&'static str, &str) {
    let code = [
        ("length is ", "length"),
        ("lower than ", "range"),
        ("greater than ", "range"),
        ("not a valid credit card number", "credit_card"),
        ("does not match pattern /", "pattern"),
        ("not a valid url", "url"),
        ("not a valid phone number", "phone_number"),
        ("not a valid IP", "ip"),
        ("not a valid email", "email"),
        ("not ascii", "ascii"),
        ("not alphanumeric", "alphanumeric"),
        ("not set", "required"),
    ]
    .into_iter()
    .find_map(|(prefix, code)| message.starts_with(prefix).then_some(code));
    match code {
        Some(code) => (code, message),
        None if message.starts_with("does not contain \"") => {
            ("contains", "does not contain the required text")
        }
        None if message.starts_with("value does not begin with \"") => {
            ("prefix", "does not begin with the required text")
        }
        None if message.starts_with("does not end with \"") => {
            ("suffix", "does not end with the required text")
        }
        None if message.starts_with("does not match ") && message.ends_with(" field") => {
            ("matches", "does not match the other field")
        }
        None => ("invalid", message),
    }
}
