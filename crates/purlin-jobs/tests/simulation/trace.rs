//! All that happens, as one number, and as text for who replays a seed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Ids follow from the seed; the number of one is when it was made.
pub(crate) fn number(id: &uuid::Uuid) -> u64 {
    id.as_u64_pair().0
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: DefaultHasher,
    /// What was last, if it is to be printed.
    pub(crate) lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(is_kept: bool) -> Self {
        Self {
            hasher: DefaultHasher::new(),
            lines: is_kept.then(Vec::new),
        }
    }

    pub(crate) fn add(&mut self, micros: i64, caller: u64, what: &str, numbers: &[u64]) {
        (micros, caller, what, numbers).hash(&mut self.hasher);
        if let Some(lines) = &mut self.lines {
            let seconds = std::time::Duration::from_micros(micros.unsigned_abs()).as_secs_f64();
            lines.push(format!(
                "{seconds:14.3} caller {caller}: {what} {numbers:?}"
            ));
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.hasher.finish()
    }
}
