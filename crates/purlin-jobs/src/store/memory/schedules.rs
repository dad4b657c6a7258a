use std::collections::HashSet;

use async_trait::async_trait;
use purlin_store::{StoreError, StoreErrorKind, from_unix_micros, unix_micros};

use super::{MemoryStore, Micros, NAME};
use crate::store::{Enqueued, Firing, ScheduleEntry, ScheduleList, ScheduleRow, ScheduleStore};

#[derive(Debug)]
pub(super) struct Schedule {
    cron: String,
    time_zone: String,
    since: Micros,
    last_at: Option<Micros>,
    is_paused: bool,
}

#[async_trait]
impl ScheduleStore for MemoryStore {
    async fn put_schedule(&self, schedule: &ScheduleEntry) -> Result<(), StoreError> {
        let (mut shelf, now) = self.shelf();
        let entry = schedule.clone();
        let known = shelf.schedules.entry(entry.name).or_insert(Schedule {
            cron: schedule.cron.clone(),
            time_zone: schedule.time_zone.clone(),
            since: now,
            last_at: None,
            is_paused: false,
        });
        if (&known.cron, &known.time_zone) != (&entry.cron, &entry.time_zone) {
            (known.cron, known.time_zone) = (entry.cron, entry.time_zone);
            known.since = known.since.max(now);
        }
        Ok(())
    }

    async fn list_schedules(&self) -> Result<ScheduleList, StoreError> {
        let (shelf, now) = self.shelf();
        let at = |micros| {
            from_unix_micros(micros)
                .ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt, NAME, "list schedules"))
        };
        let row = |(name, schedule): (&String, &Schedule)| {
            Ok::<_, StoreError>(ScheduleRow {
                entry: ScheduleEntry {
                    name: name.clone(),
                    cron: schedule.cron.clone(),
                    time_zone: schedule.time_zone.clone(),
                },
                since: at(schedule.since)?,
                last_at: schedule.last_at.map(at).transpose()?,
                is_paused: schedule.is_paused,
            })
        };
        Ok(ScheduleList {
            now: at(now)?,
            schedules: shelf.schedules.iter().map(row).collect::<Result<_, _>>()?,
        })
    }

    async fn fire_schedule(&self, firing: &Firing) -> Result<Option<Vec<Enqueued>>, StoreError> {
        let (mut shelf, now) = self.shelf();
        let (since, until) = (unix_micros(firing.since), unix_micros(firing.until));
        let Some(schedule) = shelf.schedules.get_mut(&firing.name) else {
            return Ok(None);
        };
        if schedule.is_paused || schedule.since != since || until <= since || until > now {
            return Ok(None);
        }
        schedule.since = until;
        if !firing.jobs.is_empty() {
            schedule.last_at = Some(until);
        }
        let mut added = HashSet::new();
        let add = |entry| shelf.add(entry, &mut added, now);
        let enqueued = firing.jobs.iter().map(add).collect();
        self.changed();
        Ok(Some(enqueued))
    }

    async fn pause_schedule(&self, name: &str) -> Result<bool, StoreError> {
        let (mut shelf, _) = self.shelf();
        let schedule = shelf.schedules.get_mut(name);
        let schedule = schedule.filter(|schedule| !schedule.is_paused);
        Ok(schedule.map(|schedule| schedule.is_paused = true).is_some())
    }

    async fn resume_schedule(&self, name: &str) -> Result<bool, StoreError> {
        let (mut shelf, now) = self.shelf();
        let schedule = shelf.schedules.get_mut(name);
        let Some(schedule) = schedule.filter(|schedule| schedule.is_paused) else {
            return Ok(false);
        };
        schedule.is_paused = false;
        schedule.since = schedule.since.max(now);
        Ok(true)
    }

    async fn remove_schedule(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.shelf().0.schedules.remove(name).is_some())
    }
}
