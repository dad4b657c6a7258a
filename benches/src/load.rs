//! Calls that wait for something: any number of tasks make them at once, on the runtime's threads,
//! and all cases take turns, as in [`measure`](crate::measure).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

type Batch = Arc<dyn Fn(u64) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// One kind of call.
#[derive(Clone)]
pub struct Load {
    name: String,
    batch: Batch,
}

impl Load {
    pub fn new<C, F>(name: impl Into<String>, call: C) -> Self
    where
        C: Fn() -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send,
    {
        let batch = move |calls| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            let call = call.clone();
            Box::pin(async move {
                for _ in 0..calls {
                    call().await;
                }
            })
        };
        Self {
            name: name.into(),
            batch: Arc::new(batch),
        }
    }

    /// How long `tasks` tasks take for this many calls each.
    async fn run(&self, tasks: u64, calls: u64) -> Duration {
        let begun = Instant::now();
        let mut set: JoinSet<()> = (0..tasks).map(|_| (self.batch)(calls)).collect();
        while let Some(joined) = set.join_next().await {
            joined.expect("a task that is measured does not panic");
        }
        begun.elapsed()
    }

    /// So many calls, one after the other.
    pub async fn repeat(&self, calls: u64) {
        self.run(1, calls).await;
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Rounds {
    pub rounds: usize,
    /// What one case gets of each round.
    pub round: Duration,
    /// Calls of one case in one round at most: a store that keeps everything must not fill the memory.
    pub max_calls: u64,
}

/// Seconds of one call, of several at once divided by their number: the median of the rounds, in
/// the order of the loads.
pub async fn seconds(tasks: u64, loads: &[Load], rounds: Rounds) -> Vec<f64> {
    let mut calls = Vec::new();
    for load in loads {
        calls.push(calibrate(load, tasks, rounds).await);
    }
    let mut samples = vec![Vec::with_capacity(rounds.rounds); loads.len()];
    for round in 0..rounds.rounds {
        for turn in 0..loads.len() {
            // Nobody always comes after the same one.
            let at = (turn + round) % loads.len();
            let took = loads[at].run(tasks, calls[at]).await;
            samples[at].push(took.as_secs_f64() / (tasks * calls[at]) as f64);
        }
    }
    samples.into_iter().map(median).collect()
}

/// Calls of each task that take about a round; warms up on the way.
async fn calibrate(load: &Load, tasks: u64, rounds: Rounds) -> u64 {
    let most = (rounds.max_calls / tasks).max(1);
    let mut calls = 1;
    loop {
        let took = load.run(tasks, calls).await;
        if took * 3 > rounds.round || calls >= most {
            let fitting = calls as f64 * rounds.round.as_secs_f64() / took.as_secs_f64();
            return (fitting as u64).clamp(1, most);
        }
        calls = (calls * 3).min(most);
    }
}

pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// A table of loads: for each number of tasks the time of one call, in brackets the ratio to the
/// first row, and how many of them are done in a second; then what `more` says of each row.
pub async fn table(
    title: &str,
    tasks: &[u64],
    loads: &[Load],
    rounds: Rounds,
    more: &[(&str, Vec<String>)],
) {
    let mut columns = Vec::new();
    for &count in tasks {
        columns.push(seconds(count, loads, rounds).await);
    }
    let mut head = format!("\n| {title} |");
    for count in tasks {
        head += &format!(" {count} at once |");
    }
    for (title, _) in more {
        head += &format!(" {title} |");
    }
    println!("{head}\n|---|{}", "--:|".repeat(tasks.len() + more.len()));
    for (row, load) in loads.iter().enumerate() {
        let mut line = format!("| {} |", load.name);
        for column in &columns {
            let ratio = column[row] / column[0];
            line += &format!(
                " {} ({ratio:.2}), {}/s |",
                time(column[row]),
                count(1.0 / column[row])
            );
        }
        for (_, cells) in more {
            line += &format!(" {} |", cells.get(row).map_or("", String::as_str));
        }
        println!("{line}");
    }
}

/// Allocations of one call, all of them on one thread.
pub fn allocations<F>(loads: impl FnOnce() -> F + Send) -> Vec<String>
where
    F: Future<Output = Vec<Load>>,
{
    const CALLS: u64 = 200;
    let count = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("there is another runtime");
        let loads = runtime.block_on(loads());
        let of = |load: &Load, calls| {
            let run = || runtime.block_on(load.repeat(calls));
            allocation_counter::measure(run).count_total
        };
        let one = |load: &Load| {
            of(load, CALLS);
            // What it takes to run none, and growing tables, shall not count.
            (of(load, 2 * CALLS).saturating_sub(of(load, CALLS)) as f64 / CALLS as f64).round()
        };
        loads.iter().map(|load| one(load).to_string()).collect()
    };
    std::thread::scope(|scope| scope.spawn(count).join().expect("does not panic"))
}

/// Three digits of a time.
pub fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "µs"),
        s => (s * 1e3, "ms"),
    };
    let digits = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.digits$} {unit}")
}

fn count(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e4 => format!("{:.0} k", v / 1e3),
        v if v >= 1e3 => format!("{:.1} k", v / 1e3),
        v => format!("{v:.0}"),
    }
}
