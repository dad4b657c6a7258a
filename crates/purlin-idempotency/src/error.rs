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

/// Work was still going on at the end of [`drain`](crate::IdempotencyLayer::drain).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{running} requests are still being worked on")]
#[non_exhaustive]
pub struct DrainError {
    /// How many requests.
    pub running: usize,
}

/// A handler could not complete its lease in its own transaction. Roll it back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompleteError {
    /// The lease is not the current one: somebody else has the work.
    #[error("the lease was lost")]
    LeaseLost,
    /// There is no lease: the route is transactional, or the request passed through.
    #[error("the request has no lease")]
    NoLease,
    /// The codec failed.
    #[error("the answer could not be encoded")]
    Encode(#[source] purlin_problem::BoxError),
    /// The store failed.
    #[error("the record could not be written")]
    Store(#[from] purlin_store::StoreError),
}
