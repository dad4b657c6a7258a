use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::server::process::{Process, find, free_port, pause, until_ready};
use crate::server::resp;
use crate::skip::skip;

/// A Redis server of this test's own. It keeps its data in an append-only file, written at every
/// command, so that it survives [`kill`](Self::kill) and [`restart`](Self::restart).
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    port: u16,
    args: Vec<String>,
    process: Process,
}

impl RedisServer {
    /// Starts one on a free port; `None` when `redis-server` is not there (see [`skip`]).
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// As [`start`](Self::start), with more arguments, such as `["--requirepass", "secret"]`.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start_with(more: &[&str]) -> Option<Self> {
        let more: Vec<String> = more.iter().map(|arg| (*arg).to_owned()).collect();
        Self::start_on(free_port, |_, _| more.clone())
    }

    /// Starts one with the arguments that `args` makes of its port and folder.
    pub(crate) fn start_on(
        port: impl Fn() -> u16,
        args: impl Fn(u16, &Path) -> Vec<String>,
    ) -> Option<Self> {
        let program = program()?;
        for _ in 0..5 {
            let folder =
                TempDir::with_prefix("purlin-redis-").expect("a temporary folder can be made");
            let port = port();
            let args = args(port, folder.path());
            let mut process = launch(&program, folder.path(), port, &args);
            if until_ready(&mut process, &log(folder.path()), || answers(port)) {
                return Some(Self {
                    folder,
                    port,
                    args,
                    process,
                });
            }
        }
        panic!("redis-server ended five times instead of coming up");
    }

    /// `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port, which stays the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends one command, without a password, and returns its answer as text.
    ///
    /// # Panics
    ///
    /// When the server answers with an error or not at all.
    #[expect(
        clippy::must_use_candidate,
        reason = "most commands are sent for what they do"
    )]
    pub fn command(&self, words: &[&str]) -> String {
        resp::command(&self.url(), words).expect("the server answers")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.wait();
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        self.process.signal("TERM");
        self.process.wait();
    }

    /// Stops it where it stands (`SIGSTOP`): connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), on the same port and data.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn restart(&mut self) {
        let program = find("redis-server", &[]).expect("it was there before");
        for _ in 0..50 {
            self.process = launch(&program, self.folder.path(), self.port, &self.args);
            if until_ready(&mut self.process, &log(self.folder.path()), || {
                answers(self.port)
            }) {
                return;
            }
            // Somebody's outgoing connection may have the port for a moment.
            pause(100);
        }
        panic!("redis-server does not come up again on port {}", self.port);
    }
}

fn program() -> Option<PathBuf> {
    let program = find("redis-server", &[]);
    if program.is_none() {
        skip("the program redis-server in the PATH");
    }
    program
}

fn launch(program: &Path, folder: &Path, port: u16, more: &[String]) -> Process {
    let (port, dir) = (port.to_string(), folder.display().to_string());
    let mut args: Vec<&str> = Vec::new();
    // A first argument that is a file, as for a sentinel, must stay the first one.
    let (file, options) = match more.first() {
        Some(first) if !first.starts_with("--") => (Some(first), &more[1..]),
        _ => (None, more),
    };
    args.extend(file.map(String::as_str));
    args.extend(["--port", &port, "--bind", "127.0.0.1", "--dir", &dir]);
    if file.is_none() {
        args.extend([
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ]);
    }
    args.extend(options.iter().map(String::as_str));
    Process::start(program, &args, None, &log(folder)).expect("redis-server can be started")
}

fn answers(port: u16) -> bool {
    // `-NOAUTH` is an answer too; `-LOADING` is not yet.
    match resp::command(&format!("redis://127.0.0.1:{port}"), &["PING"]) {
        Ok(_) => true,
        Err(error) => error.to_string().contains("NOAUTH"),
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("server.log")
}
