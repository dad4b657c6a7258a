//! Violations from `validator`.

use std::borrow::Cow;

use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

use super::{
    Violation, Violations,
    names::Names,
    place::{Place, Source},
};

/// Where `validator` files what is said of a struct as a whole.
const WHOLE_STRUCT: &str = "__all__";

impl Violations {
    /// What `validator` says about a JSON body, up to
    /// [`DEFAULT_MAX_VIOLATIONS`](super::DEFAULT_MAX_VIOLATIONS), in the order of the Rust names,
    /// with pointers by the names on the wire.
    ///
    /// `code` is that of the rule. The text is the `message` of the rule if it has one, which is
    /// yours and must not repeat the value, or else one of ours with the limits of `length` and
    /// `range`. Other parameters of an error are never sent: the value is among them. A violation
    /// in a map has no pointer, since `validator` counts its entries instead of naming them.
    ///
    /// ```
    /// use purlin_problem::{Violations, WireNames};
    /// use validator::Validate;
    ///
    /// #[derive(serde::Deserialize, Validate, WireNames)]
    /// struct Account {
    ///     #[serde(rename = "userName")]
    ///     #[validate(length(min = 3))]
    ///     user_name: String,
    /// }
    ///
    /// let account = Account { user_name: "ab".to_owned() };
    /// let errors = account.validate().unwrap_err();
    /// let violations = Violations::from_validator(&errors, Account::names());
    /// let first = violations.iter().next().unwrap();
    /// assert_eq!(first.pointer().unwrap().as_fragment(), "#/userName");
    /// assert_eq!(first.detail(), "must have a length of 3 or more");
    /// ```
    #[must_use]
    pub fn from_validator(errors: &ValidationErrors, names: Names) -> Self {
        let mut violations = Self::new();
        violations.read_validator(errors, &Place::root(names), Source::Body);
        violations
    }

    /// As [`from_validator`](Self::from_validator), for values from a query or a form: the
    /// violations name parameters.
    #[must_use]
    pub fn from_validator_parameters(errors: &ValidationErrors, names: Names) -> Self {
        let mut violations = Self::new();
        violations.read_validator(errors, &Place::root(names), Source::Parameters);
        violations
    }

    fn read_validator(&mut self, errors: &ValidationErrors, parent: &Place, source: Source) {
        let mut fields: Vec<_> = errors.errors().iter().collect();
        fields.sort_by_key(|(field, _)| *field);
        for (field, kind) in fields {
            let mut place = parent.clone();
            if field != WHOLE_STRUCT {
                place.key(field);
            }
            match kind {
                ValidationErrorsKind::Struct(errors) => self.read_validator(errors, &place, source),
                ValidationErrorsKind::List(items) => {
                    for (index, errors) in items {
                        let mut place = place.clone();
                        place.index(*index);
                        self.read_validator(errors, &place, source);
                    }
                }
                ValidationErrorsKind::Field(errors) => {
                    for error in errors {
                        self.push_with(|| {
                            let violation =
                                Violation::new(detail(error)).with_code(error.code.clone());
                            place.apply(violation, source)
                        });
                    }
                }
            }
        }
    }
}

fn detail(error: &ValidationError) -> Cow<'static, str> {
    if let Some(message) = &error.message {
        return message.clone();
    }
    match error.code.as_ref() {
        "length" => limits(error, "must have a length").into(),
        "range" => limits(error, "must be").into(),
        "required" => "is required".into(),
        "email" => "must be an email address".into(),
        "url" => "must be a URL".into(),
        "ip" | "ipv4" | "ipv6" => "must be an IP address".into(),
        "credit_card" => "must be a credit card number".into(),
        "regex" => "does not have the required form".into(),
        "contains" => "does not contain the required text".into(),
        "does_not_contain" => "contains text that is not allowed".into(),
        "must_match" => "does not match the other field".into(),
        "non_control_character" => "must not contain control characters".into(),
        _ => "is not valid".into(),
    }
}

/// The limits that the rule was given, which are numbers of the program.
fn limits(error: &ValidationError, what: &str) -> String {
    let limit = |name| error.params.get(name).filter(|limit| limit.is_number());
    let joint = if what.ends_with("length") { " of" } else { "" };
    let mut text = what.to_owned();
    let mut add = |words: String| {
        text.push_str(if text.len() == what.len() {
            joint
        } else {
            " and"
        });
        text.push(' ');
        text.push_str(&words);
    };
    let mut any = false;
    for (name, before, after) in [
        ("equal", "exactly ", ""),
        ("min", "", " or more"),
        ("exclusive_min", "more than ", ""),
        ("max", "", " or less"),
        ("exclusive_max", "less than ", ""),
    ] {
        if let Some(limit) = limit(name) {
            any = true;
            add(format!("{before}{limit}{after}"));
        }
    }
    if any {
        text
    } else {
        "is out of range".to_owned()
    }
}
