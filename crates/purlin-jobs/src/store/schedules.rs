use std::fmt::Debug;
use std::time::SystemTime;

use async_trait::async_trait;
use purlin_store::StoreError;

use super::{Enqueued, Entry};

/// What a store keeps of schedules: up to when each is dealt with.
///
/// It knows nothing of cron lines. The one call that matters is [`fire_schedule`](Self::fire_schedule): whoever sees
/// that a time has come says from where to where he wants to move a schedule, and of several who do so at once, one
/// succeeds, and his jobs are there. Times of the store are its own, as those of jobs are, with
/// microseconds; they are not affected by what becomes of jobs.
///
/// Every call may be repeated when it is not known whether it took effect, and if it did, the second one changes
/// nothing.
#[async_trait]
pub trait ScheduleStore: Debug + Send + Sync {
    /// Makes a schedule known, which is dealt with up to now. One that is known is not changed, unless its line or zone
    /// is another: then it begins anew from now, and stays paused if it was.
    async fn put_schedule(&self, schedule: &ScheduleEntry) -> Result<(), StoreError>;

    /// What time it is, and all schedules in the order of their names.
    async fn list_schedules(&self) -> Result<ScheduleList, StoreError>;

    /// Moves a schedule on and adds the jobs of it as [`enqueue`](super::JobStore::enqueue) does, both or
    /// neither. `None` when it was not as [`Firing::since`] says, is paused, is not known, or when
    /// [`Firing::until`] is not there yet, or not later: nothing was changed.
    async fn fire_schedule(&self, firing: &Firing) -> Result<Option<Vec<Enqueued>>, StoreError>;

    /// Stops a schedule. `true` when it is known and was not so before.
    async fn pause_schedule(&self, name: &str) -> Result<bool, StoreError>;

    /// Lets a schedule go on from now: what passed meanwhile is dealt with. `true` when it was paused.
    async fn resume_schedule(&self, name: &str) -> Result<bool, StoreError>;

    /// Forgets a schedule. `true` when it was known.
    async fn remove_schedule(&self, name: &str) -> Result<bool, StoreError>;
}

/// A schedule as a store is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleEntry {
    /// Its name. 1–64 bytes.
    pub name: String,
    /// Its cron line. A store does not look into it.
    pub cron: String,
    /// Its time zone.
    pub time_zone: String,
}

/// All schedules of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleList {
    /// What time it is, by the store's clock.
    pub now: SystemTime,
    /// In the order of their names.
    pub schedules: Vec<ScheduleRow>,
}

/// A schedule as a store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// What it was told of it last.
    pub entry: ScheduleEntry,
    /// Up to when it is dealt with. It only grows.
    pub since: SystemTime,
    /// The last time that had a job.
    pub last_at: Option<SystemTime>,
    /// Whether somebody has stopped it.
    pub is_paused: bool,
}

/// A schedule is to be moved on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// Which.
    pub name: String,
    /// Up to when it is dealt with by now.
    pub since: SystemTime,
    /// Up to when it is dealt with then. Also the time that has a job, if there are jobs.
    pub until: SystemTime,
    /// What is to be added. None when these times are left out.
    pub jobs: Vec<Entry>,
}
