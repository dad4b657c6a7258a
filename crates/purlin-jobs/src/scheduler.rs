mod timetable;

use std::time::{Duration, SystemTime};

use purlin_store::StoreError;

use self::timetable::power;
pub(crate) use self::timetable::{LOOK_INTERVAL, Timetable};
use crate::store::{Enqueued, ScheduleRow};
use crate::{ConfigError, Cron, Fire, JobStore, Jobs, Schedule, ScheduleError};

/// Schedules without a worker: for a loop of the caller's own, and for operators.
///
/// A [`Worker`](crate::Worker::with_schedule) does by itself what [`tick`](Self::tick) does.
///
/// ```
/// # use purlin_jobs::{Cron, Fire, Job, Jobs, MemoryStore, Schedule, Scheduler};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Reconcile { fire: Fire }
/// # impl Job for Reconcile { const KIND: &'static str = "reconcile"; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let nightly = Cron::new("0 3 * * *")?.with_time_zone("Europe/Oslo")?;
/// let nightly = Schedule::new("nightly", nightly, |fire| Reconcile { fire: fire.clone() })?;
/// let scheduler = Scheduler::new(Jobs::new(MemoryStore::new()), [nightly])?;
/// let wait = scheduler.tick().await?;
/// // tokio::time::sleep(wait).await, and again
///
/// for schedule in scheduler.list().await? {
///     println!("{}: next at {:?}", schedule.name, schedule.next_at);
/// }
/// scheduler.trigger("nightly").await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Scheduler<S> {
    jobs: Jobs<S>,
    timetable: Timetable,
}

impl<S: JobStore> Scheduler<S> {
    /// Enqueues by `jobs` what these schedules make. Without schedules it is for operators alone.
    ///
    /// # Errors
    ///
    /// [`ConfigError::TwoSchedules`] of one name; [`ConfigError::Unsupported`] when the store keeps no schedules.
    pub fn new(
        jobs: Jobs<S>,
        schedules: impl IntoIterator<Item = Schedule>,
    ) -> Result<Self, ConfigError> {
        let timetable = Timetable::new(schedules.into_iter().collect(), jobs.store())?;
        Ok(Self { jobs, timetable })
    }

    /// Deals with what is due, and says for how long nothing will be: at most a minute. Two round trips when nothing
    /// is due, and one transaction for each schedule that is.
    ///
    /// # Errors
    ///
    /// Those of the store: what was not dealt with is still to come. What goes wrong with one schedule alone is told
    /// to tracing, as by [`Event::ScheduleFailed`](crate::Event::ScheduleFailed).
    ///
    /// # Cancel safety
    ///
    /// Dropped early, each schedule is dealt with or not.
    pub async fn tick(&self) -> Result<Duration, StoreError> {
        let entry = |job| self.jobs.entry(job);
        let store = self.jobs.store();
        self.timetable
            .tick(store, &entry, &|event| event.trace())
            .await
    }

    /// All schedules that the store knows, by name, whoever serves them. One round trip.
    ///
    /// # Errors
    ///
    /// Those of the store.
    ///
    /// # Cancel safety
    ///
    /// Reads only.
    pub async fn list(&self) -> Result<Vec<ScheduleView>, StoreError> {
        let list = power(self.jobs.store())?.list_schedules().await?;
        Ok(list.schedules.into_iter().map(ScheduleView::new).collect())
    }

    /// Stops a schedule. Its times are left out until it is resumed. `true` when it was not so before.
    ///
    /// # Errors
    ///
    /// Those of the store.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, it is paused or not.
    pub async fn pause(&self, name: &str) -> Result<bool, StoreError> {
        power(self.jobs.store())?.pause_schedule(name).await
    }

    /// Lets a schedule go on from now; workers see it within a minute. `true` when it was paused.
    ///
    /// # Errors
    ///
    /// Those of the store.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, it is resumed or not.
    pub async fn resume(&self, name: &str) -> Result<bool, StoreError> {
        power(self.jobs.store())?.resume_schedule(name).await
    }

    /// Forgets a schedule that nobody serves any more. One that is served begins anew within a minute. `true` when it
    /// was known.
    ///
    /// # Errors
    ///
    /// Those of the store.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, it is removed or not.
    pub async fn remove(&self, name: &str) -> Result<bool, StoreError> {
        power(self.jobs.store())?.remove_schedule(name).await
    }

    /// Enqueues the job of a schedule now, paused or not, besides those of its times.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::Unknown`] when this scheduler was not given it; what
    /// [`enqueue`](Jobs::enqueue) says.
    ///
    /// # Cancel safety
    ///
    /// Dropped early, the job is there or not.
    pub async fn trigger(&self, name: &str) -> Result<Enqueued, ScheduleError> {
        let schedule = self.timetable.get(name).ok_or(ScheduleError::Unknown)?;
        let list = power(self.jobs.store())?.list_schedules().await?;
        let mut rows = list.schedules.iter();
        let row = rows.find(|row| row.entry.name == name);
        let fire = Fire::new(name, list.now, row.and_then(|row| row.last_at));
        Ok(self.jobs.enqueue(schedule.job(&fire)).await?)
    }
}

/// A schedule as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// Its cron line, as the worker has it that was started last.
    pub cron: String,
    /// Its time zone.
    pub time_zone: String,
    /// The last time that had a job.
    pub last_at: Option<SystemTime>,
    /// The next time that is not dealt with: past when nobody is there to do it, `None` while it is paused.
    pub next_at: Option<SystemTime>,
    /// Whether somebody has stopped it.
    pub is_paused: bool,
}

impl ScheduleView {
    fn new(row: ScheduleRow) -> Self {
        let entry = row.entry;
        let cron = Cron::new(&entry.cron);
        let cron = cron.and_then(|cron| cron.with_time_zone(&entry.time_zone));
        let next_at = cron.ok().and_then(|cron| cron.next_after(row.since));
        Self {
            name: entry.name,
            cron: entry.cron,
            time_zone: entry.time_zone,
            last_at: row.last_at,
            next_at: next_at.filter(|_| !row.is_paused),
            is_paused: row.is_paused,
        }
    }
}
