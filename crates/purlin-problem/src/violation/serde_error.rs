//! What serde complained about, in words that are safe to send.

use std::borrow::Cow;

use serde_path_to_error::{Path, Segment};

use super::{JsonPointer, Violation, frame::Frame};

/// The longest pointer, in bytes as it is written. A longer one ends at an ancestor: half a
/// pointer would point at something else.
const MAX_POINTER_BYTES: usize = 512;

/// The longest parameter name that is sent back, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// A message of serde, read by the fixed prefixes of `serde::de::Error`.
///
/// The messages hold values of the input, and those of hand-written `Deserialize` hold anything,
/// so nothing of them is sent but names of members; every text is one of ours.
#[derive(Clone, Copy)]
enum Complaint<'a> {
    Missing(&'a str),
    Unknown(&'a str),
    Duplicate(&'a str),
    Variant,
    Type(Expected),
    Range(Expected),
    Length,
    Other,
}

/// What a type would have accepted, where serde or its derive said it in fixed words.
#[derive(Clone, Copy)]
enum Expected {
    /// A number, text or boolean.
    Scalar(&'static str),
    Integer(i128, u128),
    NonZero(i128, u128),
    Array,
    /// An object by the derive.
    Struct,
    /// An object by `HashMap` and its like.
    Map,
}

impl<'a> Complaint<'a> {
    fn read(message: &'a str) -> Self {
        if let Some(name) = quoted(message, "missing field `") {
            return Self::Missing(name);
        }
        if let Some(name) = quoted(message, "duplicate field `") {
            return Self::Duplicate(name);
        }
        if let Some(rest) = message.strip_prefix("unknown field `") {
            // The name is the client's and may contain these words too; the last ones are serde's.
            return rest
                .rfind("`, expected ")
                .or_else(|| rest.rfind("`, there are no fields"))
                .map_or(Self::Other, |end| Self::Unknown(&rest[..end]));
        }
        if message.starts_with("unknown variant `") {
            return Self::Variant;
        }
        if message.starts_with("invalid length ") {
            return Self::Length;
        }
        if let Some(rest) = message.strip_prefix("invalid type: ") {
            return expected(rest).map_or(Self::Other, Self::Type);
        }
        if let Some(rest) = message.strip_prefix("invalid value: ") {
            return expected(rest).map_or(Self::Other, Self::Range);
        }
        Self::of_text(message)
    }

    /// The errors of `FromStr`, which are all that is left of a number in a query or a form.
    fn of_text(message: &str) -> Self {
        match message {
            "invalid digit found in string" | "cannot parse integer from empty string" => {
                Self::Type(Expected::Scalar("must be an integer in the allowed range"))
            }
            "number too large to fit in target type" | "number too small to fit in target type" => {
                Self::Range(Expected::Scalar("must be an integer in the allowed range"))
            }
            "number out of range" => {
                Self::Range(Expected::Scalar("must be a number in the allowed range"))
            }
            "invalid float literal" | "cannot parse float from empty string" => {
                Self::Type(Expected::Scalar("must be a number"))
            }
            "provided string was not `true` or `false`" => {
                Self::Type(Expected::Scalar("must be true or false"))
            }
            _ => Self::Other,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::Unknown(_) => "unknown",
            Self::Duplicate(_) => "duplicate",
            Self::Variant => "variant",
            Self::Type(_) => "type",
            Self::Range(_) => "range",
            Self::Length => "length",
            Self::Other => "invalid",
        }
    }

    /// The member that the message itself names.
    const fn member(self) -> Option<&'a str> {
        match self {
            Self::Missing(name) | Self::Unknown(name) | Self::Duplicate(name) => Some(name),
            _ => None,
        }
    }

    /// Whether the path already ends with the member that the message names: that of an unknown
    /// one does, since it fails while the name is read; that of a missing one cannot.
    fn is_last_step(self, steps: &[&Segment]) -> bool {
        match (self, steps.last()) {
            (Self::Unknown(name), Some(Segment::Map { key })) => key == name,
            _ => false,
        }
    }

    /// Said of the place itself.
    fn detail(self) -> Cow<'static, str> {
        match self {
            Self::Missing(_) => "is required".into(),
            Self::Unknown(_) => "is not known".into(),
            Self::Duplicate(_) => "is given more than once".into(),
            Self::Variant => "is not one of the allowed values".into(),
            Self::Type(expected) | Self::Range(expected) => expected.phrase(),
            Self::Length => "does not have the right number of items".into(),
            Self::Other => "is not valid".into(),
        }
    }

    /// Said of something that the place contains, when it is not known where exactly.
    const fn detail_within(self) -> &'static str {
        match self {
            Self::Missing(_) => "a required member is missing",
            Self::Unknown(_) => "a member is not known",
            Self::Duplicate(_) => "a member is given more than once",
            _ => "does not have the expected form",
        }
    }

    /// Whether the complaint is about the very value at the end of the path, given how its type
    /// reads it.
    fn is_about(self, frame: Frame) -> bool {
        match frame {
            Frame::Untold => true,
            Frame::Scalar => self.member().is_none(),
            Frame::Object(fields) => match self {
                Self::Missing(name) | Self::Duplicate(name) => fields.contains(&name),
                Self::Unknown(name) => !fields.contains(&name),
                Self::Type(Expected::Struct) | Self::Length => true,
                _ => false,
            },
            Frame::Map => matches!(self, Self::Type(Expected::Map)),
            Frame::Array => matches!(self, Self::Type(Expected::Array) | Self::Length),
            Frame::Enum => matches!(self, Self::Variant),
            Frame::Opaque => false,
        }
    }

    /// Whether a type that no longer knows its path (see [`Frame::Opaque`]) may have said this of
    /// a value inside of the whole document.
    const fn may_be_within(self) -> bool {
        !matches!(
            self,
            Self::Missing(_)
                | Self::Unknown(_)
                | Self::Duplicate(_)
                | Self::Type(Expected::Struct | Expected::Map | Expected::Array)
        )
    }
}

