//! What is measured, as all of them can be asked for it.

use std::{future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;

use crate::tally::Payload;

/// A queue of one database.
#[async_trait]
pub trait Peer: Send + Sync {
    /// Adds jobs by one call; of one job by the call for one.
    async fn enqueue(&self, jobs: Vec<Payload>);

    /// Starts a worker.
    async fn start(&self, mode: Mode) -> Running;

    /// How many jobs are not done, as the database has it.
    async fn left(&self) -> u64;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What is best to get through many jobs.
    Drain,
    /// What is best for the first job after a while.
    Idle,
}

/// A worker that runs.
pub struct Running(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Running {
    /// `stop` is what ends it.
    pub fn new(stop: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Box::pin(stop))
    }

    pub async fn stop(self) {
        self.0.await;
    }
}

type Opening = Pin<Box<dyn Future<Output = Arc<dyn Peer>>>>;

/// One of those that are compared.
#[derive(Clone, Copy)]
pub struct Entrant {
    pub name: &'static str,
    /// Opens it on a database of its own, of this URL.
    pub open: fn(String) -> Opening,
    /// How many jobs it is given to drain: as many as it does in a few seconds.
    pub jobs: u64,
    pub role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The bare statements: nothing can be faster.
    Ceiling,
    Ours,
    Peer,
}

/// The function of an [`Entrant`] from one that is async.
#[macro_export]
macro_rules! entrant {
    ($name:expr, $role:ident, $jobs:expr, $open:path) => {
        $crate::peer::Entrant {
            name: $name,
            open: |url| {
                Box::pin(async move {
                    let peer = $open(url).await;
                    std::sync::Arc::new(peer) as std::sync::Arc<dyn $crate::peer::Peer>
                })
            },
            jobs: $jobs,
            role: $crate::peer::Role::$role,
        }
    };
}
