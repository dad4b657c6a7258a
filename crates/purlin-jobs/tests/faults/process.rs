//! The test's side of a process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::PATIENCE;
use crate::child::{GO_ON, Orders, SHUT_DOWN, UNBLOCK, VARIABLE};
use crate::ground::Ground;
use crate::log::Fault;

/// A process, killed on drop.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    pub(crate) fn start(orders: &Orders) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child::child", "--exact", "--ignored", "--nocapture"])
            .env(VARIABLE, orders.to_env())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            stdin,
            lines,
        }
    }

    /// A worker, once it is at work.
    pub(crate) async fn worker(orders: &Orders) -> Self {
        let mut worker = Self::start(orders);
        worker.until("works").await;
        worker
    }

    /// Waits until it has stopped at its point.
    pub(crate) async fn stopped(&mut self) {
        self.until("stopped").await;
    }

    /// Waits until it says so, and forgets what it has said before.
    pub(crate) async fn until(&mut self, what: &str) {
        let mut said = Vec::new();
        let line = timeout(PATIENCE, async {
            loop {
                let line = self.lines.recv().await;
                let line = line.unwrap_or_else(|| panic!("it dies before `{what}`: {said:?}"));
                // The name of the test stands before what its beginning prints.
                if line.contains(what) {
                    return;
                }
                said.push(line);
            }
        });
        let found = line.await;
        assert!(found.is_ok(), "it does not say `{what}`: {said:?}");
    }

    pub(crate) fn go_on(&mut self) {
        self.order(GO_ON);
    }

    pub(crate) fn unblock(&mut self) {
        self.order(UNBLOCK);
    }

    /// Lets it come to its end, when all its loops are at work.
    pub(crate) async fn end(mut self) {
        self.order(SHUT_DOWN);
        self.until("is healthy").await;
        self.until("has left").await;
    }

    fn order(&mut self, order: &str) {
        writeln!(self.stdin, "{order}").unwrap();
    }

    /// `STOP`, which is a fault, or `CONT`.
    pub(crate) async fn signal(&self, ground: &Ground, signal: &str) {
        if signal == "STOP" {
            ground.log.fault(self.child.id(), Fault::Stopped).await;
        }
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// `kill -9`
    pub(crate) async fn kill(mut self, ground: &Ground) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        ground.log.fault(self.child.id(), Fault::Killed).await;
    }

    /// Waits until it has killed itself.
    pub(crate) async fn aborted(mut self, ground: &Ground) {
        // Its output ends with it.
        while self.lines.recv().await.is_some() {}
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), None, "by a signal: {status}");
        ground.log.fault(self.child.id(), Fault::Killed).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
