use std::time::{Duration, UNIX_EPOCH};

use bytes::{Buf as _, BufMut as _, Bytes};
use purlin_store::{StoreError, StoreErrorKind, from_unix_micros, unix_micros};
use uuid::Uuid;

use super::NAME;
use crate::store::{Claimed, Entry, Failure, JobView, State, Tally};
use crate::{JobId, OnConflict, QueueName, Run, Span};

/// The version of the layout that `record.lua` describes.
const LAYOUT: u8 = 1;

/// So much of a record stands before its unique key.
const HEAD_BYTES: usize = 63;

const NO_TRACEPARENT: u32 = u32::MAX;

/// A payload that is larger stands apart, so that a job that only moves is read and written without it.
const LARGE_BYTES: usize = 4 << 10;

/// As long as nobody waits for, in microseconds: 285 000 years. Added to any time it is no overflow.
const LONGEST: i64 = 9_000_000_000_000_000_000;

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).map_or(LONGEST, |micros| micros.min(LONGEST))
}

/// What is wrong with an answer: the call that was answered makes an error of it.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) StoreErrorKind, pub(super) &'static str);

pub(super) fn corrupt(what: &'static str) -> Wrong {
    Wrong(StoreErrorKind::Corrupt, what)
}

fn refused(what: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, NAME, "enqueue").with_source(what)
}

/// What all ready jobs of one queue and kind have in common, as `place.lua` makes it.
pub(super) fn prefix(queue: &QueueName, kind: &str) -> Result<Vec<u8>, StoreError> {
    let mut prefix = Vec::with_capacity(queue.as_str().len() + 3 + kind.len());
    prefix.put_slice(queue.as_str().as_bytes());
    prefix.put_u8(0);
    prefix.put_u16(kind_bytes(kind)?);
    prefix.put_slice(kind.as_bytes());
    Ok(prefix)
}

fn kind_bytes(kind: &str) -> Result<u16, StoreError> {
    u16::try_from(kind.len()).map_err(|_| refused("the kind is too long"))
}

/// A job as `enqueue.lua` takes it.
pub(super) struct New<'a> {
    pub(super) when: Vec<u8>,
    /// The record without what the server fills in.
    pub(super) body: Vec<u8>,
    /// The payload, if it stands apart.
    pub(super) payload: Option<&'a [u8]>,
    /// Whether it replaces another of its key, and for how long it has that.
    pub(super) unique: Option<Vec<u8>>,
}

impl<'a> New<'a> {
    pub(super) fn of(entry: &'a Entry) -> Result<Self, StoreError> {
        let payload = &entry.payload[..];
        let is_large = payload.len() > LARGE_BYTES;
        Ok(Self {
            when: when(entry.options.run),
            body: body(entry, is_large)?,
            payload: is_large.then_some(payload),
            unique: entry.options.unique.map(|unique| {
                let replaces = unique.on_conflict == OnConflict::Replace;
                let mut text = if replaces { "1" } else { "0" }.to_owned();
                if let Span::For(period) = unique.span {
                    text.push_str(&micros(period).to_string());
                }
                text.into_bytes()
            }),
        })
    }
}

fn when(run: Run) -> Vec<u8> {
    match run {
        Run::Now => Vec::new(),
        Run::After(delay) => format!("a{}", micros(delay)).into_bytes(),
        Run::At(at) => {
            let mut bytes = vec![b't'];
            bytes.put_i64(unix_micros(at).min(LONGEST));
            bytes
        }
    }
}

fn body(entry: &Entry, is_large: bool) -> Result<Vec<u8>, StoreError> {
    let options = &entry.options;
    let queue = options.queue.as_str().as_bytes();
    let offset = u16::try_from(options.priority.offset().as_secs());
    let traceparent = entry.traceparent.as_deref();
    let traceparent_bytes = match traceparent {
        None => NO_TRACEPARENT,
        Some(text) => u32::try_from(text.len())
            .ok()
            .filter(|bytes| *bytes < NO_TRACEPARENT)
            .ok_or_else(|| refused("the traceparent is too long"))?,
    };
    let mut body = Vec::with_capacity(200 + entry.payload.len().min(LARGE_BYTES));
    body.put_u8(LAYOUT);
    body.put_u8(is_large.into());
    body.put_u16(offset.unwrap_or(u16::MAX));
    body.put_u8(match options.unique.map(|unique| unique.span) {
        None => 0,
        Some(Span::UntilStart) => 1,
        Some(Span::UntilDone) => 2,
        Some(Span::For(_)) => 3,
    });
    body.put_u16(options.max_attempts);
    body.put_u16(entry.version);
    body.put_i64(options.timeout.map_or(-1, micros));
    // A name of a queue has 64 bytes at most.
    body.put_u8(u8::try_from(queue.len()).unwrap_or(u8::MAX));
    body.put_u16(kind_bytes(&entry.kind)?);
    body.put_u32(traceparent_bytes);
    if let Some(unique) = &options.unique {
        body.put_slice(unique.key.as_bytes());
    }
    body.put_slice(queue);
    body.put_slice(entry.kind.as_bytes());
    body.put_slice(traceparent.unwrap_or_default().as_bytes());
    if !is_large {
        body.put_slice(&entry.payload);
    }
    Ok(body)
}

