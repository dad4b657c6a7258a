use std::ops::Range;
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use purlin_store::redis::driver::{RedisWrite, ToRedisArgs};

use crate::store::{Claim, Completion, Existing, Lease, Nonce, State};
use crate::{Fingerprint, RecordId};

/// Where the answer begins.
const HEAD_BYTES: usize = 84;

/// Where the deadlines stand; the server fills in those of a claim, since the time is its own.
pub(super) const DEADLINES: Range<usize> = 27..43;

/// A record as `record.lua` lays it out.
pub(super) struct Record {
    is_completed: bool,
    fingerprint: Option<Fingerprint>,
    attempt: u64,
    answer: Bytes,
}

impl Record {
    /// `None` when this is not one.
    pub(super) fn decode(value: &Bytes) -> Option<Self> {
        let head = value.get(..HEAD_BYTES)?;
        let flag = |byte: u8| match byte {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        if head[0] != 1 {
            return None;
        }
        let is_completed = flag(head[1])?;
        let is_known = flag(head[2])?;
        Nonce::from_bytes(&head[11..27])?;
        let fingerprint = Fingerprint::from_bytes(&head[43..])?;
        let record = Self {
            is_completed,
            fingerprint: is_known.then_some(fingerprint),
            attempt: u64::from_be_bytes(head[3..11].try_into().ok()?),
            answer: value.slice(HEAD_BYTES..),
        };
        (is_completed || record.answer.is_empty()).then_some(record)
    }

    /// What it is, when it or its lease is so for `micros` more.
    pub(super) fn existing(self, micros: i64) -> Existing {
        let remaining = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
        let state = if self.is_completed {
            State::Completed {
                answer: self.answer,
                remaining,
            }
        } else if remaining.is_zero() {
            State::Lapsed
        } else {
            State::InFlight { remaining }
        };
        Existing::new(self.fingerprint, self.attempt, state)
    }
}

/// Attempt and nonce as they stand in a record, so that a script compares them at once.
pub(super) fn owner(lease: &Lease) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&lease.attempt.to_be_bytes());
    bytes[8..].copy_from_slice(lease.nonce.as_bytes());
    bytes
}

fn head(is_completed: bool, lease: &Lease, fingerprint: Option<&Fingerprint>) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..3].copy_from_slice(&[1, is_completed.into(), fingerprint.is_some().into()]);
    head[3..27].copy_from_slice(&owner(lease));
    if let Some(fingerprint) = fingerprint {
        head[43..].copy_from_slice(fingerprint.as_bytes());
    }
    head
}

/// The record of a claim that finds none, without its deadlines.
pub(super) fn claimed(claim: &Claim) -> [u8; HEAD_BYTES] {
    let first = Lease {
        id: claim.id,
        attempt: 1,
        nonce: claim.nonce,
    };
    head(false, &first, claim.fingerprint.as_ref())
}

/// A completed record as one argument. It is written where it is sent from: the answer may be large.
pub(super) struct Completed<'a> {
    pub(super) lease: &'a Lease,
    pub(super) completion: &'a Completion,
    /// In microseconds since 1970; `None` is for as long as Redis keeps it.
    pub(super) expires_at: Option<i64>,
}

impl ToRedisArgs for Completed<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut head = head(true, self.lease, Some(&self.completion.fingerprint));
        let expires_at = self.expires_at.unwrap_or(i64::MAX).to_be_bytes();
        head[DEADLINES].copy_from_slice([expires_at; 2].as_flattened());
        let answer = &self.completion.answer;
        let mut arg = out.bufmut_for_next_arg(HEAD_BYTES + answer.len());
        arg.put_slice(&head);
        arg.put_slice(answer);
    }
}

/// `<scope>:<id>` in hexadecimal. All of it chooses the slot, so that the records of one scope, which
/// may be the only one, are spread over a cluster.
pub(super) fn tag(id: &RecordId) -> String {
    let mut tag = String::with_capacity(97);
    push_hex(&mut tag, id.scope().as_bytes());
    tag.push(':');
    push_hex(&mut tag, id.as_bytes());
    tag
}

pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}
