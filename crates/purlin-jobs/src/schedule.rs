use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{ConfigError, Cron, NewJob, QueueName};

/// A job that is enqueued again and again: its name, when, and how it is made.
///
/// ```
/// use purlin_jobs::{Cron, Fire, Job, Options, Schedule, Unique};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Reconcile {
///     fire: Fire,
/// }
///
/// impl Job for Reconcile {
///     const KIND: &'static str = "reconcile";
///
///     // While one waits or runs, the next one is left out.
///     fn options() -> Options {
///         Options::new().with_unique(Unique::until_done("reconcile"))
///     }
/// }
///
/// let nightly = Cron::new("0 3 * * *")?.with_time_zone("Europe/Oslo")?;
/// let nightly = Schedule::new("nightly-reconciliation", nightly, |fire| Reconcile {
///     fire: fire.clone(),
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It is given to a [`Worker`](crate::Worker::with_schedule) or to a [`Scheduler`](crate::Scheduler); any
/// number of them in a fleet may have it.
///
/// # What the store keeps
///
/// The name, the line, the zone, and up to when its times are dealt with. That is compared, moved on and the job
/// enqueued in one transaction: each time comes at most once for each name, whoever dies or races, and what was
/// not dealt with is still to come. It does not depend on the jobs: these may be done and purged.
///
/// - **It begins** when a store first hears of it. Nothing before that is made up for.
/// - **When its line or zone changes**, it begins anew when the first worker with the change starts; what the old
///   line still had to make up for is left out. While workers
///   with the old line still run, they go on to serve that: its times and those of the new one come, and each at
///   most once.
/// - **When it is renamed**, it is another one. The old name stays in the store until somebody
///   [removes](crate::Scheduler::remove) it.
/// - **The database's clock** says what time it is.
#[derive(Clone)]
pub struct Schedule {
    name: String,
    cron: Cron,
    missed: Missed,
    job: Arc<dyn Fn(&Fire) -> NewJob + Send + Sync>,
}

impl Schedule {
    /// Enqueues what `job` makes, at the times of `cron`. The name has 1–64 of `a–z`, `A–Z`, `0–9`, `_`, `-`,
    /// `.`, `:`.
    ///
    /// When `job` panics, or makes something that cannot be enqueued, the time is not dealt with:
    /// [`Event::ScheduleFailed`](crate::Event::ScheduleFailed) says so each minute until it can.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ScheduleName`].
    pub fn new<J: Into<NewJob>>(
        name: impl Into<String>,
        cron: Cron,
        job: impl Fn(&Fire) -> J + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let name = name.into();
        if !QueueName::is_name(&name) {
            return Err(ConfigError::ScheduleName);
        }
        Ok(Self {
            name,
            cron,
            missed: Missed::Coalesce,
            job: Arc::new(move |fire| job(fire).into()),
        })
    }

    /// What becomes of times that passed while nobody was there. Default [`Missed::Coalesce`].
    #[must_use]
    pub fn with_missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When.
    #[must_use]
    pub fn cron(&self) -> &Cron {
        &self.cron
    }

    /// The job for one time.
    #[must_use]
    pub fn job(&self, fire: &Fire) -> NewJob {
        (self.job)(fire)
    }

    /// What is to be dealt with now, of a schedule that is dealt with up to `since`.
    pub(crate) fn due(&self, since: SystemTime, now: SystemTime) -> Option<Due> {
        let limit = match self.missed {
            Missed::All { limit } => usize::from(limit.max(1)),
            Missed::Coalesce | Missed::Skip { .. } => 1,
        };
        let mut fires = self.cron.latest(since, now, limit);
        let until = *fires.last()?;
        if let Missed::Skip { later_than } = self.missed
            && now
                .duration_since(until)
                .is_ok_and(|late| late > later_than)
        {
            fires.clear();
        }
        Some(Due { until, fires })
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("name", &self.name)
            .field("cron", &self.cron)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// What a schedule has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Up to when it is dealt with then.
    pub(crate) until: SystemTime,
    /// For which times there is a job.
    pub(crate) fires: Vec<SystemTime>,
}

/// What becomes of times of a schedule that passed while no worker was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// One job for all of them, of the latest.
    Coalesce,
    /// A job for each of the latest `limit`, the earliest first, in one transaction; those before them are
    /// left out.
    All {
        /// 1–1 000; 0 counts as 1.
        limit: u16,
    },
    /// None. Only the latest has a job, and it too has none when it is more than so much late.
    Skip {
        /// Longer than a deploy takes, if a time during one is to have its job.
        later_than: Duration,
    },
}

/// One time of a schedule. Put it into the job, so that the handler has it: it serializes as
/// `{"schedule":"nightly","at_micros":1767232800000000,"previous_at_micros":null}`, in microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fire {
    schedule: String,
    #[serde(rename = "at_micros", with = "micros")]
    at: SystemTime,
    #[serde(rename = "previous_at_micros", with = "micros::option")]
    previous_at: Option<SystemTime>,
}

