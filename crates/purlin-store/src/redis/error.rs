use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::{StoreError, StoreErrorKind};

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        let kind = match error.kind() {
            ErrorKind::Io if error.is_timeout() => StoreErrorKind::Timeout,
            ErrorKind::Io
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel
            | ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask,
            ) => StoreErrorKind::Unavailable,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreErrorKind::Corrupt,
            ErrorKind::Extension => match error.code() {
                // Out of memory, no snapshot on disk, too few replicas, a script that runs on.
                Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY") => StoreErrorKind::Unavailable,
                // Somebody else's key under our name.
                Some("WRONGTYPE") => StoreErrorKind::Corrupt,
                _ => StoreErrorKind::Refused,
            },
            _ => StoreErrorKind::Refused,
        };
        StoreError::of_kind(kind).with_source(error)
    }
}

/// Whether a call on a new connection could do better than one on this.
pub(super) fn needs_new_connection(error: &RedisError) -> bool {
    // The last two: a master that has become a replica. Its connections stay open.
    error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
}
