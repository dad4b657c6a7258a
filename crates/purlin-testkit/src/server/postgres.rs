use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::database::execute;
use crate::server::process::{Process, command_of, find, free_port, pause, until_ready};
use crate::skip::skip;

/// A Postgres server of this test's own, without passwords, with the user `postgres`.
#[derive(Debug)]
pub struct PostgresServer {
    folder: TempDir,
    port: u16,
    program: PathBuf,
    user: Option<&'static str>,
    process: Process,
}

impl PostgresServer {
    /// Makes a data folder and starts a server on it; `None` when `initdb` and `postgres` are neither
    /// in the `PATH` nor in `/usr/lib/postgresql`, or when this is root and there is no user
    /// `postgres` (see [`skip`]).
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Option<Self> {
        let folders = debian_folders();
        let (Some(initdb), Some(program)) = (find("initdb", &folders), find("postgres", &folders))
        else {
            skip("the programs initdb and postgres");
            return None;
        };
        // Postgres refuses to run as root.
        let user = is_root().then_some("postgres");
        if user.is_some() && !user_exists("postgres") {
            skip("a user named postgres to run a private Postgres server");
            return None;
        }
        let folder =
            TempDir::with_prefix("purlin-postgres-").expect("a temporary folder can be made");
        if let Some(user) = user {
            let status = Command::new("chown").arg(user).arg(folder.path()).status();
            assert!(
                status.is_ok_and(|s| s.success()),
                "the folder can be given to {user}"
            );
        }
        let made = command_of(&initdb, user, false)
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
            ])
            .args(["--locale=C", "--pgdata"])
            .arg(data(folder.path()))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .output()
            .expect("initdb can be started");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        // Not on the command line, so that `alter system` can raise it.
        let config = data(folder.path()).join("postgresql.conf");
        let config = fs::OpenOptions::new().append(true).open(config);
        config
            .and_then(|mut config| writeln!(config, "max_connections = 50"))
            .expect("the new data folder can be written");
        for _ in 0..5 {
            let port = free_port();
            let mut process = launch(&program, user, folder.path(), port);
            if until_ready(&mut process, &log(folder.path()), || answers(port)) {
                return Some(Self {
                    folder,
                    port,
                    program,
                    user,
                    process,
                });
            }
        }
        panic!(
            "postgres ended five times: {}",
            fs::read_to_string(log(folder.path())).unwrap_or_default()
        );
    }

    /// The URL of the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// The port, which stays the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn user(&self) -> Option<&'static str> {
        self.user
    }

    /// `kill -9` of the server and of every session.
    pub fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.wait();
    }

    /// Ends it in order, without waiting for clients (`SIGINT`, "fast shutdown").
    pub fn stop(&mut self) {
        // Only the postmaster: it tells its children.
        self.process.signal_parent("INT");
        self.process.wait();
    }

    /// Ends it as `pg_ctl stop -m immediate` does (`SIGQUIT`): it recovers when it starts again.
    pub fn abort(&mut self) {
        self.process.signal_parent("QUIT");
        self.process.wait();
    }

    /// Stops it and every session where they stand (`SIGSTOP`): nothing is answered.
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
        for _ in 0..50 {
            self.process = launch(&self.program, self.user, self.folder.path(), self.port);
            if until_ready(&mut self.process, &log(self.folder.path()), || {
                answers(self.port)
            }) {
                return;
            }
            // After `kill -9` it refuses to start until the last old session has ended.
            pause(100);
        }
        panic!(
            "postgres does not come up again: {}",
            fs::read_to_string(log(self.folder.path())).unwrap_or_default()
        );
    }
}

fn launch(program: &Path, user: Option<&str>, folder: &Path, port: u16) -> Process {
    let (data, port) = (data(folder).display().to_string(), port.to_string());
    let args = [
        "-D",
        &data,
        "-p",
        &port,
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "unix_socket_directories=",
    ];
    Process::start(program, &args, user, &log(folder)).expect("postgres can be started")
}

/// Makes `path` the property of `user`.
pub(crate) fn give_to(user: Option<&str>, path: &Path) {
    if let Some(user) = user {
        let status = Command::new("chown").arg(user).arg(path).status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "{} can be given to {user}",
            path.display()
        );
    }
}

pub(crate) fn answers(port: u16) -> bool {
    execute(&url(port), "select 1".to_owned()).is_ok()
}

pub(crate) fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn log(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

/// Debian keeps the server's programs of each version outside the `PATH`; the newest first.
fn debian_folders() -> Vec<PathBuf> {
    let Ok(versions) = fs::read_dir("/usr/lib/postgresql") else {
        return Vec::new();
    };
    let mut folders: Vec<_> = versions.filter_map(|v| Some(v.ok()?.path())).collect();
    folders.sort_by_key(|folder| {
        folder
            .file_name()
            .and_then(|name| name.to_str()?.parse::<u32>().ok())
    });
    folders
        .into_iter()
        .rev()
        .map(|folder| folder.join("bin"))
        .collect()
}

fn is_root() -> bool {
    id(&["-u"]).is_some_and(|uid| uid == "0")
}

fn user_exists(user: &str) -> bool {
    id(&["-u", user]).is_some()
}

fn id(args: &[&str]) -> Option<String> {
    let output = Command::new("id")
        .args(args)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
