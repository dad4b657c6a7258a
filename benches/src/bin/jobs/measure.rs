//! How each thing is measured, whatever the server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use purlin_benches::load::{Load, Rounds, median, seconds};

use crate::{
    peer::{Entrant, Mode, Peer},
    tally::{self, Payload},
};

/// Jobs of one call of `enqueue_many`.
pub const BATCH: u64 = 1_000;

/// What a peer may take to drain what it was given; what it has done by then counts.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Jobs a second, by one call for each.
pub async fn enqueue_one(peers: &[Arc<dyn Peer>], tasks: u64) -> Vec<Option<f64>> {
    let rounds = Rounds {
        rounds: 9,
        round: Duration::from_millis(150),
        max_calls: 3_000,
    };
    enqueue(peers, tasks, 1, rounds).await
}

/// Jobs a second, by calls for [`BATCH`] of them.
pub async fn enqueue_many(peers: &[Arc<dyn Peer>]) -> Vec<Option<f64>> {
    let rounds = Rounds {
        rounds: 9,
        round: Duration::from_millis(200),
        max_calls: 20,
    };
    enqueue(peers, 1, BATCH, rounds).await
}

async fn enqueue(
    peers: &[Arc<dyn Peer>],
    tasks: u64,
    jobs: u64,
    rounds: Rounds,
) -> Vec<Option<f64>> {
    let load = |peer: &Arc<dyn Peer>| {
        let peer = Arc::clone(peer);
        Load::new("", move || {
            let peer = Arc::clone(&peer);
            async move { peer.enqueue(Payload::batch(0, jobs)).await }
        })
    };
    let loads: Vec<_> = peers.iter().map(load).collect();
    let took = seconds(tasks, &loads, rounds).await;
    took.into_iter()
        .map(|took| Some(jobs as f64 / took))
        .collect()
}

pub async fn load(peer: &dyn Peer, jobs: u64) {
    for from in (0..jobs).step_by(BATCH as usize) {
        peer.enqueue(Payload::batch(from, BATCH.min(jobs - from)))
            .await;
    }
}

/// Jobs a second, from the start of a worker until the last of `jobs` is done in the database.
pub async fn drain(peer: &dyn Peer, jobs: u64) -> f64 {
    tally::forget();
    let before = peer.left().await;
    let begun = Instant::now();
    let worker = peer.start(Mode::Drain).await;
    tally::reach(jobs, DRAIN_LIMIT).await;
    let mut left = peer.left().await;
    while left > before - jobs && begun.elapsed() < DRAIN_LIMIT {
        tokio::time::sleep(Duration::from_millis(1)).await;
        left = peer.left().await;
    }
    let took = begun.elapsed();
    worker.stop().await;
    (before - left) as f64 / took.as_secs_f64()
}

/// The median of several rounds, in which all take turns. `loaded` comes between the load and the drain.
pub async fn drains<F: Future<Output = ()>>(
    entrants: &[Entrant],
    peers: &[Arc<dyn Peer>],
    loaded: impl Fn(usize) -> F,
) -> Vec<Option<f64>> {
    const ROUNDS: usize = 3;
    let mut rates = vec![Vec::new(); peers.len()];
    for round in 0..ROUNDS {
        for turn in 0..peers.len() {
            let at = (turn + round) % peers.len();
            load(&*peers[at], entrants[at].jobs).await;
            loaded(at).await;
            rates[at].push(drain(&*peers[at], entrants[at].jobs).await);
        }
    }
    rates.into_iter().map(|rates| Some(median(rates))).collect()
}

/// From the call of `enqueue` to the start of the handler on a worker that has nothing to do: the times
/// of `samples` jobs, or of as many as there is time for. Those that take longer than two seconds are told as that.
pub async fn latencies(peer: &dyn Peer, samples: u64) -> Vec<f64> {
    let mut times = Vec::new();
    let whole = Instant::now();
    for n in 0..samples {
        if whole.elapsed() > Duration::from_secs(6) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
        tally::forget();
        let begun = Instant::now();
        peer.enqueue(vec![Payload::new(n)]).await;
        tally::reach(1, Duration::from_secs(2)).await;
        let started = tally::last().filter(|(last, _)| *last == n);
        let took = started.map_or(Duration::from_secs(2), |(_, at)| at - begun);
        times.push(took.as_secs_f64());
    }
    times
}

pub fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
