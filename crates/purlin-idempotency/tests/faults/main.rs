//! The fault matrix, with real processes, servers and connections. What each cell saw is printed
//! as the row of a table (`--nocapture`).

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

mod child;
mod crash;
mod duplicates;
mod ground;
mod postgres;
mod process;
mod redis;
mod scene;
mod stopped;
mod stops;
mod storm;
mod work;

use std::time::Duration;

/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a lease lasts here. Long against a pause of a busy machine, since a lease that lapses
/// early is another cell.
const LEASE_TTL: Duration = Duration::from_secs(1);

#[expect(clippy::print_stdout, reason = "the table of what was seen")]
fn say(line: &str) {
    println!("{line}");
}

/// What a child process says to the test.
fn tell(line: &str) {
    if std::env::var_os(child::VARIABLE).is_some() {
        say(line);
    }
}
