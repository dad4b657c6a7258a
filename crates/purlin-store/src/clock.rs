use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The one clock by which a store judges leases and expiry.
///
/// In production that clock is the *store's own*: Postgres' `statement_timestamp()`, Redis' `TIME`.
/// Hosts of one service disagree about the time; two of them may hold the same lease if each asks
/// itself. A test wants to say what time it is, on every store in the same way. Both are one
/// question, "is the time overridden?", and each store puts the answer into its statement:
///
/// - **Postgres** binds [`override_micros`](Clock::override_micros) as one `bigint`:
///   `coalesce(timestamptz 'epoch' + $1 * interval '1 microsecond', statement_timestamp())`.
///   It is the same everywhere in a statement, so that an index can be used. `now()` would stand
///   still during a transaction, which is wrong for a lease.
/// - **Redis** passes it to the script, which falls back to `TIME`
///   (`Script::with_clock` and `Invocation::clock`, feature `redis`).
/// - **SQLite and memory** have no clock of their own that is fine enough (SQLite's has
///   milliseconds) and take [`now`](Clock::now). All their users are on one host.
///
/// Instants carry microseconds, the resolution of Postgres and of Redis.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time that replaces the store's own clock, or `None` to use that.
    fn override_now(&self) -> Option<SystemTime>;

    /// [`override_now`](Clock::override_now) in microseconds since 1970, to bind into a statement.
    fn override_micros(&self) -> Option<i64> {
        self.override_now().map(unix_micros)
    }

    /// The time for a store which has no clock of its own: the override, else this process's clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that others take it from"
    )]
    fn now(&self) -> SystemTime {
        self.override_now().unwrap_or_else(SystemTime::now)
    }
}

/// Nothing is overridden: each store judges by its own clock. For production.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn override_now(&self) -> Option<SystemTime> {
        None
    }
}

/// Microseconds from 1970 to `at`, rounded down; negative before 1970.
///
/// Saturates at the ends of `i64`, which are 292 000 years away.
#[must_use]
pub fn unix_micros(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => {
            // Rounding down means away from zero here.
            let before = before.duration().as_nanos().div_ceil(1_000);
            i64::try_from(before).map_or(i64::MIN, |micros| -micros)
        }
    }
}

/// The instant that lies `micros` microseconds after 1970 (before it, when negative).
///
/// `None` when this platform's [`SystemTime`] cannot hold it, which for a value that came out of a
/// store means that the value is corrupt.
#[must_use]
pub fn from_unix_micros(micros: i64) -> Option<SystemTime> {
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micros_round_down_on_both_sides_of_the_epoch() {
        assert_eq!(unix_micros(UNIX_EPOCH + Duration::from_nanos(1_999)), 1);
        assert_eq!(unix_micros(UNIX_EPOCH - Duration::from_nanos(1)), -1);
        assert_eq!(unix_micros(UNIX_EPOCH - Duration::from_nanos(1_001)), -2);
    }

    #[test]
    fn micros_come_back_as_the_same_instant() {
        for micros in [0, 1, -1, 1_700_000_000_123_456, -62_135_596_800_000_000] {
            let at = from_unix_micros(micros).expect("within the range of SystemTime");
            assert_eq!(unix_micros(at), micros);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "compares with the real time")]
    fn the_system_clock_overrides_nothing() {
        assert_eq!(SystemClock.override_micros(), None);
        let before = SystemTime::now();
        assert!(SystemClock.now() >= before);
    }
}
