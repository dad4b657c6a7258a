use std::fmt;

use bytes::Bytes;
use purlin_problem::BoxError;

use crate::RecordId;

/// What is done to an answer on its way into the store and back: encryption, compression.
///
/// A codec that encrypts should bind the ciphertext to the record (`id.as_bytes()` as
/// the associated data of an AEAD), so that somebody who can write to the store cannot give the
/// answer of one record to another; and put the id of its key into what it writes, so that keys can
/// be changed while old answers are kept.
///
/// The `Debug` output of a layer has that of its codec in it: do not derive it on a type that holds a
/// key, but write one that shows the id of the key at most.
///
/// What cannot be encoded is not kept: the effect is remembered, and a retry gets 409
/// `idempotency-answer-unavailable`, as it does when an answer cannot be decoded.
pub trait AnswerCodec: fmt::Debug + Send + Sync + 'static {
    /// What is stored for `plain`. Not empty.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; it is logged.
    fn encode(&self, id: &RecordId, plain: Vec<u8>) -> Result<Vec<u8>, BoxError>;

    /// What [`encode`](Self::encode) was given.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; it is logged.
    fn decode(&self, id: &RecordId, stored: Bytes) -> Result<Bytes, BoxError>;
}
