use std::time::Duration;

use purlin_store::StoreError;
use tokio::time::sleep;

use super::health::Pulse;
use super::shared::{Shared, pause};
use super::upkeep::SHORTEST;
use crate::Event;
use crate::jobs::{self, MAX_PAYLOAD_BYTES};
use crate::scheduler::LOOK_INTERVAL;

impl Shared {
    /// Enqueues the jobs of schedules when their time has come.
    pub(super) async fn serve_schedules(&self, pulse: &Pulse) {
        let mut errors = 0;
        loop {
            pulse.beat();
            let wait = match self.fire_schedules().await {
                Ok(wait) => {
                    errors = 0;
                    wait.max(SHORTEST)
                }
                Err(error) => {
                    errors += 1;
                    self.store_failed(&pulse.name, &error);
                    pause(errors)
                }
            };
            sleep(wait).await;
        }
    }

    /// Says for how long nothing will be due.
    pub(super) async fn fire_schedules(&self) -> Result<Duration, StoreError> {
        let codec = self.settings.codec.as_deref();
        let write = |job| jobs::entry(job, codec, MAX_PAYLOAD_BYTES);
        let emit = |event: &Event<'_>| self.emit(event);
        match &self.timetable {
            Some(timetable) => timetable.tick(&*self.store, &write, &emit).await,
            None => Ok(LOOK_INTERVAL),
        }
    }
}
