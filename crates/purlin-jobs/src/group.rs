use std::time::Duration;

/// The longest time that a rate may speak of, so that its arithmetic stays within 64 bits everywhere.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A line of its own for jobs that share something: a tenant, a customer's API, a printer.
///
/// All jobs of a group, in whatever queue and of whatever kind, share its [`Limits`] in the whole
/// fleet. Limits are declared by whoever enqueues; the last declaration holds, until an operator
/// sets others ([`LimitStore::limit_group`](crate::LimitStore::limit_group)).
///
/// ```
/// use std::time::Duration;
/// use purlin_jobs::{Group, Options, Rate};
///
/// let options = Options::new().with_group(
///     Group::new("tenant:42")
///         .with_at_most(4)
///         .with_rate(Rate::new(100, Duration::from_secs(60))),
/// );
/// # assert_eq!(options.group.unwrap().limits.at_most, Some(4));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// Its name: 1–128 bytes without NUL.
    pub name: String,
    /// What is declared of it.
    pub limits: Limits,
}

impl Group {
    /// The most bytes of a name.
    pub const MAX_NAME_BYTES: usize = 128;

    /// A group of this name, without limits of its own: it gets the window of the store. A name of no or too
    /// many bytes is an error of the enqueueing call.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            limits: Limits::default(),
        }
    }

    /// Lets so many of its jobs be claimed or run at a time; with 0 none.
    #[must_use]
    pub fn with_at_most(mut self, jobs: u32) -> Self {
        self.limits = self.limits.with_at_most(jobs);
        self
    }

    /// Lets its jobs start no faster.
    #[must_use]
    pub fn with_rate(mut self, rate: Rate) -> Self {
        self.limits = self.limits.with_rate(rate);
        self
    }

    pub(crate) fn is_valid(&self) -> bool {
        (1..=Self::MAX_NAME_BYTES).contains(&self.name.len()) && !self.name.contains('\0')
    }
}

/// What holds of all jobs of a group together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Limits {
    /// How many may be in the ready line or with a worker at a time. `None`: as many as the store's
    /// window, by default 16, so that one group with a million jobs does not stand before all others.
    pub at_most: Option<u32>,
    /// How fast they may start. `None`: as they come.
    pub rate: Option<Rate>,
}

impl Limits {
    /// None of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets so many be claimed or run at a time. 0–2 147 483 647.
    #[must_use]
    pub fn with_at_most(mut self, jobs: u32) -> Self {
        self.at_most = Some(jobs.min(i32::MAX.unsigned_abs()));
        self
    }

    /// Lets them start no faster.
    #[must_use]
    pub fn with_rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }
}

/// How fast jobs may start: in any time `t` no more than the burst and `t / interval` together.
///
/// It is kept as the generic cell rate algorithm does it: one time for each group or queue, by the
/// store's clock. A job starts when it is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// `jobs` in each `per`, and at once if nothing has started for so long. `jobs` is 1–100 000, `per` up
    /// to 366 days; what is outside counts as the nearest. From one job to the next are `per / jobs`,
    /// rounded up to whole microseconds.
    #[must_use]
    pub fn new(jobs: u32, per: Duration) -> Self {
        let jobs = jobs.clamp(1, 100_000);
        let per = per.min(LONGEST).as_micros();
        let micros = per.div_ceil(jobs.into()).max(1);
        Self {
            interval: Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)),
            burst: jobs,
        }
    }

    /// How many may start at once when nothing has started for long. 1–100 000. With 1 they are spread
    /// evenly.
    #[must_use]
    pub fn with_burst(mut self, jobs: u32) -> Self {
        self.burst = jobs.clamp(1, 100_000);
        self
    }

    /// The time between two jobs when they come without end.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.interval
    }

    /// How many may start at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// As a store has kept it.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn from_parts(interval_micros: i64, burst: i64) -> Self {
        let micros = u64::try_from(interval_micros).unwrap_or(1).max(1);
        Self {
            interval: Duration::from_micros(micros).min(LONGEST),
            burst: u32::try_from(burst).unwrap_or(1).clamp(1, 100_000),
        }
    }

    pub(crate) fn interval_micros(self) -> i64 {
        i64::try_from(self.interval.as_micros()).unwrap_or(i64::MAX)
    }

    /// How many may start now, if the next one was expected at `tat` (the theoretical arrival time).
    pub(crate) fn tokens(self, tat: Option<i64>, now: i64) -> u32 {
        let ahead = tat.map_or(0, |tat| tat.saturating_sub(now).max(0));
        let spent = ahead
            .unsigned_abs()
            .div_ceil(self.interval_micros().unsigned_abs());
        self.burst
            .saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
    }

    /// When the next one is expected after so many have started at `now`.
    pub(crate) fn started(self, tat: Option<i64>, now: i64, jobs: u32) -> i64 {
        let begin = tat.map_or(now, |tat| tat.max(now));
        begin.saturating_add(self.interval_micros().saturating_mul(jobs.into()))
    }

    /// When there will be one token more than `reserved`; `None` when that needs a start first.
    pub(crate) fn next_at(self, tat: Option<i64>, now: i64, reserved: u32) -> Option<i64> {
        let spare = self.burst.checked_sub(reserved)?.checked_sub(1)?;
        let ahead = self.interval_micros().saturating_mul(spare.into());
        Some(tat.unwrap_or(now).saturating_sub(ahead).max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second between two, three at once.
    #[test]
    fn a_rate_lets_its_burst_start_and_then_one_for_each_interval() {
        const SECOND: i64 = 1_000_000;
        let rate = Rate::new(3, Duration::from_secs(3));
        assert_eq!(rate.interval(), Duration::from_secs(1));
        assert_eq!(rate.tokens(None, 0), 3);
        let tat = Some(rate.started(None, 0, 3));
        assert_eq!(
            (rate.tokens(tat, 0), rate.next_at(tat, 0, 0)),
            (0, Some(SECOND))
        );
        assert_eq!(rate.tokens(tat, SECOND - 1), 0);
        assert_eq!(rate.tokens(tat, SECOND), 1);
        assert_eq!(rate.next_at(tat, SECOND, 1), Some(2 * SECOND));
        assert_eq!(rate.next_at(tat, SECOND, 3), None);
        assert_eq!(rate.tokens(tat, 9 * SECOND), 3);
    }

    #[test]
    fn a_rate_of_any_numbers_is_one() {
        assert_eq!(
            Rate::new(0, Duration::ZERO).interval(),
            Duration::from_micros(1)
        );
        assert_eq!(
            Rate::new(3, Duration::from_secs(1)).interval(),
            Duration::from_micros(333_334)
        );
        let longest = Rate::new(1, Duration::MAX).with_burst(u32::MAX);
        assert_eq!((longest.interval(), longest.burst()), (LONGEST, 100_000));
        let tat = longest.started(Some(i64::MAX - 1), 0, u32::MAX);
        assert_eq!(
            longest.tokens(Some(tat), 0),
            longest.burst() - 291_676_u32.min(longest.burst())
        );
    }
}
