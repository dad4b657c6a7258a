//! What a store could not be told when it was time, and is told later.

use std::{sync::Arc, time::Duration};

use purlin_store::{StoreError, deadline};
use tokio::time::Instant;

use super::{
    Context, FAR,
    leased::{Held, Store},
    stop::tell,
};
use crate::{
    Event,
    config::Config,
    store::{Claim, Completion, Fenced, Lease},
};

/// Most of what goes wrong is over soon: a connection was cut, a primary was replaced.
const PAUSE: Duration = Duration::from_millis(500);

/// How work ended.
pub(super) enum Ending {
    Complete(Completion),
    Release,
}

impl Context {
    /// The claim may have been made and its answer been lost: a lease that nobody knows of would
    /// make the outcome of work unknown that was never begun.
    pub(super) fn undo_later(&self, store: &Store, claim: Claim) {
        let store = Arc::clone(store);
        self.keep_trying("release", move || undo(Arc::clone(&store), claim));
    }

    /// Keeps the key busy in this process until the store knows how the work ended.
    pub(super) fn end_later(&self, store: &Store, held: Held, ending: Ending) {
        let held = Arc::new(held);
        let ending = Arc::new(ending);
        let (store, config) = (Arc::clone(store), Arc::clone(&self.config));
        self.keep_trying("complete", move || {
            end(
                Arc::clone(&store),
                Arc::clone(&config),
                Arc::clone(&held),
                Arc::clone(&ending),
            )
        });
    }

    /// Tries for as long as the work itself might have taken.
    fn keep_trying<F>(&self, operation: &'static str, mut call: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = Result<(), StoreError>> + Send,
    {
        let store = self.shared.engine.store().name();
        let limit = self.config.store_timeout;
        let pause = self.config.heartbeat_interval().min(PAUSE);
        let give_up_at = Instant::now() + self.config.max_execution.min(FAR);
        let running = self.shared.running.enter();
        tokio::spawn(async move {
            let _running = running;
            while Instant::now() < give_up_at {
                tokio::time::sleep(pause).await;
                match deadline(store, operation, limit, call()).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "the end of work is not recorded yet"),
                }
            }
        });
    }
}

async fn undo(store: Store, claim: Claim) -> Result<(), StoreError> {
    let Some(existing) = store.get(&claim.id).await? else {
        return Ok(());
    };
    // If it is another's, the nonce does not fit.
    let lease = Lease {
        id: claim.id,
        attempt: existing.attempt,
        nonce: claim.nonce,
    };
    // What it took over is as unknown as before.
    let undone = match lease.attempt {
        1 => store.release(&lease).await?,
        _ => store.abandon(&lease).await?,
    };
    match undone {
        Fenced::Applied | Fenced::Lost => Ok(()),
    }
}

async fn end(
    store: Store,
    config: Arc<Config>,
    held: Arc<Held>,
    ending: Arc<Ending>,
) -> Result<(), StoreError> {
    let ended = match &*ending {
        Ending::Complete(completion) => store.complete(&held.lease, completion).await?,
        // The first attempt may have done it, so that this one finds nothing.
        Ending::Release => return store.release(&held.lease).await.map(drop),
    };
    if ended == Fenced::Lost {
        tell_lost(&config, &held);
    }
    Ok(())
}

/// Says once that somebody else has the work.
pub(super) fn tell_lost(config: &Config, held: &Held) {
    if held.lost.send_replace(true) {
        return;
    }
    let Lease { id, attempt, .. } = held.lease;
    tracing::warn!(record = %id, attempt, "a lease was lost");
    tell(config, &Event::LeaseLost { id, attempt });
}
