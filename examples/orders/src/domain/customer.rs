const MAX_CHARS: usize = 64;

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Customer(String);

impl Customer {
    /// 1 to 64 of `A-Z a-z 0-9 - _ .`, else nothing.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        ((1..=MAX_CHARS).contains(&name.len()) && name.bytes().all(plain))
            .then(|| Self(name.to_owned()))
    }

    /// The customer of a demonstration.
    pub(crate) fn demo() -> Self {
        Self("demo".to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
