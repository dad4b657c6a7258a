//! The fault matrix, with real processes, servers and connections. What each cell saw is printed
//! as the row of a table (`--nocapture`).

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

mod bouncer;
mod checker;
mod child;
mod crash;
mod enqueue;
mod ground;
mod handlers;
mod log;
mod process;
mod replies;
mod rolling;
mod servers;
mod sessions;
mod stops;
mod storm;
mod work;
mod zombie;

use std::time::Duration;

/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the lease of a worker lasts that is to die. Long against a pause of a busy machine, since
/// a lease that lapses early is another cell.
const SHORT_LEASE: Duration = Duration::from_secs(5);

/// The same of a worker that is to live.
const LONG_LEASE: Duration = Duration::from_secs(30);

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
