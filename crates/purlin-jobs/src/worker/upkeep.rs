use std::time::Duration;

use purlin_store::StoreError;
use tokio::time::{Instant, sleep_until};

use super::health::Pulse;
use super::shared::{Shared, pause};
use crate::Event;
use crate::store::{Rescue, Rescued};

/// How many jobs are made ready in one call.
const PROMOTED: u32 = 1_000;

/// How many dead workers are dealt with in one call.
const WORKERS: u32 = 16;

impl Shared {
    /// Gives back the jobs of dead workers.
    pub(super) async fn rescue_jobs(&self, pulse: &Pulse) {
        let interval = self.settings.rescue_interval;
        loop {
            pulse.beat();
            let rescued = self.rescue().await;
            if let Err(error) = &rescued {
                self.store_failed(&pulse.name, error);
            }
            if !rescued.is_ok_and(|rescued| rescued.workers == WORKERS) {
                tokio::time::sleep(interval).await;
            }
        }
    }

    pub(super) async fn rescue(&self) -> Result<Rescued, StoreError> {
        let rescue = Rescue {
            limit: WORKERS,
            max_crashes: self.settings.max_crashes,
        };
        let rescued = self.store.rescue(&rescue).await?;
        if rescued != Rescued::default() {
            self.emit(&Event::Rescued { rescued });
        }
        Ok(rescued)
    }

    /// Makes jobs ready when their time has come: it sleeps until then, since the store says when that is,
    /// and looks earlier when something was enqueued or settled meanwhile.
    pub(super) async fn promote_jobs(&self, pulse: &Pulse) {
        let mut dues = self.due.subscribe();
        let longest = self.settings.promote_interval();
        let mut errors = 0;
        loop {
            pulse.beat();
            // What is settled before the call is in its answer.
            self.due.send_replace(None);
            let wait = match self.store.promote(PROMOTED).await {
                Ok(promoted) if promoted.jobs == PROMOTED => continue,
                Ok(promoted) => {
                    errors = 0;
                    promoted.next_in.unwrap_or(longest).clamp(SHORTEST, longest)
                }
                Err(error) => {
                    errors += 1;
                    self.store_failed(&pulse.name, &error);
                    pause(errors).min(longest)
                }
            };
            let mut next = Instant::now() + wait;
            loop {
                let due = *dues.borrow_and_update();
                next = due.map_or(next, |due| due.min(next));
                tokio::select! {
                    biased;
                    _ = dues.changed() => {}
                    () = sleep_until(next) => break,
                }
            }
        }
    }

    /// Whether nothing is due, dead workers' jobs included, after having made ready what was.
    pub(super) async fn nothing_due(&self) -> Result<bool, StoreError> {
        #[cfg(feature = "cron")]
        self.fire_schedules().await?;
        let rescued = self.rescue().await?;
        let promoted = self.store.promote(PROMOTED).await?;
        let is_due = promoted.next_in.is_some_and(|next| next.is_zero());
        Ok(rescued.ready == 0 && promoted.jobs == 0 && !is_due)
    }
}

/// A clock that runs a little behind the store's must not make a loop of the last microsecond.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);
