use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use purlin_store::{StoreError, StoreErrorKind};

use crate::schedule::Due;
use crate::store::{Entry, Firing, ScheduleEntry, ScheduleRow, ScheduleStore};
use crate::worker::caught;
use crate::{ConfigError, EnqueueError, Event, Fire, JobStore, NewJob, Schedule};

/// How long it takes at most until what operators do is seen, and a step of the database's clock.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The schedules that a process serves.
#[derive(Debug)]
pub(crate) struct Timetable {
    schedules: Vec<Schedule>,
    /// The names of those that the store was told of.
    told: Mutex<HashSet<String>>,
}

/// Makes a job what a store is given.
type Write<'a> = &'a (dyn Fn(NewJob) -> Result<Entry, EnqueueError> + Send + Sync);

type Emit<'a> = &'a (dyn Fn(&Event<'_>) + Send + Sync);

impl Timetable {
    pub(crate) fn new(schedules: Vec<Schedule>, store: &dyn JobStore) -> Result<Self, ConfigError> {
        let mut names = HashSet::new();
        if !schedules
            .iter()
            .all(|schedule| names.insert(schedule.name()))
        {
            return Err(ConfigError::TwoSchedules);
        }
        if store.schedules().is_none() {
            return Err(ConfigError::Unsupported {
                store: store.name(),
                power: POWER,
            });
        }
        Ok(Self {
            schedules,
            told: Mutex::default(),
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Schedule> {
        let mut schedules = self.schedules.iter();
        schedules.find(|schedule| schedule.name() == name)
    }

    /// Deals with what is due, and says for how long nothing will be.
    pub(crate) async fn tick(
        &self,
        store: &dyn JobStore,
        write: Write<'_>,
        emit: Emit<'_>,
    ) -> Result<Duration, StoreError> {
        let store = power(store)?;
        self.tell(store).await?;
        let list = store.list_schedules().await?;
        let now = list.now;
        let rows = list.schedules.iter();
        let rows: HashMap<_, _> = rows.map(|row| (row.entry.name.as_str(), row)).collect();
        let mut failed = None;
        let mut next_in = LOOK_INTERVAL;
        for schedule in &self.schedules {
            let Some(row) = rows.get(schedule.name()) else {
                // Somebody has removed it; the next tick tells of it again.
                self.told().remove(schedule.name());
                continue;
            };
            if row.is_paused {
                continue;
            }
            if let Some(due) = schedule.due(row.since, now)
                && let Err(error) = fire(store, schedule, row, now, due, write, emit).await
            {
                // The others may do better.
                failed = failed.or(Some(error));
            }
            let next = schedule.cron().next_after(row.since.max(now));
            let left = next.and_then(|next| next.duration_since(now).ok());
            next_in = next_in.min(left.unwrap_or(LOOK_INTERVAL));
        }
        failed.map_or(Ok(next_in), Err)
    }

    /// Tells the store of schedules that it may not know. Once, so that two versions of a line that are served side by
    /// side during a deploy do not change it back and forth.
    async fn tell(&self, store: &dyn ScheduleStore) -> Result<(), StoreError> {
        for schedule in &self.schedules {
            if self.told().contains(schedule.name()) {
                continue;
            }
            let entry = ScheduleEntry {
                name: schedule.name().to_owned(),
                cron: schedule.cron().line().to_owned(),
                time_zone: schedule.cron().time_zone().to_owned(),
            };
            store.put_schedule(&entry).await?;
            self.told().insert(entry.name);
        }
        Ok(())
    }

    fn told(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const POWER: &str = "schedules";

/// What the store keeps of schedules.
pub(super) fn power(store: &dyn JobStore) -> Result<&dyn ScheduleStore, StoreError> {
    store.schedules().ok_or_else(|| {
        StoreError::new(StoreErrorKind::Refused, store.name(), POWER)
            .with_source("this store keeps no schedules")
    })
}

async fn fire(
    store: &dyn ScheduleStore,
    schedule: &Schedule,
    row: &ScheduleRow,
    now: SystemTime,
    due: Due,
    write: Write<'_>,
    emit: Emit<'_>,
) -> Result<(), StoreError> {
    let name = schedule.name();
    let jobs = match jobs(schedule, row, &due, write) {
        Ok(jobs) => jobs,
        Err(reason) => {
            let (schedule, reason) = (name, reason.as_str());
            emit(&Event::ScheduleFailed { schedule, reason });
            return Ok(());
        }
    };
    let firing = Firing {
        name: name.to_owned(),
        since: row.since,
        until: due.until,
        jobs,
    };
    if store.fire_schedule(&firing).await?.is_some() {
        let late = now.duration_since(due.until).unwrap_or_default();
        let (at, jobs) = (due.until, firing.jobs.len());
        emit(&Event::ScheduleFired {
            schedule: name,
            at,
            late,
            jobs,
        });
    }
    Ok(())
}

/// The jobs of what is due; why there are none, since the caller's code or what it has made is wrong.
fn jobs(
    schedule: &Schedule,
    row: &ScheduleRow,
    due: &Due,
    write: Write<'_>,
) -> Result<Vec<Entry>, String> {
    let mut previous_at = row.last_at;
    let entry = |at: &SystemTime| {
        let fire = Fire::new(schedule.name(), *at, previous_at.replace(*at));
        let entry = caught(|| write(schedule.job(&fire)));
        let entry = entry.map_err(|panic| format!("panicked: {panic}"))?;
        entry.map_err(|error| error.to_string())
    };
    due.fires.iter().map(entry).collect()
}
