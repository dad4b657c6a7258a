//! The composed example server. `orders --help` says how to run it, README.md how it is built.

mod config;
mod database;
mod domain;
mod http;
mod log;
mod outgoing;
mod provider;
mod repository;
mod sender;
mod server;
mod service;
mod welcome;
mod worker;

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use config::Config;
use orders::fake_provider;

const HELP: &str = "\
Products, orders and payments over HTTP, on an SQLite file or on Postgres.

Usage: orders [worker | reconcile | --no-worker | --check-config | --help | --version]

  worker          run jobs, and serve nothing
  reconcile       enqueue the nightly reconciliation now
  --no-worker     serve, and leave jobs to `orders worker`; by default the server runs them too
  --check-config  print the configuration without secrets, or all that is wrong with it
  --help          print this
  --version       print the version

Environment:
";

const NO_MEANING: &str = "is set, and means nothing here";

/// What the command line asks for.
enum Command {
    Serve { with_worker: bool },
    Work,
    Reconcile,
    CheckConfig,
    Help,
    Version,
}

impl Command {
    /// Whether nothing has been said that `worker` or `--no-worker` would contradict.
    fn is_default(&self) -> bool {
        matches!(self, Self::Serve { with_worker: true })
    }
}

fn main() -> ExitCode {
    match command() {
        Ok(command) => run(&command).unwrap_or_else(|error| {
            complain(format_args!("orders: {}", Chain(&*error)));
            ExitCode::FAILURE
        }),
        Err(error) => {
            complain(format_args!("orders: {error}; see orders --help"));
            ExitCode::from(2)
        }
    }
}

fn command() -> Result<Command, lexopt::Error> {
    use lexopt::Arg::{Long, Short, Value};
    let mut command = Command::Serve { with_worker: true };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        command = match argument {
            Value(value) if value == "worker" && command.is_default() => Command::Work,
            Value(value) if value == "reconcile" && command.is_default() => Command::Reconcile,
            Long("no-worker") if command.is_default() => Command::Serve { with_worker: false },
            Long("check-config") => Command::CheckConfig,
            Long("help") | Short('h') => Command::Help,
            Long("version") | Short('V') => Command::Version,
            other => return Err(other.unexpected()),
        };
    }
    Ok(command)
}

fn run(command: &Command) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = io::stdout();
    match command {
        Command::Help => writeln!(
            out,
            "{HELP}{}\n\nEnvironment of the built-in payment provider:\n{}",
            config::VARIABLES,
            fake_provider::VARIABLES
        )?,
        Command::Version => writeln!(out, "orders {}", env!("CARGO_PKG_VERSION"))?,
        Command::CheckConfig | Command::Serve { .. } | Command::Work | Command::Reconcile => {
            let config = match Config::from_vars(std::env::vars_os()) {
                Ok(config) => config,
                Err(errors) => {
                    for error in errors {
                        complain(format_args!("orders: {error}"));
                    }
                    return Ok(ExitCode::FAILURE);
                }
            };
            match command {
                Command::Serve { with_worker } => {
                    let serve = server::run(&config, *with_worker);
                    start(&config, serve)?;
                }
                Command::Work => start(&config, worker::run(&config))?,
                Command::Reconcile => start(&config, worker::reconcile(&config))?,
                _ => {
                    for name in &config.unknown {
                        complain(format_args!("orders: {name} {NO_MEANING}"));
                    }
                    writeln!(out, "{config}")?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn start(
    config: &Config,
    program: impl Future<Output = Result<(), Box<dyn Error>>>,
) -> Result<(), Box<dyn Error>> {
    log::init(config);
    for name in &config.unknown {
        tracing::warn!("{name} {NO_MEANING}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(program);
    // What did not end in time is dropped here, where it stands.
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended
}

/// Writes to stderr; where that is closed nobody is there to be told.
fn complain(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// An error and its causes on one line.
struct Chain<'a>(&'a dyn Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}
