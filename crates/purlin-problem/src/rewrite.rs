//! Changing a document that somebody has written.

use std::collections::{HashMap, hash_map::Entry};

use serde::{Serialize, Serializer};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::{ProblemDetails, details::without_mark, json::Members};

/// `document`, which was read as `before`, so that it says `after`. What is the same in both stays
/// as it is to the byte: numbers keep their digits, and members their order.
///
/// Where it is not `tidy` (see [`ProblemDetails::read`]), each name stands in it once afterwards.
pub(crate) fn rewrite(
    document: &[u8],
    tidy: bool,
    before: &ProblemDetails,
    after: &ProblemDetails,
) -> Vec<u8> {
    if tidy && only_adds(before, after) {
        return append(document, &added(before, after));
    }
    let (old, mut new) = (members(before), members(after));
    let read = Members::read(without_mark(document)).map_or_else(Vec::new, |members| members.0);
    let mut written: Vec<(String, Box<RawValue>)> = Vec::with_capacity(read.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for (name, raw) in read {
        let value = match (old.get(&name), new.get(&name)) {
            (was, is) if was == is => raw.to_owned(),
            (_, Some(is)) => raw_value(is),
            (_, None) => continue,
        };
        match places.entry(name.clone()) {
            Entry::Occupied(place) => written[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(written.len());
                written.push((name, value));
            }
        }
    }
    new.retain(|name, _| !places.contains_key(name));
    written.extend(
        new.into_iter()
            .map(|(name, value)| (name, raw_value(&value))),
    );
    serde_json::to_vec(&Written(&written)).expect("texts and JSON are JSON")
}

/// Whether nothing is new but further extensions.
fn only_adds(before: &ProblemDetails, after: &ProblemDetails) -> bool {
    before.type_uri == after.type_uri
        && before.title == after.title
        && before.status == after.status
        && before.detail == after.detail
        && before.instance == after.instance
        && before
            .extensions
            .iter()
            .all(|(name, value)| after.extensions.get(name) == Some(value))
}

fn added(before: &ProblemDetails, after: &ProblemDetails) -> ProblemDetails {
    let new = after.extensions.iter();
    ProblemDetails {
        extensions: new
            .filter(|(name, _)| !before.extensions.contains_key(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        ..ProblemDetails::default()
    }
}

/// Adds members whose names are not in the document yet.
fn append(document: &[u8], added: &ProblemDetails) -> Vec<u8> {
    let Some(open) = document.trim_ascii_end().strip_suffix(b"}") else {
        return document.to_vec();
    };
    let added = serde_json::to_vec(added).expect("what was read as JSON is JSON");
    if added == b"{}" {
        return document.to_vec();
    }
    let open = open.trim_ascii_end();
    let separator: &[u8] = if open.ends_with(b"{") { b"" } else { b"," };
    [open, separator, &added[1..]].concat()
}

fn members(details: &ProblemDetails) -> Map<String, Value> {
    match serde_json::to_value(details) {
        Ok(Value::Object(members)) => members,
        _ => unreachable!("problem details are an object"),
    }
}

fn raw_value(value: &Value) -> Box<RawValue> {
    to_raw_value(value).expect("a value is JSON")
}

struct Written<'a>(&'a [(String, Box<RawValue>)]);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
