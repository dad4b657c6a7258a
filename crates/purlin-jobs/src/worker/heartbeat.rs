use std::sync::Arc;
use std::time::Duration;

use purlin_store::StoreError;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::epoch::Epoch;
use super::health::Pulse;
use super::shared::{Shared, pause};
use crate::store::Beat;
use crate::{Cancellation, JobStore, WorkerId};

impl Shared {
    /// Keeps the worker alive in the store, and lets it begin anew when it was taken for dead.
    pub(super) async fn keep_alive(&self, store: &dyn JobStore, pulse: &Pulse) {
        // The same one after an error: it may have joined.
        let mut candidate = WorkerId::new();
        let mut errors = 0;
        loop {
            pulse.beat();
            let wait = match self.joined() {
                None => match self.join(store, candidate).await {
                    Ok(()) => {
                        candidate = WorkerId::new();
                        errors = 0;
                        self.settings.heartbeat_interval()
                    }
                    Err(error) => {
                        errors += 1;
                        self.store_failed(&pulse.name, &error);
                        self.retry_pause(errors)
                    }
                },
                Some(epoch) => match self.beat(store, &epoch).await {
                    Ok(wait) => {
                        errors = 0;
                        wait
                    }
                    Err(error) => {
                        errors += 1;
                        self.store_failed(&pulse.name, &error);
                        let again = Instant::now() + self.retry_pause(errors);
                        sleep_until(again.min(epoch.valid_until())).await;
                        Duration::ZERO
                    }
                },
            };
            sleep(wait).await;
        }
    }

    /// Begins an epoch.
    pub(super) async fn join(
        &self,
        store: &dyn JobStore,
        worker: WorkerId,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        store.join(worker, self.settings.lease_ttl).await?;
        let epoch = Arc::new(Epoch::new(worker, begun + self.settings.validity()));
        self.epoch.set(Some(epoch));
        Ok(())
    }

    /// One heartbeat. Says how long to wait for the next.
    async fn beat(&self, store: &dyn JobStore, epoch: &Arc<Epoch>) -> Result<Duration, StoreError> {
        let begun = Instant::now();
        let until = epoch.valid_until();
        if !self.is_live(epoch) {
            return Ok(Duration::ZERO);
        }
        let ttl = self.settings.lease_ttl;
        let heartbeat = store.heartbeat(epoch.worker, ttl);
        match timeout_at(until, heartbeat).await {
            Ok(Ok(Beat::Alive { cancel })) => {
                epoch.extend(begun + self.settings.validity());
                for id in cancel {
                    epoch.cancel(id, Cancellation::Requested);
                }
                Ok(self.settings.heartbeat_interval())
            }
            Ok(Err(error)) => Err(error),
            Ok(Ok(Beat::Lost)) | Err(_) => {
                self.fence(epoch);
                Ok(Duration::ZERO)
            }
        }
    }

    fn retry_pause(&self, errors: u32) -> Duration {
        pause(errors).min(self.settings.lease_ttl / 10)
    }
}
