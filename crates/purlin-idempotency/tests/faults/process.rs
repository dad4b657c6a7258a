//! The test's side of a server process, and the client.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use purlin_problem::BoxError;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::{
    PATIENCE,
    child::{DRAINS, GO_ON, Orders, SHUT_DOWN, VARIABLE},
};

pub(crate) const BODY: &str = r#"{"amount":12}"#;
pub(crate) const OTHER_BODY: &str = r#"{"amount":13}"#;

/// A server process, killed on drop.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
    /// The attempt numbers of the executions that were seen.
    executions: Vec<u64>,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) async fn start(orders: &Orders) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "child::serving_child",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
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
        let mut server = Self {
            child,
            stdin,
            lines,
            executions: Vec::new(),
            address: ([127, 0, 0, 1], 0).into(),
        };
        let line = server.until("listening ").await;
        server.address = line["listening ".len()..].parse().unwrap();
        server
    }

    /// Waits until it has stopped at its point.
    pub(crate) async fn stopped(&mut self) {
        self.until("stopped").await;
    }

    /// Tells it to end, and waits until it waits for what it is at work on.
    pub(crate) async fn shut_down(&mut self) {
        self.order(SHUT_DOWN);
        self.until(DRAINS).await;
    }

    pub(crate) async fn until(&mut self, prefix: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.lines.recv()).await;
            let line = line.expect("a process gets on").expect("a process lives");
            self.note(&line);
            // The name of the test stands before what its beginning prints.
            if let Some(at) = line.find(prefix) {
                return line[at..].to_owned();
            }
        }
    }

    fn note(&mut self, line: &str) {
        if let Some((_, attempt)) = line.split_once("executing ") {
            self.executions.push(attempt.parse().unwrap());
        }
    }

    pub(crate) fn go_on(&mut self) {
        self.order(GO_ON);
    }

    fn order(&mut self, order: &str) {
        writeln!(self.stdin, "{order}").unwrap();
    }

    /// `STOP` or `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// `kill -9`; the attempts that it has begun.
    pub(crate) async fn kill(mut self) -> Vec<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while let Some(line) = self.lines.recv().await {
            self.note(&line);
        }
        std::mem::take(&mut self.executions)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) replayed: bool,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn is(&self, problem: &str) -> bool {
        self.body.contains(problem)
    }

    /// Whether a client need not ask again.
    pub(crate) fn is_definite(&self) -> bool {
        self.status == StatusCode::CREATED || self.is("idempotency-indeterminate")
    }

    /// In a word.
    pub(crate) fn word(&self) -> String {
        let problem = self.body.split_once("/problems/idempotency-");
        let slug = problem.and_then(|(_, rest)| rest.split('"').next());
        let what = slug.unwrap_or(if self.replayed {
            "replayed"
        } else {
            "executed"
        });
        format!("{} {what}", self.status.as_u16())
    }
}

/// A connection that has ended within an answer or before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokenOff {
    /// What has come of its body.
    pub(crate) body: String,
}

pub(crate) type Received = Result<Answer, BrokenOff>;

/// One request.
pub(crate) async fn send(address: SocketAddr, key: &str, body: &'static str) -> Received {
    timeout(PATIENCE, try_send(address, key, body))
        .await
        .expect("a request ends")
}

async fn try_send(address: SocketAddr, key: &str, body: &'static str) -> Received {
    let mut seen = Vec::new();
    let head = exchange(address, key, body, &mut seen).await;
    let body = String::from_utf8(seen).unwrap();
    match head {
        Ok(head) => Ok(Answer {
            status: head.status,
            replayed: head.headers.contains_key("idempotent-replayed"),
            body,
        }),
        Err(_) => Err(BrokenOff { body }),
    }
}

async fn exchange(
    address: SocketAddr,
    key: &str,
    body: &'static str,
    seen: &mut Vec<u8>,
) -> Result<response::Parts, BoxError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post("/payments")
        .header("host", "localhost")
        .header("idempotency-key", key)
        .body(Full::<Bytes>::from(body))
        .unwrap();
    let (head, mut body) = sender.send_request(request).await?.into_parts();
    while let Some(frame) = body.frame().await {
        seen.extend_from_slice(frame?.data_ref().unwrap());
    }
    Ok(head)
}

/// Retries as a client does, until it knows.
pub(crate) async fn retry(address: SocketAddr, key: &str) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = send(address, key, BODY).await.expect("the process lives");
        if answer.is_definite() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "no definite answer: {answer:?}");
        // Leases end by themselves, and nobody says when.
        sleep(Duration::from_millis(20)).await;
    }
}
