//! In real time, since a thread is to be blocked.

use std::sync::mpsc;
use std::time::Duration;

use purlin_jobs::{Emptied, Worker, handler_fn};

use crate::common::{Log, Probe, Store, enqueue, probe, secs};

#[tokio::test(flavor = "current_thread")]
async fn a_handler_that_blocks_its_thread_for_longer_than_the_lease_keeps_the_job() {
    let (store, log) = (Store::new(), Log::default());
    let id = enqueue(&store, probe(1)).await;
    let beating = store.clone();
    let worker = Worker::new(store.clone())
        .with_observer(log.clone())
        .with_lease_ttl(Duration::from_millis(1500))
        .register(handler_fn(move |_: Probe, _| {
            let beating = beating.clone();
            async move {
                let before = beating.calls("heartbeat");
                let (sender, heartbeats) = mpsc::channel();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.enable_time().build().unwrap();
                    // A lease has three heartbeats.
                    runtime.block_on(beating.called("heartbeat", before + 4));
                    sender.send(()).unwrap();
                });
                // Blocks the only thread of the runtime.
                let beaten = heartbeats.recv_timeout(secs(60));
                beaten.expect("heartbeats go on");
                Ok(())
            }
        }));
    assert_eq!(
        worker.run_until_empty(secs(120)).await.unwrap(),
        Emptied::Empty
    );
    assert_eq!((log.count("done 1"), log.count("lease_lost")), (1, 0));
    assert!(store.view(id).await.is_none());
}
