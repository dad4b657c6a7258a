//! How long the job of a process that was killed waits for the next one.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    peer::{Entrant, Mode, Peer},
    tally::{self, Payload},
};

/// How long it is waited for.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The argument that makes this program a worker that never ends its job.
pub const VICTIM: &str = "--victim";

pub async fn victim(entrant: &Entrant, url: String) {
    tally::hang();
    let peer = (entrant.open)(url).await;
    let _worker = peer.start(Mode::Idle).await;
    std::future::pending::<()>().await;
}

/// Seconds from the death of a process until another one starts its job.
pub async fn time(entrant: &Entrant, peer: &dyn Peer, url: &str) -> Option<f64> {
    tally::forget();
    peer.enqueue(vec![Payload::new(7)]).await;
    let program = std::env::current_exe().expect("has a path");
    let mut child = Command::new(program)
        .args([VICTIM, entrant.name, url])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let stdout = child.stdout.take().expect("is piped");
    let read =
        tokio::task::spawn_blocking(move || BufReader::new(stdout).read_line(&mut String::new()));
    read.await.expect("does not panic").expect("is read");
    // With heartbeats of its own first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    child.kill().expect("is killed");
    child.wait().expect("has ended");
    let killed = Instant::now();
    let worker = peer.start(Mode::Idle).await;
    let is_run = tally::reach(1, LIMIT).await;
    let took = killed.elapsed();
    worker.stop().await;
    is_run.then_some(took.as_secs_f64())
}
