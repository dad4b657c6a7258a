use std::fmt;

use purlin_store::Clock;
use serde::{Serialize, Serializer};
use time::{Duration, OffsetDateTime, UtcOffset};

/// An instant in whole microseconds, which is what both databases keep, so that what is answered
/// to a POST and to a later GET is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(OffsetDateTime);

impl Timestamp {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        let micros = purlin_store::unix_micros(clock.now());
        Self::from_unix_micros(micros).expect("a clock shows a year that has four digits")
    }

    /// `None` beyond the years that RFC 3339 can write.
    pub(crate) fn from_unix_micros(micros: i64) -> Option<Self> {
        let at = OffsetDateTime::UNIX_EPOCH.checked_add(Duration::microseconds(micros))?;
        (0..=9999).contains(&at.year()).then_some(Self(at))
    }

    pub(crate) fn unix_micros(self) -> i64 {
        let micros = self.0.unix_timestamp_nanos() / 1_000;
        i64::try_from(micros).expect("four digits of years fit")
    }

    pub(crate) fn from_utc(at: OffsetDateTime) -> Option<Self> {
        let micros = at.to_offset(UtcOffset::UTC).unix_timestamp_nanos() / 1_000;
        Self::from_unix_micros(i64::try_from(micros).ok()?)
    }

    pub(crate) const fn as_utc(self) -> OffsetDateTime {
        self.0
    }
}

/// RFC 3339 §5.6 with six digits, so that texts sort as the instants do.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.0;
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second, micro) = at.to_hms_micro();
        let month = u8::from(month);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z"
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_even_when_they_are_zeros() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_700_000_000_000_120, "2023-11-14T22:13:20.000120Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ] {
            let at = Timestamp::from_unix_micros(micros).unwrap();
            assert_eq!(at.to_string(), expected);
            assert_eq!(at.unix_micros(), micros);
        }
        assert_eq!(Timestamp::from_unix_micros(i64::MAX), None);
    }
}
