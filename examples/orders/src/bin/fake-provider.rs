//! The fake payment provider as a program of its own. `fake-provider --help` says how to run it.

use std::{
    fmt::Arguments,
    io::{self, Write as _},
    process::ExitCode,
};

use lexopt::Arg::{Long, Short};
use orders::{
    fake_provider::{self, Settings},
    listen::Signals,
    vars::Vars,
};
use tokio::net::TcpListener;

const HELP: &str = "\
A payment provider that charges nobody, and fails as it is told to.

Usage: fake-provider [--help | --version]

  POST /charges {reference, amount_cents}, with an Idempotency-Key
                201 {id, reference, amount_cents, status}; amounts that end in 13 cents
                are declined, all others captured
  GET /ledger   all charges, the oldest first, each with its key
  PUT /knobs?latency_ms=MS&fail_rate=R&hang_rate=R&refuse_rate=R&drop_after_charge_rate=R
                how it fails from then on; those that are not named are 0. The query of
                one POST /charges takes the same, for that request

Environment:
  FAKE_PROVIDER_ADDR        where to listen; port 0 picks one  (default: 127.0.0.1:3001)
";

fn main() -> ExitCode {
    let command = command();
    match command.map(|text| text.map_or_else(run, |text| writeln!(io::stdout(), "{text}"))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(format_args!("{error}; see fake-provider --help"));
            ExitCode::from(2)
        }
    }
}

/// The text that is asked for, if it is one.
fn command() -> Result<Option<String>, lexopt::Error> {
    let mut text = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        text = Some(match argument {
            Long("help") | Short('h') => format!("{HELP}{}", fake_provider::VARIABLES),
            Long("version") | Short('V') => format!("fake-provider {}", env!("CARGO_PKG_VERSION")),
            other => return Err(other.unexpected()),
        });
    }
    Ok(text)
}

fn run() -> io::Result<()> {
    let mut vars = Vars::new(std::env::vars_os());
    let settings = Settings::read(&mut vars);
    let settings = vars.finish(settings).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        io::Error::other(errors.join("\nfake-provider: "))
    })?;
    for name in &settings.unknown {
        complain(format_args!("{name} is set, and means nothing here"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(&settings))
}

/// Serves until a signal comes, and then leaves at once: nothing is kept anyway.
async fn serve(settings: &Settings) -> io::Result<()> {
    let mut signals = Signals::listen()?;
    let listener = TcpListener::bind(settings.addr).await;
    let listener = listener.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on {}: {error}", settings.addr),
        )
    })?;
    let addr = listener.local_addr()?;
    // Where nobody reads it, the address was given.
    let _ = writeln!(io::stdout(), "listening on http://{addr}");
    tokio::select! {
        () = fake_provider::serve(listener, settings) => {}
        () = signals.next() => {}
    }
    Ok(())
}

/// Writes to stderr; where that is closed nobody is there to be told.
fn complain(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "fake-provider: {text}");
}
