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

impl<T> List<T> {
    pub(super) fn of(items: impl IntoIterator<Item = impl Into<T>>) -> Self {
        Self {
            items: items.into_iter().map(Into::into).collect(),
            next: None,
            prev: None,
        }
    }
}
