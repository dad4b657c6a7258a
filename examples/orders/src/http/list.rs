use serde::Serialize;

/// The most items of one answer.
pub(super) const MAX_ITEMS: i64 = 100;

/// A page of a list. There is one page for now: the newest [`MAX_ITEMS`].
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    items: Vec<T>,
    next: Option<String>,
    prev: Option<String>,
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        Self {
            items,
            next: None,
            prev: None,
        }
    }
}
