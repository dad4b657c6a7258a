//! Where in a request the report of a validator points to.

use std::borrow::Cow;

use super::{
    JsonPointer, Violation,
    names::{Names, Shape, Wire, WireField},
};

/// How many wrappers in one another are looked through; a type may wrap itself.
const MAX_WRAPPERS: usize = 16;

/// The way from a whole value to one of its fields, while a report is read.
#[derive(Clone)]
pub(crate) struct Place {
    names: Names,
    /// `None` once the way is lost.
    steps: Option<Vec<Step>>,
}

#[derive(Clone)]
enum Step {
    Key(Cow<'static, str>),
    Index(usize),
}

/// Where the values that are validated came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Body,
    Parameters,
}

impl Place {
    pub(crate) fn root(names: Names) -> Self {
        Self {
            names,
            steps: Some(Vec::new()),
        }
    }

    /// To a field by its Rust name, or to a member of a map.
    pub(crate) fn key(&mut self, key: &str) {
        let bare = key.strip_prefix("r#").unwrap_or(key);
        match self.names.0 {
            Shape::Fields(fields) => self.field(fields, bare),
            Shape::Members(names) => {
                self.names = names();
                self.step(Step::Key(key.to_owned().into()));
            }
            Shape::SameAsRust => self.step(Step::Key(bare.to_owned().into())),
            Shape::Leaf | Shape::Items(_) | Shape::Unknown => self.steps = None,
        }
    }

    fn field(&mut self, mut fields: &'static [WireField], name: &str) {
        for _ in 0..MAX_WRAPPERS {
            if let Some(field) = fields.iter().find(|field| field.rust == name) {
                self.names = (field.names)();
                match field.wire {
                    Wire::Named(name) => self.step(Step::Key(name.into())),
                    Wire::Flattened => {}
                    Wire::Absent => self.steps = None,
                }
                return;
            }
            // Perhaps a wrapper that the validator does not mention either.
            match fields {
                [field] if matches!(field.wire, Wire::Flattened) => match (field.names)().0 {
                    Shape::Fields(inner) => fields = inner,
                    _ => break,
                },
                _ => break,
            }
        }
        self.steps = None;
    }

    /// To an item of an array.
    pub(crate) fn index(&mut self, index: usize) {
        match self.names.0 {
            Shape::Items(names) => {
                self.names = names();
                self.step(Step::Index(index));
            }
            Shape::Leaf | Shape::SameAsRust => self.step(Step::Index(index)),
            // A struct without names for its fields; `garde` counts them.
            Shape::Fields(fields) => match fields {
                [field] if matches!(field.wire, Wire::Flattened) => {
                    self.names = (field.names)();
                    if field.rust != index.to_string() {
                        self.index(index);
                    }
                }
                _ => self.steps = None,
            },
            Shape::Members(_) | Shape::Unknown => self.steps = None,
        }
    }

    /// Whether numbers are keys here: a map, not an array.
    #[cfg(feature = "garde")]
    pub(crate) const fn has_members(&self) -> bool {
        matches!(self.names.0, Shape::Members(_))
    }

    fn step(&mut self, step: Step) {
        if let Some(steps) = &mut self.steps {
            steps.push(step);
        }
    }

    /// The violation at this place, or without one if the way was lost.
    pub(crate) fn apply(&self, violation: Violation, source: Source) -> Violation {
        let Some(steps) = &self.steps else {
            return violation;
        };
        match source {
            Source::Body if steps.is_empty() => violation,
            Source::Body => {
                let root = JsonPointer::root();
                violation.at_pointer(steps.iter().fold(root, |pointer, step| match step {
                    Step::Key(key) => pointer.key(key),
                    Step::Index(index) => pointer.index(*index),
                }))
            }
            Source::Parameters => match steps.first() {
                Some(Step::Key(key)) => violation.at_parameter(key.clone()),
                _ => violation,
            },
        }
    }
}
