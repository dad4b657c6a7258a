use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to come up on a machine that is busy building.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server process that dies with the test: killed on drop, and by the kernel when the test's
/// thread ends in any other way (`setpriv --pdeathsig`). It must not be started on a thread that
/// ends before the test does.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `program`, as `user` if given, with its output in the file `log`.
    pub(crate) fn start(
        program: &Path,
        args: &[&str],
        user: Option<&str>,
        log: &Path,
    ) -> io::Result<Self> {
        let output = fs::File::options().create(true).append(true).open(log)?;
        let mut command = command_of(program, user, true);
        command.args(args).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        Ok(Self {
            child: command.spawn()?,
        })
    }

    pub(crate) fn has_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends `signal` (`KILL`, `STOP`, `CONT`, `TERM`, …) to the process and its children, which
    /// may have left its group.
    pub(crate) fn signal(&self, signal: &str) {
        // Looked up before, since those of a dead parent are no longer its children, and after,
        // since it may have made more of them until it was stopped.
        let mut pids = children(self.child.id());
        self.signal_parent(signal);
        pids.extend(children(self.child.id()));
        pids.sort_unstable();
        pids.dedup();
        for pid in pids {
            send(signal, pid);
        }
    }

    /// Sends `signal` to the process alone.
    pub(crate) fn signal_parent(&self, signal: &str) {
        send(signal, self.child.id());
    }

    pub(crate) fn wait(&mut self) {
        self.child.wait().expect("a child can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("KILL");
            let _ = self.child.wait();
        }
    }
}

/// `program`, as another user and tied to the life of this thread where `setpriv` is there.
pub(crate) fn command_of(program: &Path, user: Option<&str>, die_with_us: bool) -> Command {
    let Some(setpriv) = find("setpriv", &[]) else {
        return match user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
    };
    let mut command = Command::new(setpriv);
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    if die_with_us {
        command.args(["--pdeathsig", "KILL"]);
    }
    command.arg(program);
    command
}

/// `name` in the `PATH` or in one of `folders`.
pub(crate) fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(folders.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A port that is free now. Somebody else may take it before the server does: then it does not come
/// up, and is started again on another one.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// Waits until `ready` says so: `false` when `process` ended first.
///
/// # Panics
///
/// After [`PATIENCE`].
pub(crate) fn until_ready(process: &mut Process, log: &Path, ready: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !ready() {
        if process.has_ended().expect("a child can be asked").is_some() {
            return false;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the server does not come up: {}",
            fs::read_to_string(log).unwrap_or_default()
        );
        pause(10);
    }
    true
}

fn send(signal: &str, pid: u32) {
    // A process that has ended by itself in between is fine.
    let pid = pid.to_string();
    let _ = Command::new("kill")
        .args(["-s", signal, &pid])
        .stderr(Stdio::null())
        .status();
}

/// The processes whose parent is `parent`, read from `/proc`; none where there is no `/proc`.
fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            // `pid (name) state ppid …`, and the name may hold anything.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            after_name.split_whitespace().nth(1) == Some(&parent.to_string())
        })
        .collect()
}

/// Lets a server get on before it is asked again.
#[expect(
    clippy::disallowed_methods,
    reason = "another process sends no signal when it begins to answer, and this is not async"
)]
pub(crate) fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}