/// A job as it was read.
pub(super) struct Record {
    enqueued_at: i64,
    run_at: i64,
    failures: u16,
    crashes: u16,
    finished_at: i64,
    failed_at: i64,
    max_attempts: u16,
    version: u16,
    timeout: i64,
    queue: String,
    kind: String,
    traceparent: Option<String>,
    error: String,
    payload: Bytes,
}

impl Record {
    pub(super) fn decode(mut record: Bytes) -> Result<Self, Wrong> {
        let bytes = &mut record;
        if bytes.len() < HEAD_BYTES {
            return Err(corrupt("a job is too short"));
        }
        let (enqueued_at, run_at, _state) = (bytes.get_i64(), bytes.get_i64(), bytes.get_u8());
        let (failures, crashes) = (bytes.get_u16(), bytes.get_u16());
        let (finished_at, failed_at) = (bytes.get_i64(), bytes.get_i64());
        let error_bytes = bytes.get_u16();
        let (layout, _large, _offset) = (bytes.get_u8(), bytes.get_u8(), bytes.get_u16());
        if layout != LAYOUT {
            return Err(corrupt("a job is not of this version"));
        }
        let is_unique = bytes.get_u8() > 0;
        let (max_attempts, version) = (bytes.get_u16(), bytes.get_u16());
        let timeout = bytes.get_i64();
        let (queue_bytes, kind_bytes) = (bytes.get_u8(), bytes.get_u16());
        let traceparent_bytes = bytes.get_u32();
        if is_unique {
            take(bytes, 32)?;
        }
        Ok(Self {
            enqueued_at,
            run_at,
            failures,
            crashes,
            finished_at,
            failed_at,
            max_attempts,
            version,
            timeout,
            queue: text(bytes, queue_bytes.into())?,
            kind: text(bytes, kind_bytes.into())?,
            traceparent: match traceparent_bytes {
                NO_TRACEPARENT => None,
                length => Some(text(bytes, length as usize)?),
            },
            error: text(bytes, error_bytes.into())?,
            payload: record,
        })
    }

    pub(super) fn claimed(self, id: JobId) -> Result<Claimed, Wrong> {
        let timeout = u64::try_from(self.timeout).ok().map(Duration::from_micros);
        Ok(Claimed {
            id,
            kind: self.kind,
            version: self.version,
            payload: self.payload,
            traceparent: self.traceparent,
            failures: self.failures,
            crashes: self.crashes,
            max_attempts: self.max_attempts,
            timeout,
            enqueued_at: instant(self.enqueued_at)?,
            parents: Tally::default(),
        })
    }

    pub(super) fn view(self, id: JobId, state: State) -> Result<JobView, Wrong> {
        let waits = matches!(state, State::Ready | State::Scheduled);
        let has_ended = matches!(state, State::Dead | State::Cancelled);
        let failure = match self.failed_at {
            0 => None,
            at => Some(Failure {
                error: self.error,
                at: instant(at)?,
            }),
        };
        Ok(JobView {
            id,
            kind: self.kind,
            version: self.version,
            queue: QueueName::new(self.queue).map_err(|_| corrupt("no name of a queue"))?,
            state,
            payload: self.payload,
            failures: self.failures,
            crashes: self.crashes,
            max_attempts: self.max_attempts,
            failure,
            enqueued_at: instant(self.enqueued_at)?,
            run_at: waits.then(|| instant(self.run_at)).transpose()?,
            finished_at: has_ended.then(|| instant(self.finished_at)).transpose()?,
            waits_for: 0,
            parents: Tally::default(),
        })
    }
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, Wrong> {
    if bytes.len() < length {
        return Err(corrupt("a job is too short"));
    }
    Ok(bytes.split_to(length))
}

fn text(bytes: &mut Bytes, length: usize) -> Result<String, Wrong> {
    let text = take(bytes, length)?;
    String::from_utf8(text.into()).map_err(|_| corrupt("a text is not one"))
}

fn instant(micros: i64) -> Result<std::time::SystemTime, Wrong> {
    from_unix_micros(micros).ok_or_else(|| corrupt("a time out of range"))
}

/// What is kept of an error.
pub(super) fn kept(error: &str) -> String {
    Failure::new(error, UNIX_EPOCH).error
}

/// Ids that stand in a row.
pub(super) fn ids(bytes: &[u8]) -> Result<Vec<JobId>, Wrong> {
    bytes.chunks(16).map(id).collect()
}

pub(super) fn id(bytes: &[u8]) -> Result<JobId, Wrong> {
    let uuid = Uuid::from_slice(bytes).map_err(|_| corrupt("an id is not one"))?;
    Ok(JobId::from_uuid(uuid))
}

pub(super) fn state(letter: u8) -> Result<State, Wrong> {
    Ok(match letter {
        b'r' => State::Ready,
        b's' => State::Scheduled,
        b'l' => State::Leased,
        b'd' => State::Dead,
        b'c' => State::Cancelled,
        _ => return Err(corrupt("an unknown state")),
    })
}

pub(super) fn letter(state: State) -> &'static str {
    match state {
        State::Ready => "r",
        State::Scheduled => "s",
        // No job is: it carries no flows.
        State::Blocked => "b",
        State::Leased => "l",
        State::Dead => "d",
        State::Cancelled => "c",
        // It keeps no groups: nothing stands there.
        State::Held => "h",
    }
}
