use std::error::Error as StdError;

use bytes::Bytes;

use crate::JobId;

/// Changes what is stored of a payload: encrypts it, compresses it.
///
/// Kind and id are given so that they can be authenticated with the payload (AEAD): then nobody who
/// can write to the store can give one job the payload of another. To rotate a key, write the key's
/// id in front and keep the old key for reading until no job is left that needs it, dead ones included.
///
/// What is kept with a job goes through it too, since it may be as personal as a payload. The kind is then
/// `purlin:result`, `purlin:progress`, `purlin:step:` or `purlin:signal:` and the name, so that none
/// of them can be given out for another. The names are stored as they are.
///
/// Do not derive `Debug` on a type that holds a key: print its name only.
pub trait PayloadCodec: Send + Sync + 'static {
    /// The bytes to store.
    fn encode(&self, kind: &str, id: JobId, payload: Bytes) -> Bytes;

    /// The payload of stored bytes.
    ///
    /// # Errors
    ///
    /// Why they cannot be read, without what they hold: it becomes the failure of the attempt.
    fn decode(
        &self,
        kind: &str,
        id: JobId,
        stored: Bytes,
    ) -> Result<Bytes, Box<dyn StdError + Send + Sync>>;
}
