//! Logs go to stderr; stdout is for what a person or a script asked for.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::{Config, LogFormat};

/// Installs the subscriber of this process. Called once.
///
/// With JSON, panics are logged too, since the text that Rust prints would be among the lines.
pub(crate) fn init(config: &Config) {
    let lines = match config.log {
        LogFormat::Pretty => fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_writer(io::stderr)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(config.log_filter.clone()))
        .init();
    if config.log == LogFormat::Json {
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panicked")));
    }
}
