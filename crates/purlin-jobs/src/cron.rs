mod fires;

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use self::fires::Fires;
use crate::CronError;

/// When something is to happen again and again: a cron line of five fields, in a time zone.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use purlin_jobs::Cron;
///
/// // In January Oslo is one hour ahead of UTC.
/// let nightly = Cron::new("0 3 * * *")?.with_time_zone("Europe/Oslo")?;
/// let two = UNIX_EPOCH + Duration::from_secs(2 * 3600);
/// assert_eq!(nightly.next_after(UNIX_EPOCH), Some(two));
/// # Ok::<(), purlin_jobs::CronError>(())
/// ```
///
/// # The line
///
/// Minute, hour, day of the month, month, day of the week (0–7, Sunday is both), as POSIX has them: a
/// list, a range, a step, `*`; names of months and days; `@hourly`, `@daily`, `@weekly`, `@monthly`,
/// `@yearly`. Where both days are restricted, either is enough. Besides: `L` (the last), `15W` (the
/// weekday nearest to the 15th), `FRI#2` (the second Friday). There is no field for seconds: dialects do
/// not agree which of six fields it would be, and what happens more often than each minute is a loop, not a
/// job. At most 256 bytes.
///
/// # When the clocks change
///
/// Each time on the wall that the line names comes exactly once, as RFC 5545 section 3.3.5 has it:
///
/// - One that does not exist, since the clocks went forward over it, is as much later as they did: `30 2 * * *` in
///   Oslo is at 3:30 on that day. If the line names that time as well, the two are one.
/// - One that comes twice, since the clocks went back, is the first of the two.
///
/// A line that names every hour (`*/10 * * * *`) means elapsed time instead: it comes in both of the hours that
/// look alike, and not for those that do not exist.
///
/// The rules of time zones are those of the host (`/usr/share/zoneinfo`, or `ZONEINFO`), or else those that were
/// compiled in. Hosts of one fleet should have the same.
#[derive(Clone)]
pub struct Cron {
    line: String,
    pattern: croner::Cron,
    zone: TimeZone,
}

/// Longer lines are a mistake.
const MAX_LINE_BYTES: usize = 256;

impl Cron {
    /// This line, in UTC.
    ///
    /// # Errors
    ///
    /// [`CronError::Line`] when it does not parse, [`CronError::Never`] when no day is like that, as
    /// `0 0 30 2 *`.
    pub fn new(line: &str) -> Result<Self, CronError> {
        let line = line.trim();
        let refused = |reason: String| CronError::Line {
            line: shown(line),
            reason,
        };
        if line.len() > MAX_LINE_BYTES {
            return Err(refused(format!("it is longer than {MAX_LINE_BYTES} bytes")));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let pattern = parser
            .parse(line)
            .map_err(|error| refused(error.to_string()))?;
        // Any time before all that the calendar repeats.
        let any = date(2000, 1, 1).at(0, 0, 0, 0);
        if pattern.find_next_occurrence(&any, true).is_err() {
            return Err(CronError::Never {
                line: line.to_owned(),
            });
        }
        Ok(Self {
            line: line.to_owned(),
            pattern,
            zone: TimeZone::UTC,
        })
    }

    /// The same line by the clocks of this zone of the IANA database, such as `Europe/Oslo`.
    ///
    /// # Errors
    ///
    /// [`CronError::TimeZone`] when there is none of that name.
    pub fn with_time_zone(mut self, name: &str) -> Result<Self, CronError> {
        let zone = TimeZone::get(name).ok();
        let known = zone.filter(|zone| zone.iana_name().is_some());
        self.zone = known.ok_or_else(|| CronError::TimeZone { name: shown(name) })?;
        Ok(self)
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The name of its time zone.
    #[must_use]
    pub fn time_zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The first time after this one; `None` when there is none before the year 5000.
    #[must_use]
    pub fn next_after(&self, at: SystemTime) -> Option<SystemTime> {
        self.fires_after(at).next()
    }

    /// All times after this one, the earliest first, up to the year 5000.
    pub fn fires_after(&self, at: SystemTime) -> impl Iterator<Item = SystemTime> + '_ {
        let from = Timestamp::try_from(at).ok();
        let fires = from.into_iter().flat_map(|from| Fires::after(self, from));
        fires.map(SystemTime::from)
    }

    /// Up to `limit` of the latest after `since` and not after `until`, the earliest first.
    pub(crate) fn latest(
        &self,
        since: SystemTime,
        until: SystemTime,
        limit: usize,
    ) -> Vec<SystemTime> {
        let times = (Timestamp::try_from(since), Timestamp::try_from(until));
        let (Ok(since), Ok(until)) = times else {
            return Vec::new();
        };
        // Only forward, and not through all that was missed in years.
        let mut window = SignedDuration::from_hours(1);
        loop {
            let from = until.checked_sub(window).unwrap_or(Timestamp::MIN);
            let from = from.max(since);
            let mut latest = VecDeque::new();
            for fire in Fires::after(self, from).take_while(|fire| *fire <= until) {
                if latest.len() == limit {
                    latest.pop_front();
                }
                latest.push_back(SystemTime::from(fire));
            }
            if latest.len() == limit || from == since {
                return latest.into();
            }
            window = window.saturating_add(window);
        }
    }

    /// Whether it goes on in an hour that comes twice.
    fn is_every_hour(&self) -> bool {
        self.pattern.pattern.hours.values().len() == 24
    }
}

/// As much of a text from outside as an error should hold.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(line: &str) -> Result<Self, CronError> {
        Self::new(line)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.line, self.time_zone())
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({self})")
    }
}