impl Fire {
    pub(crate) fn new(schedule: &str, at: SystemTime, previous_at: Option<SystemTime>) -> Self {
        Self {
            schedule: schedule.to_owned(),
            at,
            previous_at,
        }
    }

    /// The name of the schedule.
    #[must_use]
    pub fn schedule(&self) -> &str {
        &self.schedule
    }

    /// When it was due, however late it was; the time of the call, if somebody has
    /// [triggered](crate::Scheduler::trigger) it.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        self.at
    }

    /// The time of the schedule that had a job before this one; `None` if this is the first.
    #[must_use]
    pub fn previous_at(&self) -> Option<SystemTime> {
        self.previous_at
    }
}

/// Times as microseconds since 1970.
mod micros {
    use std::time::SystemTime;

    use purlin_store::{from_unix_micros, unix_micros};
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(unix_micros(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let at = from_unix_micros(i64::deserialize(from)?);
        at.ok_or_else(|| D::Error::custom("a time out of range"))
    }

    pub(super) mod option {
        use serde::Serialize as _;

        use super::{Deserializer, Serializer, SystemTime, from_unix_micros, unix_micros};
        use serde::Deserialize as _;
        use serde::de::Error as _;

        pub(in super::super) fn serialize<S: Serializer>(
            at: &Option<SystemTime>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            at.map(unix_micros).serialize(to)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<SystemTime>, D::Error> {
            let micros = Option::<i64>::deserialize(from)?;
            let out_of_range = || D::Error::custom("a time out of range");
            let at = |micros| from_unix_micros(micros).ok_or_else(out_of_range);
            micros.map(at).transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::Job;

    #[derive(Serialize, Deserialize)]
    struct Tick {
        fire: Fire,
    }

    impl Job for Tick {
        const KIND: &'static str = "tick";
    }

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    fn schedule(line: &str, missed: Missed) -> Schedule {
        let make = |fire: &Fire| Tick { fire: fire.clone() };
        let schedule = Schedule::new("tick", Cron::new(line).unwrap(), make);
        schedule.unwrap().with_missed(missed)
    }

    #[test]
    fn what_was_missed_is_dealt_with_as_the_policy_says() {
        let since = UNIX_EPOCH;
        // Hourly, for 400 days and a bit.
        let last = since + 9_600 * HOUR;
        let now = last + 5 * MINUTE;
        let due = |missed| {
            let due = schedule("0 * * * *", missed).due(since, now).unwrap();
            assert_eq!(due.until, last);
            due.fires
        };
        assert_eq!(due(Missed::Coalesce), [last]);
        let all = due(Missed::All { limit: 1_000 });
        let expected: Vec<_> = (8_601..=9_600).map(|hour| since + hour * HOUR).collect();
        assert_eq!(all, expected);
        assert_eq!(due(Missed::All { limit: 0 }), [last]);
        let later_than = 5 * MINUTE;
        assert_eq!(due(Missed::Skip { later_than }), [last]);
        let later_than = 5 * MINUTE - Duration::from_micros(1);
        assert!(due(Missed::Skip { later_than }).is_empty());
    }

    #[test]
    fn all_that_was_missed_may_be_less_than_the_limit() {
        let schedule = schedule("30 4 * * *", Missed::All { limit: 10 });
        let first = UNIX_EPOCH + 4 * HOUR + 30 * MINUTE;
        let day = 24 * HOUR;
        for (since, now, fires) in [
            (
                UNIX_EPOCH,
                first + 2 * day,
                vec![first, first + day, first + 2 * day],
            ),
            (first, first + day + HOUR, vec![first + day]),
        ] {
            let until = *fires.last().unwrap();
            assert_eq!(schedule.due(since, now), Some(Due { until, fires }));
        }
        for (since, now) in [
            (first, first),
            (first, first + day - Duration::from_micros(1)),
            // A clock that went back.
            (first + day, first),
        ] {
            assert_eq!(schedule.due(since, now), None);
        }
    }

    #[test]
    fn a_fire_is_written_as_it_was() {
        let fire = Fire::new("nightly", UNIX_EPOCH + HOUR, None);
        let text = r#"{"schedule":"nightly","at_micros":3600000000,"previous_at_micros":null}"#;
        assert_eq!(serde_json::to_string(&fire).unwrap(), text);
        assert_eq!(serde_json::from_str::<Fire>(text).unwrap(), fire);
        let text = text.replace("null", "-1");
        let fire: Fire = serde_json::from_str(&text).unwrap();
        let before = UNIX_EPOCH - Duration::from_micros(1);
        assert_eq!(fire.previous_at(), Some(before));
        assert_eq!(serde_json::to_string(&fire).unwrap(), text);
    }

    #[test]
    fn names_are_those_of_queues() {
        let make = |fire: &Fire| Tick { fire: fire.clone() };
        for name in ["", "a b", "æ", &"a".repeat(65)] {
            let schedule = Schedule::new(name, Cron::new("@daily").unwrap(), make);
            assert_eq!(schedule.err(), Some(ConfigError::ScheduleName));
        }
    }
}
