//! Starts the program and talks to it.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use purlin_testkit::TestDatabase;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// How long anything may take on a machine that is busy building.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A place for the data of one test, and a working directory.
#[derive(Debug)]
pub(crate) struct Store {
    folder: TempDir,
    database: Option<TestDatabase>,
}

impl Store {
    pub(crate) fn sqlite() -> Self {
        let folder = TempDir::with_prefix("orders-").expect("a temporary folder can be made");
        Self {
            folder,
            database: None,
        }
    }

    /// `None` where there is no server and it may be skipped.
    pub(crate) fn postgres() -> Option<Self> {
        let database = TestDatabase::create()?;
        Some(Self {
            database: Some(database),
            ..Self::sqlite()
        })
    }

    /// The URL that was not given is that of SQLite: the default is tested with every test.
    pub(crate) fn url(&self) -> Option<String> {
        self.database.as_ref().map(TestDatabase::url)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("stderr.log")
    }

    /// The program in this place, with nothing of the environment of the tests.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
        command
            .env_clear()
            .current_dir(self.folder())
            .kill_on_drop(true);
        if let Some(url) = self.url() {
            command.env("DATABASE_URL", url);
        }
        command
    }

    /// Starts the program on a free port and waits until it listens.
    pub(crate) async fn start(&self) -> Shop {
        self.start_with(&[]).await
    }

    pub(crate) async fn start_with(&self, env: &[(&str, &str)]) -> Shop {
        let mut command = self.command();
        command.envs(env.iter().copied());
        self.start_by(command).await
    }

    /// Starts the program without a worker.
    pub(crate) async fn start_without_worker(&self) -> Shop {
        let mut command = self.command();
        command.arg("--no-worker");
        self.start_by(command).await
    }

    /// Starts the program as a worker alone.
    pub(crate) fn start_worker(&self) -> Child {
        let mut command = self.command();
        command.arg("worker").stderr(log_file(&self.log()));
        command.spawn().expect("the program can be started")
    }

    async fn start_by(&self, mut command: Command) -> Shop {
        command.env("ORDERS_ADDR", "127.0.0.1:0");
        let (child, url, lines) = launch(&mut command, &self.log()).await;
        Shop {
            child,
            url,
            lines,
            client: reqwest::Client::new(),
        }
    }
}

/// Starts a program and waits until it says where it listens. Its stderr goes to the end of `log`.
pub(crate) async fn launch(
    command: &mut Command,
    log: &Path,
) -> (Child, String, Lines<BufReader<ChildStdout>>) {
    command.stdout(Stdio::piped()).stderr(log_file(log));
    let mut child = command.spawn().expect("the program can be started");
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines();
    let first = timeout(PATIENCE, lines.next_line()).await;
    let first = first.expect("it starts in time").expect("it prints text");
    let url = first
        .as_deref()
        .and_then(|line| line.strip_prefix("listening on "));
    let Some(url) = url.map(str::to_owned) else {
        let log = std::fs::read_to_string(log).unwrap_or_default();
        panic!("it does not listen: {first:?}, {log}");
    };
    (child, url, lines)
}

fn log_file(path: &Path) -> std::fs::File {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    file.expect("a file in the test's own folder")
}

pub(crate) fn send_signal(child: &Child, signal: &str) {
    let pid = child.id().expect("it runs").to_string();
    let status = std::process::Command::new("kill")
        .args(["-s", signal, &pid])
        .status();
    assert!(status.expect("kill can be started").success());
}

pub(crate) async fn wait(child: &mut Child) -> ExitStatus {
    let ended = timeout(PATIENCE, child.wait()).await;
    ended.expect("it ends").expect("a child can be waited for")
}

/// The running program.
#[derive(Debug)]
pub(crate) struct Shop {
    child: Child,
    pub(crate) url: String,
    lines: Lines<BufReader<ChildStdout>>,
    client: reqwest::Client,
}

impl Shop {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.client.request(method, url).timeout(PATIENCE)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(body)).await
    }

    /// A POST without a body.
    pub(crate) async fn act(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::POST, path)).await
    }

    /// A product with this stock, for 250 cents; its id.
    pub(crate) async fn product(&self, stock: i64) -> String {
        let body = json!({"name": "Mug", "price_cents": 250, "stock": stock});
        let product = self.post("/v1/products", &body).await.expect(201);
        text(&product["id"])
    }

    pub(crate) async fn stock(&self, product: &str) -> i64 {
        let product = self
            .get(&format!("/v1/products/{product}"))
            .await
            .expect(200);
        product["stock"].as_i64().expect("a number")
    }

    /// What is printed after the first line.
    pub(crate) async fn banner(&mut self) -> Vec<String> {
        let mut banner = Vec::new();
        while let Ok(Ok(Some(line))) = timeout(PATIENCE, self.lines.next_line()).await {
            let last = line.contains("default: demo");
            banner.push(line);
            if last {
                break;
            }
        }
        banner
    }

    /// A connection on which the test writes what it likes.
    pub(crate) async fn connect(&self) -> TcpStream {
        let addr = self.url.strip_prefix("http://").expect("a URL");
        TcpStream::connect(addr).await.expect("it listens")
    }

    pub(crate) fn signal(&self, signal: &str) {
        send_signal(&self.child, signal);
    }

    pub(crate) async fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child).await
    }
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.expect("there is an answer")).await
    }

    pub(crate) async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.expect("the answer is whole");
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).expect("the body is JSON")
        };
        let answer = Self {
            status,
            headers,
            body,
        };
        assert!(!answer.header("x-request-id").is_empty());
        answer
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("a header of ASCII"))
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        assert_eq!(self.header("content-type"), "application/json");
        self.body
    }

    /// The document of a problem with this status and this slug (`""` for `about:blank`), which is
    /// as every problem of this program is.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["request_id"], self.header("x-request-id"));
        assert!(self.body["title"].is_string(), "{:?}", self.body);
        let ty = match slug {
            "" => "about:blank".to_owned(),
            slug => format!("/problems/{slug}"),
        };
        assert_eq!(self.body["type"], ty);
        self.body
    }

    /// Where a 422 says that something is wrong: code and pointer of each.
    #[track_caller]
    pub(crate) fn violations(self) -> Vec<(String, String)> {
        let problem = self.problem(422, "validation");
        let errors = problem["errors"].as_array().expect("a list");
        errors
            .iter()
            .map(|error| {
                assert!(error["detail"].is_string());
                (text(&error["code"]), text(&error["pointer"]))
            })
            .collect()
    }
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

pub(crate) fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}
