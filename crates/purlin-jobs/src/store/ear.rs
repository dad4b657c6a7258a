use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{Wake, Wakeups};

/// How long it is until a lost connection is made again, once that has failed.
pub(super) const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// Hears of jobs on a connection of its own, which a task keeps.
pub(super) struct Ear {
    heard: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Ear {
    /// `listen` never ends. It is aborted when this is dropped.
    pub(super) fn new<F>(listen: impl FnOnce(Arc<Notify>) -> F) -> Self
    where
        F: Future<Output = std::convert::Infallible> + Send + 'static,
    {
        let heard = Arc::new(Notify::new());
        let listening = listen(Arc::clone(&heard));
        let task = tokio::spawn(async move { match listening.await {} });
        Self { heard, task }
    }
}

#[async_trait]
impl Wakeups for Ear {
    async fn next(&mut self, up_to: Duration) -> Wake {
        match tokio::time::timeout(up_to, self.heard.notified()).await {
            Ok(()) => Wake::Jobs,
            Err(_) => Wake::Elapsed,
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").finish_non_exhaustive()
    }
}