impl Expected {
    fn phrase(self) -> Cow<'static, str> {
        match self {
            Self::Scalar(phrase) => phrase.into(),
            Self::Integer(min, max) => format!("must be an integer from {min} to {max}").into(),
            Self::NonZero(min, max) => {
                format!("must be an integer from {min} to {max}, but not 0").into()
            }
            Self::Array => "must be an array".into(),
            Self::Struct | Self::Map => "must be an object".into(),
        }
    }
}

fn quoted<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    message.strip_prefix(prefix)?.strip_suffix('`')
}

/// The words after the last `expected`, if they are serde's own. Others may be written by hand
/// and may hold the value or the names of Rust types.
fn expected(rest: &str) -> Option<Expected> {
    let words = &rest[rest.rfind(", expected ")? + ", expected ".len()..];
    macro_rules! integers {
        ($($ty:ident)*) => {
            match words {
                $(
                    stringify!($ty) => {
                        return Some(Expected::Integer($ty::MIN as i128, $ty::MAX as u128));
                    }
                    concat!("a nonzero ", stringify!($ty)) => {
                        return Some(Expected::NonZero($ty::MIN as i128, $ty::MAX as u128));
                    }
                )*
                _ => {}
            }
        };
    }
    integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
    Some(match words {
        "f32" | "f64" => Expected::Scalar("must be a number"),
        "a boolean" => Expected::Scalar("must be true or false"),
        "a string" | "a borrowed string" => Expected::Scalar("must be a string"),
        "a character" => Expected::Scalar("must be a single character"),
        "unit" => Expected::Scalar("must be null"),
        "a map" => Expected::Map,
        "a sequence" => Expected::Array,
        _ if words.starts_with("struct ") => Expected::Struct,
        _ if ["an array of length ", "a tuple of size ", "tuple struct "]
            .iter()
            .any(|prefix| words.starts_with(prefix)) =>
        {
            Expected::Array
        }
        _ => return None,
    })
}

/// The violation that an error while reading a JSON body stands for; `frame` tells how the type
/// reads the place at the end of a path.
pub(crate) fn in_body(
    path: Option<&Path>,
    message: &str,
    frame: impl FnOnce(&[&Segment]) -> Frame,
) -> Violation {
    let complaint = Complaint::read(message);
    let within = Violation::new(complaint.detail_within()).with_code(complaint.code());
    let Some(path) = path else {
        return within;
    };
    let mut steps: Vec<&Segment> = path.iter().collect();
    if complaint.is_last_step(&steps) {
        steps.pop();
    }
    let frame = frame(&steps);
    let (pointer, complete) = pointer(&steps);
    let lost = matches!(frame, Frame::Untold) && steps.is_empty() && complaint.may_be_within();
    if complete && !lost && complaint.is_about(frame) {
        match complaint.member() {
            None => return complaint.at(pointer),
            Some(name) if fits(&pointer, name) => return complaint.at(pointer.key(name)),
            Some(_) => {}
        }
    }
    // Of the whole body it goes without saying.
    if pointer == JsonPointer::root() {
        within
    } else {
        within.at_pointer(pointer)
    }
}

/// The violation that an error while reading a query or a form stands for: flat, so that a path
/// has one step and a member that is named is a parameter.
pub(crate) fn in_parameters(path: Option<&Path>, message: &str) -> Violation {
    let complaint = Complaint::read(message);
    let step = path
        .and_then(|path| path.iter().next())
        .and_then(|segment| match segment {
            Segment::Map { key } | Segment::Enum { variant: key } => Some(key.as_str()),
            _ => None,
        });
    match step.or(complaint.member()) {
        Some(name) if name.len() <= MAX_NAME_BYTES => Violation::new(complaint.detail())
            .with_code(complaint.code())
            .at_parameter(name.to_owned()),
        _ => Violation::new(complaint.detail_within()).with_code(complaint.code()),
    }
}

impl Complaint<'_> {
    fn at(self, pointer: JsonPointer) -> Violation {
        Violation::new(self.detail())
            .with_code(self.code())
            .at_pointer(pointer)
    }
}

/// As far as the path is known and short enough, and whether that is all of it.
fn pointer(steps: &[&Segment]) -> (JsonPointer, bool) {
    let mut pointer = JsonPointer::root();
    for segment in steps {
        pointer = match segment {
            Segment::Seq { index } => pointer.index(*index),
            Segment::Map { key } | Segment::Enum { variant: key } if fits(&pointer, key) => {
                pointer.key(key)
            }
            Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => {
                return (pointer, false);
            }
        };
    }
    (pointer, true)
}

fn fits(pointer: &JsonPointer, name: &str) -> bool {
    // Measured without escapes first, so that a long name is not escaped only to be dropped.
    name.len() <= MAX_POINTER_BYTES && pointer.key(name).as_fragment().len() <= MAX_POINTER_BYTES
}
