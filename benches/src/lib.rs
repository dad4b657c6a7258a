//! How the benches measure: all cases take turns in one process, so that noise of the machine
//! meets them alike; the median of the rounds is told, beside the allocations of one call.

pub mod load;
#[cfg(any(feature = "idempotency", feature = "jobs"))]
pub mod servers;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// One thing that is measured.
pub struct Case<'a> {
    name: &'a str,
    run: Box<dyn FnMut() + 'a>,
}

impl<'a> Case<'a> {
    /// What `run` returns is not optimised away.
    pub fn new<T>(name: &'a str, mut run: impl FnMut() -> T + 'a) -> Self {
        Self {
            name,
            run: Box::new(move || drop(black_box(run()))),
        }
    }
}

/// What a case took.
pub struct Figure {
    pub name: String,
    /// Nanoseconds of one call: the median of the rounds.
    pub ns: f64,
    /// Allocations of one call.
    pub allocations: u64,
}

const ROUNDS: usize = 101;
const ROUND: Duration = Duration::from_millis(2);

/// Measures the cases in turn.
pub fn measure(mut cases: Vec<Case<'_>>) -> Vec<Figure> {
    let calls: Vec<u32> = cases
        .iter_mut()
        .map(|case| {
            let start = Instant::now();
            let mut calls = 0;
            while start.elapsed() < ROUND * 10 {
                (case.run)();
                calls += 1;
            }
            (calls / 10).max(1)
        })
        .collect();
    let mut samples = vec![Vec::with_capacity(ROUNDS); cases.len()];
    for _ in 0..ROUNDS {
        for (at, case) in cases.iter_mut().enumerate() {
            let start = Instant::now();
            for _ in 0..calls[at] {
                (case.run)();
            }
            samples[at].push(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls[at]));
        }
    }
    cases
        .iter_mut()
        .zip(samples)
        .map(|(case, mut samples)| {
            samples.sort_by(f64::total_cmp);
            let allocations = allocation_counter::measure(|| (case.run)()).count_total;
            Figure {
                name: case.name.to_owned(),
                ns: samples[ROUNDS / 2],
                allocations,
            }
        })
        .collect()
}

/// Prints one table of several measurements, a column each: nanoseconds, in brackets the ratio to
/// the first row, and the allocations.
pub fn table(columns: &[(&str, Vec<Figure>)]) {
    let mut names: Vec<&str> = Vec::new();
    for figure in columns.iter().flat_map(|(_, figures)| figures) {
        if !names.contains(&figure.name.as_str()) {
            names.push(&figure.name);
        }
    }
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    println!(
        "\n| | {} |\n|---|{}",
        titles.join(" | "),
        "--:|".repeat(columns.len())
    );
    for name in names {
        let cells: Vec<String> = columns
            .iter()
            .map(|(_, figures)| {
                let Some(figure) = figures.iter().find(|figure| figure.name == name) else {
                    return String::new();
                };
                let ratio = figure.ns / figures[0].ns;
                format!("{:.0} ns ({ratio:.2}), {}", figure.ns, figure.allocations)
            })
            .collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// Prints where and when: the processor, the compiler, the date.
pub fn machine() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |name| {
            name.trim_start_matches([' ', '\t', ':'])
        });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let command = |name: &str, args: &[&str]| {
        std::process::Command::new(name)
            .args(args)
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    };
    println!(
        "{}, {cores} cores of {cpu} (shared), {}.",
        command("date", &["-u", "+%Y-%m-%d"]),
        command("rustc", &["--version"]),
    );
}

/// Which one of a package was measured: from the lock file of these benches, the newest if it has several.
pub fn version(package: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let name = format!("name = \"{package}\"\nversion = \"");
    let version = lock
        .rsplit(&name)
        .next()
        .filter(|rest| rest.len() < lock.len());
    let version = version.and_then(|rest| rest.split('"').next());
    format!("{package} {}", version.unwrap_or("?"))
}
