//! The document of a problem while it is being written.

use std::fmt;
#[cfg(feature = "derive")]
use std::io::Write as _;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::ProblemType;

/// Room for a detail and a few members, so that most documents are allocated once.
const EXTRA_BYTES: usize = 256;

/// A JSON object that is still open: members can be added, and each name stands in it once.
pub(crate) struct OpenObject {
    bytes: Vec<u8>,
    /// A bit for each name that was added, by [`bit`]: a clear bit says for certain that the name
    /// is not there.
    names: u64,
}

impl OpenObject {
    /// Starts with `type`, `title` and `status`, which were written at compile time.
    #[inline]
    pub(crate) fn of(ty: &ProblemType) -> Self {
        let document = ty.document();
        Self::open(&document[..document.len() - 1])
    }

    #[inline]
    fn open(head: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(head.len() + EXTRA_BYTES);
        bytes.extend_from_slice(head);
        Self { bytes, names: 0 }
    }

    /// Adds a member whose name needs no escapes and is known not to stand there yet.
    ///
    /// A value that cannot be written as JSON is left out and the log says so: the answer to a
    /// failure must not fail.
    #[inline]
    pub(crate) fn push<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        let before = self.bytes.len();
        self.push_name(name);
        if let Err(error) = serde_json::to_writer(&mut self.bytes, value) {
            self.bytes.truncate(before);
            tracing::error!(member = name, %error, "a member of a problem is not valid JSON");
        }
    }

    /// As [`push`](Self::push), for text that is yet to be formatted: that is done in place, and
    /// once more in the rare case that the text needs escapes.
    #[inline]
    #[cfg(feature = "derive")]
    pub(crate) fn push_text(&mut self, name: &str, text: fmt::Arguments<'_>) {
        let before = self.bytes.len();
        self.push_name(name);
        self.bytes.push(b'"');
        let start = self.bytes.len();
        // RFC 8259 §7.
        let needs_escape = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
        if self.bytes.write_fmt(text).is_ok() && !self.bytes[start..].iter().any(needs_escape) {
            self.bytes.push(b'"');
        } else {
            self.bytes.truncate(before);
            self.push(name, &Text(text));
        }
    }

    #[inline]
    fn push_name(&mut self, name: &str) {
        if self.bytes.last() != Some(&b'{') {
            self.bytes.push(b',');
        }
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
        self.names |= bit(name);
    }

    /// Adds a member, or gives the one of that name a new value.
    pub(crate) fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if self.names & bit(name) != 0 {
            self.remove(name);
        }
        self.push(name, value);
    }

    fn remove(&mut self, name: &str) {
        let document = self.closed();
        let mut kept = Self {
            bytes: vec![b'{'],
            names: 0,
        };
        for (member, value) in Members::read(&document)
            .into_iter()
            .flat_map(|members| members.0)
        {
            if member != name {
                kept.push(&member, value);
            }
        }
        *self = kept;
    }

    /// The finished document.
    #[inline]
    pub(crate) fn close(mut self) -> Vec<u8> {
        self.bytes.push(b'}');
        self.bytes
    }

    /// The document as it would be finished now.
    pub(crate) fn closed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + 1);
        bytes.extend_from_slice(&self.bytes);
        bytes.push(b'}');
        bytes
    }
}

impl fmt::Debug for OpenObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.closed()))
    }
}

/// Names of different length or first letter mostly have different bits.
#[inline]
fn bit(name: &str) -> u64 {
    let first = name.bytes().next().unwrap_or_default();
    1 << ((name.len() * 29 + usize::from(first)) % 64)
}

/// Writes what `Display` says as a JSON string, without building the text in between.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The members of an object in their order, with their values as they are written.
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// `None` when the text is not one JSON object.
    pub(crate) fn read(document: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(document).ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
