//! The connection of heartbeats.

use std::pin::pin;

use purlin_jobs::JobStore as _;
use purlin_jobs::store::Beat;

use crate::harness::{HOUR, claim, config, job, prepare, worker};
use purlin_testkit::TestFile;

/// A call that waits for a connection, which handlers have, is the next writer.
#[tokio::test]
async fn heartbeats_do_not_wait_for_who_waits_for_a_connection() {
    let file = TestFile::new();
    let pool = config(file.path()).with_max_connections(1);
    let place = prepare(file, pool.connect().await.unwrap()).await;
    let store = &place.store;
    claim(store, 1, 1).await;
    let handler = place.pool.acquire().await.unwrap();
    let jobs = [job(1)];
    let mut waits = pin!(store.enqueue(&jobs));
    let apart = store.apart();
    let beat = tokio::select! {
        biased;
        _ = &mut waits => panic!("there is no connection"),
        beat = apart.heartbeat(worker(1), HOUR) => beat.unwrap(),
    };
    assert_eq!(beat, Beat::Alive { cancel: vec![] });
    drop(handler);
    waits.await.unwrap();
}
