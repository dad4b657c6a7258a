use crate::ConfigError;

/// The keys of one block, under one prefix, grouped so that a cluster keeps each group on one node.
///
/// A key is `<prefix>:{<tag>}` or `<prefix>:{<tag>}:<part>`. A cluster places a key by what stands
/// in the braces alone (Redis Cluster specification, "Hash tags"), so all keys of one tag can be
/// used in one script. Tags from outside cannot break out: `{`, `}` and `%` are percent-encoded,
/// and the empty tag, which a cluster would ignore, is written `%`. Different tags never make the
/// same key.
///
/// ```
/// use purlin_store::redis::KeySpace;
///
/// let keys = KeySpace::new("orders:idempotency")?;
/// assert_eq!(keys.key("k1"), "orders:idempotency:{k1}");
/// assert_eq!(keys.part("k1", "waiters"), "orders:idempotency:{k1}:waiters");
/// assert_eq!(keys.key("}{"), "orders:idempotency:{%7D%7B}");
/// # Ok::<(), purlin_store::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpace {
    prefix: Box<str>,
}

impl KeySpace {
    /// Keys that begin with `prefix`, 1–64 of `a–z`, `A–Z`, `0–9`, `_`, `-`, `.` and `:`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyPrefix`] when it is not of that form.
    pub fn new(prefix: &str) -> Result<Self, ConfigError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
        if (1..=64).contains(&prefix.len()) && prefix.bytes().all(fits) {
            Ok(Self {
                prefix: prefix.into(),
            })
        } else {
            Err(ConfigError::KeyPrefix)
        }
    }

    /// The key of `tag`.
    #[must_use]
    pub fn key(&self, tag: &str) -> String {
        let mut key = self.open(tag);
        if tag.is_empty() {
            key.push('%');
        }
        key.push('}');
        key
    }

    /// Another key of `tag`, told apart by `part`.
    #[must_use]
    pub fn part(&self, tag: &str, part: &str) -> String {
        let mut key = self.key(tag);
        key.push(':');
        key.push_str(part);
        key
    }

    /// The pattern of all keys whose tag begins with `beginning`, for
    /// [`RedisHandle::scan`](crate::redis::RedisHandle::scan).
    ///
    /// ```
    /// # use purlin_store::redis::KeySpace;
    /// let keys = KeySpace::new("orders:idempotency")?;
    /// assert_eq!(keys.beginning_with("ann:"), "orders:idempotency:{ann:*");
    /// assert_eq!(keys.beginning_with("a*b"), r"orders:idempotency:{a\*b*");
    /// # Ok::<(), purlin_store::ConfigError>(())
    /// ```
    #[must_use]
    pub fn beginning_with(&self, beginning: &str) -> String {
        let mut pattern = String::new();
        for c in self.open(beginning).chars() {
            if r"\*?[]".contains(c) {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('*');
        pattern
    }

    /// `<prefix>:{<tag>`
    fn open(&self, tag: &str) -> String {
        let mut key = String::with_capacity(self.prefix.len() + tag.len() + 3);
        key.push_str(&self.prefix);
        key.push_str(":{");
        for c in tag.chars() {
            match c {
                '{' => key.push_str("%7B"),
                '}' => key.push_str("%7D"),
                '%' => key.push_str("%25"),
                c => key.push(c),
            }
        }
        key
    }
}
