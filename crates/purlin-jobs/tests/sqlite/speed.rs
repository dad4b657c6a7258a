//! How fast the store is in batches. Asserts nothing about time; run it alone and in release:
//!
//! `cargo nextest run -p purlin-jobs --release --all-features --run-ignored only --no-capture speed`

use std::time::Instant;

use purlin_jobs::store::{Entry, Outcome, Settled};
use purlin_jobs::{JobId, JobStore as _, LeaseId, QueueName, SqliteStore, WorkerId};
use purlin_store::sqlite::{Durability, SqliteConfig};
use purlin_testkit::TestFile;

use crate::harness::{HOUR, claim_of, ends, job};

const JOBS: usize = 200_000;
const BATCH: usize = 500;

#[tokio::test]
#[ignore = "measures; run by hand"]
async fn jobs_in_batches() {
    for durability in [Durability::ProcessCrash, Durability::PowerLoss] {
        for payload_bytes in [100, 2_000] {
            measure(durability, payload_bytes).await;
        }
    }
}

async fn measure(durability: Durability, payload_bytes: usize) {
    let file = TestFile::new();
    let config = SqliteConfig::new(file.path()).with_durability(durability);
    let pool = config.connect().await.unwrap();
    let store = SqliteStore::new(pool);
    store.migrate().await.unwrap();
    let payload = bytes::Bytes::from(vec![b'x'; payload_bytes]);

    let begun = Instant::now();
    for _ in 0..JOBS / BATCH {
        let entry = |_| Entry {
            id: JobId::new(),
            payload: payload.clone(),
            ..job(0)
        };
        let entries: Vec<_> = (0..BATCH).map(entry).collect();
        store.enqueue(&entries).await.unwrap();
    }
    let enqueued = begun.elapsed();

    let begun = Instant::now();
    let worker = WorkerId::new();
    store.join(worker, HOUR).await.unwrap();
    let mut claim = claim_of(0, u16::try_from(BATCH).unwrap());
    (claim.worker, claim.queue) = (worker, QueueName::DEFAULT);
    let mut done = 0;
    loop {
        claim.lease = LeaseId::new();
        let jobs = store.claim(&claim).await.unwrap();
        if jobs.is_empty() {
            break;
        }
        let settled = store
            .settle(claim.lease, &ends(&jobs, &Outcome::Done))
            .await;
        done += settled
            .unwrap()
            .iter()
            .filter(|s| **s == Settled::Applied)
            .count();
    }
    assert_eq!(done, JOBS);
    let drained = begun.elapsed();
    let rate = |time: std::time::Duration| JOBS as f64 / time.as_secs_f64();
    eprintln!(
        "{durability:?}, payloads of {payload_bytes} bytes, batches of {BATCH}: {:.0}/s enqueued, {:.0}/s drained",
        rate(enqueued),
        rate(drained)
    );
}
