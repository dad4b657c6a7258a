//! The fake payment provider by itself, and how the other tests use it.

use std::{path::PathBuf, time::Duration};

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    harness::{PATIENCE, launch, send_signal},
    products::items,
    start::{output, stderr, stdout},
};

/// The program `fake-provider`.
#[derive(Debug)]
pub(crate) struct Provider {
    child: Child,
    pub(crate) url: String,
    client: reqwest::Client,
    _folder: TempDir,
}

fn command(env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-provider"));
    command
        .env_clear()
        .env("FAKE_PROVIDER_ADDR", "127.0.0.1:0")
        .envs(env.iter().copied())
        .kill_on_drop(true);
    command
}

impl Provider {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(env: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("provider-").expect("a temporary folder can be made");
        let log: PathBuf = folder.path().join("stderr.log");
        let (child, url, _) = launch(&mut command(env), &log).await;
        Self {
            child,
            url,
            client: reqwest::Client::new(),
            _folder: folder,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.client.request(method, url).timeout(PATIENCE)
    }

    fn charge(&self, key: &str, body: &Value) -> RequestBuilder {
        let request = self.request(Method::POST, "/charges").json(body);
        request.header("idempotency-key", key)
    }

    /// How it fails from now on.
    pub(crate) async fn turn(&self, knobs: &str) {
        let request = self.request(Method::PUT, &format!("/knobs?{knobs}"));
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    /// All charges.
    pub(crate) async fn ledger(&self) -> Vec<Value> {
        let response = self.request(Method::GET, "/ledger").send().await.unwrap();
        items(&answer(response, 200).await).clone()
    }

    pub(crate) fn signal(&self, signal: &str) {
        send_signal(&self.child, signal);
    }
}

async fn answer(response: Response, status: u16) -> Value {
    assert_eq!(response.status().as_u16(), status);
    response.json().await.unwrap()
}

fn order(amount_cents: i64) -> Value {
    json!({"reference": "order 1", "amount_cents": amount_cents})
}

#[tokio::test]
async fn a_key_is_charged_once_whatever_happens() {
    let provider = Provider::start().await;
    let first = provider.charge("a", &order(250)).send().await.unwrap();
    let first = answer(first, 201).await;
    assert_eq!(first["status"], "captured");
    assert_eq!(
        (&first["reference"], &first["amount_cents"]),
        (&json!("order 1"), &json!(250))
    );
    assert_eq!(first.as_object().unwrap().len(), 4);
    let again = provider.charge("a", &order(250)).send().await.unwrap();
    assert_eq!(answer(again, 201).await, first);
    let other = provider.charge("a", &order(251)).send().await.unwrap();
    answer(other, 422).await;
    let declined = provider.charge("b", &order(113)).send().await.unwrap();
    assert_eq!(answer(declined, 201).await["status"], "declined");

    // Slow enough that all are there before the first is charged.
    provider.turn("latency_ms=300").await;
    let charges = (0..20).map(|_| provider.charge("c", &order(1)).send());
    let mut ids = Vec::new();
    for response in join_all(charges).await {
        ids.push(answer(response.unwrap(), 201).await["id"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let ledger = provider.ledger().await;
    let keys: Vec<_> = ledger.iter().map(|charge| &charge["key"]).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    assert_eq!(
        (&ledger[0]["id"], &ledger[2]["id"]),
        (&first["id"], &ids[0])
    );
}

#[tokio::test]
async fn knobs_say_how_it_fails() {
    let provider = Provider::start_with(&[("FAKE_PROVIDER_FAIL_RATE", "1")]).await;
    let send = async |key: &str, query: &str| {
        let mut request = provider.charge(key, &order(1)).build().unwrap();
        request.url_mut().set_query(Some(query));
        provider.client.execute(request).await
    };
    answer(send("a", "").await.unwrap(), 500).await;
    assert!(provider.ledger().await.is_empty());
    // The query is for one request.
    answer(send("a", "fail_rate=0").await.unwrap(), 201).await;
    answer(send("a", "").await.unwrap(), 500).await;
    provider.turn("").await;
    answer(send("a", "").await.unwrap(), 201).await;

    let dropped = send("b", "drop_after_charge_rate=1").await.unwrap_err();
    assert!(dropped.is_request() && !dropped.is_timeout(), "{dropped:?}");
    assert_eq!(provider.ledger().await.len(), 2);
    answer(send("b", "").await.unwrap(), 201).await;
    assert_eq!(provider.ledger().await.len(), 2);

    let mut hangs = provider.charge("c", &order(1)).build().unwrap();
    hangs.url_mut().set_query(Some("hang_rate=1"));
    let mut hangs = Box::pin(provider.client.execute(hangs));
    tokio::select! {
        _ = &mut hangs => panic!("it answers"),
        // Which is later than the one before it.
        ledger = async {
            answer(send("d", "latency_ms=500").await.unwrap(), 201).await;
            provider.ledger().await
        } => assert_eq!(ledger.len(), 3),
    }
    drop(hangs);

    // Who leaves is charged all the same.
    provider.turn("latency_ms=2000").await;
    let leaves = provider.charge("e", &order(1));
    let left = leaves.timeout(Duration::from_secs(1)).send();
    assert!(left.await.unwrap_err().is_timeout());
    let charged = async { while provider.ledger().await.len() < 4 {} };
    timeout(PATIENCE, charged).await.unwrap();
}

#[tokio::test]
async fn what_is_no_charge() {
    let provider = Provider::start().await;
    let post = || provider.request(Method::POST, "/charges");
    let bad = [
        (post().json(&order(1)), 400),
        (provider.charge("", &order(1)), 400),
        (provider.charge(&"k".repeat(256), &order(1)), 400),
        (
            provider
                .charge("a", &order(1))
                .header("idempotency-key", "b"),
            400,
        ),
        (
            post()
                .header("idempotency-key", b"\xff".as_slice())
                .json(&order(1)),
            400,
        ),
        (provider.charge("a", &order(-1)), 422),
        (
            provider.charge("a", &json!({"reference": "", "amount_cents": 1})),
            422,
        ),
        (provider.charge("a", &json!({"reference": "r"})), 422),
        (
            provider.charge("a", &json!({"reference": "r", "amount_cents": 1, "x": 1})),
            422,
        ),
        (
            provider.charge(
                "a",
                &json!({"reference": "r".repeat(20_000), "amount_cents": 1}),
            ),
            413,
        ),
        (post().header("idempotency-key", "a").body("{}"), 415),
        (
            provider.request(Method::PUT, "/knobs?fail_rate=1.5&latency=1"),
            422,
        ),
        (provider.request(Method::GET, "/charges"), 405),
        (provider.request(Method::GET, "/"), 404),
    ];
    for (request, status) in bad {
        let response = request.send().await.unwrap();
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        answer(response, status).await;
    }
    let knobs = provider.request(Method::POST, "/charges?fail_rate=2&hang=1");
    let knobs = knobs.header("idempotency-key", "a").json(&order(1));
    let problem = answer(knobs.send().await.unwrap(), 422).await;
    assert_eq!(problem["errors"][0]["parameter"], "fail_rate");
    assert_eq!(
        problem["errors"][0]["detail"],
        "is not a number from 0 to 1"
    );
    assert_eq!(problem["errors"][1]["parameter"], "hang");
    assert!(provider.ledger().await.is_empty());
}

#[tokio::test]
async fn its_command_line_and_environment() {
    for argument in ["--help", "-h"] {
        let help = output(command(&[]).arg(argument)).await;
        assert_eq!(help.status.code(), Some(0));
        for part in [
            "POST /charges",
            "13 cents",
            "FAKE_PROVIDER_ADDR",
            "FAKE_PROVIDER_SEED",
        ] {
            assert!(stdout(&help).contains(part), "{part}");
        }
    }
    let version = output(command(&[]).arg("--version")).await;
    assert_eq!(
        stdout(&version),
        format!("fake-provider {}\n", env!("CARGO_PKG_VERSION"))
    );
    let unknown = output(command(&[]).arg("--serve")).await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("fake-provider --help"));

    let bad = output(&mut command(&[
        ("FAKE_PROVIDER_ADDR", "localhost"),
        ("FAKE_PROVIDER_SEED", "x"),
        ("FAKE_PROVIDER_HANG_RATE", "1.1"),
        ("FAKE_PROVIDER_LATENCY_MS", ""),
    ]))
    .await;
    assert_eq!((bad.status.code(), stdout(&bad)), (Some(1), String::new()));
    assert_eq!(
        stderr(&bad),
        "fake-provider: FAKE_PROVIDER_ADDR is not an IP address and a port, such as 127.0.0.1:3001\n\
         fake-provider: FAKE_PROVIDER_SEED is not a whole number from 0 to 18446744073709551615\n\
         fake-provider: FAKE_PROVIDER_LATENCY_MS is empty: give it a value or unset it\n\
         fake-provider: FAKE_PROVIDER_HANG_RATE is not a number from 0 to 1\n"
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let refused = output(&mut command(&[("FAKE_PROVIDER_ADDR", &addr)])).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains(&format!("cannot listen on {addr}: ")));
}

#[tokio::test]
async fn a_signal_ends_it_also_while_it_hangs() {
    for signal in ["TERM", "INT"] {
        let mut provider = Provider::start_with(&[("FAKE_PROVIDER_HANG_RATE", "1")]).await;
        let hangs = provider.charge("a", &order(1)).send();
        let hangs = tokio::spawn(hangs);
        provider.ledger().await;
        provider.signal(signal);
        let ended = timeout(PATIENCE, provider.child.wait()).await;
        assert_eq!(ended.unwrap().unwrap().code(), Some(0));
        assert!(hangs.await.unwrap().is_err());
    }
}
