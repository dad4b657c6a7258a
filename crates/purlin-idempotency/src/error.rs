/// The `Idempotency-Key` of a request is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The field is there more than once.
    #[error("send one Idempotency-Key, not several")]
    Repeated,
    /// It has no characters.
    #[error("the key is empty")]
    Empty,
    /// It has more than 255 characters.
    #[error("the key has more than 255 characters")]
    TooLong,
    /// It is neither a string in quotes nor, unless strings are required, a bare key.
    #[error("the key is not a string in quotes, such as \"8e03978e-40d5-43e8-bc93-6894a57f9324\"")]
    Malformed,
}
