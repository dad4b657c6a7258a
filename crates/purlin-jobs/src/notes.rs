use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{JobId, NoteError, PayloadCodec};

/// The largest result, as JSON: 1 MiB.
pub(crate) const MAX_RESULT_BYTES: usize = 1 << 20;

/// The largest value of a step or a signal, as JSON: 256 KiB. A worker reads all of a job's at once.
pub(crate) const MAX_NOTE_BYTES: usize = 256 << 10;

/// The longest message of a progress.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1_024;

const MAX_NAME_BYTES: usize = 128;

/// How far the work on a job is.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// How much of it is done, in hundredths.
    pub percent: u8,
    /// What is being done.
    pub message: String,
}

impl Progress {
    /// So much of it is done: 0–100, and 100 if it is more.
    #[must_use]
    pub fn new(percent: u8) -> Self {
        Self {
            percent: percent.min(100),
            message: String::new(),
        }
    }

    /// Says what is being done, in up to 1 024 bytes.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }
}

impl fmt::Debug for Progress {
    /// Without the message, which may be about somebody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("percent", &self.percent)
            .finish_non_exhaustive()
    }
}

pub(crate) type Codec = Option<Arc<dyn PayloadCodec>>;

/// What a value is kept as: what its errors call it, and its kind for the codec.
#[derive(Clone, Copy)]
pub(crate) enum Label<'a> {
    Result,
    Progress,
    Step(&'a str),
    Timer(&'a str),
    Signal(&'a str),
}

impl Label<'_> {
    fn kind(self) -> String {
        match self {
            Self::Result => "purlin:result".to_owned(),
            Self::Progress => "purlin:progress".to_owned(),
            Self::Step(name) => format!("purlin:step:{name}"),
            Self::Timer(name) => format!("purlin:timer:{name}"),
            Self::Signal(name) => format!("purlin:signal:{name}"),
        }
    }

    /// That its name may be one.
    pub(crate) fn check(self) -> Result<(), NoteError> {
        match self {
            Self::Result | Self::Progress => Ok(()),
            Self::Step(name) | Self::Timer(name) | Self::Signal(name) => {
                let is_name = (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.contains('\0');
                if is_name {
                    Ok(())
                } else {
                    Err(NoteError::Name)
                }
            }
        }
    }
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result => f.write_str("the result"),
            Self::Progress => f.write_str("the progress"),
            Self::Step(name) => write!(f, "the step `{name}`"),
            Self::Timer(name) => write!(f, "the timer `{name}`"),
            Self::Signal(name) => write!(f, "the signal `{name}`"),
        }
    }
}

/// What is stored of a value.
pub(crate) fn seal<T: Serialize + ?Sized>(
    codec: &Codec,
    label: Label<'_>,
    job: JobId,
    value: &T,
    limit: usize,
) -> Result<Bytes, NoteError> {
    let what = || label.to_string();
    let json = serde_json::to_vec(value).map_err(|error| NoteError::Write {
        what: what(),
        reason: error.to_string(),
    })?;
    if json.len() > limit {
        return Err(NoteError::TooLarge {
            what: what(),
            bytes: json.len(),
            limit,
        });
    }
    Ok(match codec {
        None => json.into(),
        Some(codec) => codec.encode(&label.kind(), job, json.into()),
    })
}

/// The value of what was stored.
pub(crate) fn open<T: DeserializeOwned>(
    codec: &Codec,
    label: Label<'_>,
    job: JobId,
    stored: Bytes,
) -> Result<T, NoteError> {
    let unread = |reason: String| NoteError::Read {
        what: label.to_string(),
        reason,
    };
    let json = match codec {
        None => stored,
        Some(codec) => codec
            .decode(&label.kind(), job, stored)
            .map_err(|error| unread(error.to_string()))?,
    };
    serde_json::from_slice(&json).map_err(|error| {
        // Its own message quotes the value.
        let (what, line, column) = (error.classify(), error.line(), error.column());
        unread(format!("{what:?} error at line {line} column {column}"))
    })
}
