//! What the handlers of all peers do: they count, and say when they were called.

use std::{
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// A payload of about 30 bytes of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Payload {
    pub n: u64,
    pub to: String,
}

impl Payload {
    pub fn new(n: u64) -> Self {
        Self {
            n,
            to: "a@example.org".to_owned(),
        }
    }

    pub fn batch(from: u64, jobs: u64) -> Vec<Self> {
        (from..from + jobs).map(Self::new).collect()
    }
}

static RUN: AtomicU64 = AtomicU64::new(0);
static HANGS: AtomicBool = AtomicBool::new(false);
static LAST: Mutex<Option<(u64, Instant)>> = Mutex::new(None);

/// Handlers tell of their start on stdout, and never end.
pub fn hang() {
    HANGS.store(true, Ordering::Relaxed);
}

/// Every handler, of every peer.
pub async fn run(payload: Payload) {
    if HANGS.load(Ordering::Relaxed) {
        println!("{}", payload.n);
        let _ = std::io::stdout().flush();
        std::future::pending::<()>().await;
    }
    count(payload.n);
}

/// A job has been run.
pub fn count(n: u64) {
    let now = Instant::now();
    // One lock of many threads would be measured too: only the last one of a burst has to be seen.
    if let Ok(mut last) = LAST.try_lock() {
        *last = Some((n, now));
    }
    RUN.fetch_add(1, Ordering::Release);
}

pub fn forget() {
    RUN.store(0, Ordering::Release);
}

pub fn runs() -> u64 {
    RUN.load(Ordering::Acquire)
}

/// When the job was started that ran last.
pub fn last() -> Option<(u64, Instant)> {
    *LAST
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Waits until so many jobs have run; `false` if they have not by then.
pub async fn reach(jobs: u64, limit: Duration) -> bool {
    let begun = Instant::now();
    while runs() < jobs {
        if begun.elapsed() > limit {
            return false;
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    true
}
