//! purlin-jobs beside its peers, and beside the bare statements of its stores. What counts is what is done in
//! the database, not what a handler has returned.

mod embedded;
mod measure;
mod peer;
mod peers;
mod postgres;
mod redis;
mod rescue;
mod table;
mod tally;

use std::{sync::Arc, time::Duration};

use purlin_benches::{machine, version};

use crate::{
    measure::percentile,
    peer::{Entrant, Mode, Peer},
    table::{Table, Unit},
};

const PARTS: [&str; 4] = ["postgres", "redis", "sqlite", "memory"];

const MEASURES: [&str; 7] = [
    "enqueue", "drain", "wal", "idle", "held", "rescue", "million",
];

/// What was asked for: parts, measures and peers by their names, or all of them.
pub struct Wanted {
    parts: Vec<String>,
    measures: Vec<String>,
    entrants: Vec<String>,
    /// `--full`: also what takes long.
    full: bool,
    /// How long a snapshot is held.
    held: Duration,
}

impl Wanted {
    fn of(arguments: Vec<String>) -> Self {
        let (flags, names): (Vec<_>, Vec<_>) =
            arguments.into_iter().partition(|it| it.starts_with("--"));
        let (parts, names): (_, Vec<_>) = names.into_iter().partition(|it| PARTS.contains(&&**it));
        let (measures, entrants) = names.into_iter().partition(|it| MEASURES.contains(&&**it));
        let full = flags.iter().any(|flag| flag == "--full");
        Self {
            parts,
            measures,
            entrants,
            full,
            held: Duration::from_secs(if full { 600 } else { 60 }),
        }
    }

    fn part(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|name| name == part)
    }

    /// Those of them that were asked for.
    pub fn entrants(&self, all: &[Entrant]) -> Vec<Entrant> {
        let is_wanted = |it: &&Entrant| {
            self.entrants.is_empty() || self.entrants.iter().any(|name| name == it.name)
        };
        all.iter().filter(is_wanted).copied().collect()
    }

    pub fn measure(&self, measure: &str) -> bool {
        self.measures.is_empty() || self.measures.iter().any(|name| name == measure)
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [first, name, url] = &arguments[..]
        && first == rescue::VICTIM
    {
        let entrant = postgres::ENTRANTS.iter().find(|it| it.name == name);
        return rescue::victim(entrant.expect("is one"), url.clone()).await;
    }
    let wanted = Wanted::of(arguments);
    machine();
    let peers = [
        "graphile_worker",
        "awa",
        "apalis-postgres",
        "underway",
        "bullmq-official",
        "apalis-redis",
        "rusty-sidekiq",
        "apalis-sqlite",
        "sqlx",
        "redis",
        "tokio",
    ];
    println!("{}.", peers.map(version).join(", "));
    if wanted.part("postgres") {
        postgres::run(&wanted).await;
    }
    if wanted.part("redis") {
        redis::run(&wanted).await;
    }
    if wanted.part("sqlite") {
        embedded::sqlite(&wanted).await;
    }
    if wanted.part("memory") {
        embedded::memory(&wanted).await;
    }
}

/// What is measured of all stores but Postgres, of which more is.
async fn common(
    wanted: &Wanted,
    entrants: &[Entrant],
    peers: &[Arc<dyn Peer>],
    table: &mut Table<'_>,
) {
    if wanted.measure("drain") {
        let rates = measure::drains(entrants, peers, |_| async {}).await;
        table.add("drain", Unit::PerSecond, rates);
    }
    if wanted.measure("idle") {
        let mut times = Vec::new();
        for peer in peers {
            let worker = peer.start(Mode::Idle).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            times.push(measure::latencies(&**peer, 200).await);
            worker.stop().await;
        }
        for percent in [50, 99] {
            let times = times
                .iter_mut()
                .map(|times| Some(percentile(times, percent)));
            table.add(format!("start, p{percent}"), Unit::Seconds, times.collect());
        }
    }
    if wanted.measure("enqueue") {
        let one = measure::enqueue_one(peers, 1).await;
        table.add("enqueue", Unit::PerSecond, one);
        let many = measure::enqueue_many(peers).await;
        table.add("enqueue_many", Unit::PerSecond, many);
    }
}
