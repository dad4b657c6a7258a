//! The composed example server. `orders --help` says how to run it, README.md how it is built.

mod config;
mod database;
mod domain;
mod http;
mod log;
mod provider;
mod repository;
mod server;
mod service;
mod welcome;

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

Usage: orders [--check-config | --help | --version]

  --check-config  print the configuration without secrets, or all that is wrong with it
  --help          print this
  --version       print the version

Environment:
";

const NO_MEANING: &str = "is set, and means nothing here";

/// What the command line asks for.
enum Command {
    Serve,
    CheckConfig,
    Help,
    Version,
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
    use lexopt::Arg::{Long, Short};
    let mut command = Command::Serve;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        command = match argument {
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
        Command::CheckConfig | Command::Serve => {
            let config = match Config::from_vars(std::env::vars_os()) {
                Ok(config) => config,
                Err(errors) => {
                    for error in errors {
                        complain(format_args!("orders: {error}"));
                    }
                    return Ok(ExitCode::FAILURE);
                }
            };
            if matches!(command, Command::CheckConfig) {
                for name in &config.unknown {
                    complain(format_args!("orders: {name} {NO_MEANING}"));
                }
                writeln!(out, "{config}")?;
            } else {
                serve(&config)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(config: &Config) -> Result<(), Box<dyn Error>> {
    log::init(config);
    for name in &config.unknown {
        tracing::warn!("{name} {NO_MEANING}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(server::run(config));
    // Requests that did not end in time are dropped here, where they stand.
    runtime.shutdown_timeout(Duration::from_millis(500));
    served
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
