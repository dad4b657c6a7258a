//! The document of a problem while it is being written.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::ProblemType;

/// Room for a detail and a few members, so that most documents are allocated once.
const EXTRA_BYTES: usize = 256;

/// A JSON object that is still open: members can be added, and each name stands in it once.
pub(crate) struct OpenObject(Vec<u8>);

impl OpenObject {
    /// Starts with `type`, `title` and `status`, which were written at compile time.
    pub(crate) fn of(ty: &ProblemType) -> Self {
        Self::reopen(ty.document())
    }

    /// Opens a finished document again. The caller knows that it is one JSON object.
    pub(crate) fn reopen(document: &[u8]) -> Self {
        let open = document.trim_ascii_end();
        let open = open.strip_suffix(b"}").unwrap_or(open).trim_ascii_end();
        let mut bytes = Vec::with_capacity(open.len() + EXTRA_BYTES);
        bytes.extend_from_slice(open);
        Self(bytes)
    }

    /// Adds a member whose name is known not to stand there yet.
    ///
    /// A value that cannot be written as JSON is left out and the log says so: the answer to a
    /// failure must not fail.
    pub(crate) fn push<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.push_with(name, value, |bytes| serde_json::to_writer(bytes, name));
    }

    /// As [`push`](Self::push), for a name without characters that JSON escapes.
    pub(crate) fn push_plain<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.push_with(name, value, |bytes| {
            bytes.push(b'"');
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b'"');
            Ok(())
        });
    }

    fn push_with<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
        write_name: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) {
        let before = self.0.len();
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        let written = write_name(&mut self.0).and_then(|()| {
            self.0.push(b':');
            serde_json::to_writer(&mut self.0, value)
        });
        if let Err(error) = written {
            self.0.truncate(before);
            tracing::error!(member = name, %error, "a member of a problem is not valid JSON");
        }
    }

    /// Adds a member, or gives the one of that name a new value.
    pub(crate) fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if self.has(name) {
            self.remove(name);
        }
        self.push(name, value);
    }

    /// Whether a member of that name stands at the top level.
    fn has(&self, name: &str) -> bool {
        // The name may also stand in a string or a nested object, so a hit is only a hint.
        self.0
            .windows(name.len())
            .any(|window| window == name.as_bytes())
            && Members::read(&self.closed())
                .is_some_and(|members| members.0.iter().any(|(member, _)| member == name))
    }

    fn remove(&mut self, name: &str) {
        let document = self.closed();
        let mut kept = Self(vec![b'{']);
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
    pub(crate) fn close(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    /// The document as it would be finished now.
    pub(crate) fn closed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() + 1);
        bytes.extend_from_slice(&self.0);
        bytes.push(b'}');
        bytes
    }
}

impl fmt::Debug for OpenObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.closed()))
    }
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
