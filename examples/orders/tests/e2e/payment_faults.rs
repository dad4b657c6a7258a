//! The payment provider is away, silent or treacherous; the shop stops or is killed while it pays.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use purlin_testkit::FaultProxy;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    fake_provider::Provider,
    harness::{Answer, PATIENCE, Shop, Store, text},
    payments::{order, pay, pay_with_key, shop_of, status},
};

on_both_databases! {
    a_provider_that_is_down
    a_provider_that_fails
    a_provider_that_refuses
    a_refusal_that_was_not_told
    a_provider_that_hangs
    a_provider_that_charges_and_hangs_up
    a_provider_that_charges_too_late
    a_provider_that_answers_nonsense
    a_storm_of_retries_against_a_bad_provider
    an_order_that_is_cancelled_while_it_is_paid
    an_order_that_is_cancelled_after_a_charge_that_was_not_answered
    a_client_that_leaves_while_it_pays
    a_kill_between_the_charge_and_its_record
    a_kill_under_a_key_charges_once
    a_signal_lets_a_payment_finish
    a_signal_does_not_wait_for_a_provider_that_hangs
}

/// The longest that a client waits for a refusal.
const SOON: Duration = Duration::from_secs(8);

/// Status and provider's name of each payment, in the order in which they were begun.
async fn rows(store: &Store) -> Vec<(String, Option<String>)> {
    let sql = "select status, provider_ref from payments order by id";
    if let Some(url) = store.url() {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::query_as(sql)
            .fetch_all(&mut connection)
            .await
            .unwrap()
    } else {
        let options = SqliteConnectOptions::new().filename(store.folder().join("orders.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_as(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await
            .unwrap()
    }
}

async fn forget_answers(store: &Store) {
    let forgotten = if let Some(url) = store.url() {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let sql = "delete from purlin_idempotency_records";
        sqlx::query(sql).execute(&mut connection).await.map(drop)
    } else {
        let options = SqliteConnectOptions::new().filename(store.folder().join("orders.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let sql = "delete from purlin_idempotency";
        sqlx::query(sql).execute(&mut connection).await.map(drop)
    };
    forgotten.unwrap();
}

/// Waits until the shop is about to ask the provider, or has asked it.
async fn until_begun(store: &Store) {
    let begun = async { while rows(store).await.is_empty() {} };
    timeout(PATIENCE, begun).await.expect("a payment is begun");
}

async fn until_charged(provider: &Provider) {
    let charged = async { while provider.ledger().await.is_empty() {} };
    timeout(PATIENCE, charged).await.expect("there is a charge");
}

#[track_caller]
fn refused(answer: Answer, status: u16, slug: &str) {
    assert_eq!(answer.header("retry-after"), "1");
    let problem = answer.problem(status, slug);
    assert_eq!(
        problem.get("detail"),
        None,
        "nothing of the provider is told"
    );
}

/// The order is paid by one charge, which the payment names.
async fn assert_paid_once(shop: &Shop, provider: &Provider, order: &str, payment: &Value) {
    assert_eq!(payment["status"], "captured");
    let ledger = provider.ledger().await;
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!(ledger[0]["id"], payment["provider_ref"]);
    assert_eq!(status(shop, order).await, "paid");
}

async fn a_provider_that_is_down(store: Store) {
    // A port that nobody listens on, once the listener is gone.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap().to_string();
    drop(free);
    let url = format!("http://{addr}");
    let shop = store.start_with(&[("ORDERS_PAYMENT_URL", &url)]).await;
    shop.get("/readyz").await.expect(200);
    let order = order(&shop, 250).await;
    refused(
        pay(&shop, &order, 250).await,
        503,
        "payment-provider-unavailable",
    );
    assert_eq!(status(&shop, &order).await, "pending");
    let provider = Provider::start_with(&[("FAKE_PROVIDER_ADDR", &addr)]).await;
    let payment = pay(&shop, &order, 250).await.expect(201);
    assert_paid_once(&shop, &provider, &order, &payment).await;
    let log = std::fs::read_to_string(store.log()).unwrap();
    assert!(log.contains("no connection"), "the log says why: {log}");
}

async fn a_provider_that_fails(store: Store) {
    let provider = Provider::start_with(&[("FAKE_PROVIDER_FAIL_RATE", "1")]).await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    for _ in 0..3 {
        refused(
            pay(&shop, &order, 250).await,
            502,
            "payment-provider-failed",
        );
    }
    assert_eq!(status(&shop, &order).await, "pending");
    assert_eq!(rows(&store).await, [("started".to_owned(), None)]);
    provider.turn("").await;
    let payment = pay(&shop, &order, 250).await.expect(201);
    assert_paid_once(&shop, &provider, &order, &payment).await;
}

/// Nothing was charged, nothing is open, and the same key is told the same.
async fn a_provider_that_refuses(store: Store) {
    let provider = Provider::start_with(&[("FAKE_PROVIDER_REFUSE_RATE", "1")]).await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    let first = pay_with_key(&shop, &order, 250, "a").await;
    let first = first.problem(402, "payment-refused");
    assert_eq!(rows(&store).await, [("declined".to_owned(), None)]);
    assert_eq!(status(&shop, &order).await, "pending");
    provider.turn("").await;
    let again = pay_with_key(&shop, &order, 250, "a").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    let again = again.problem(402, "payment-refused");
    assert_eq!(again["payment_id"], first["payment_id"]);
    assert!(provider.ledger().await.is_empty());
    let payment = pay_with_key(&shop, &order, 250, "b").await.expect(201);
    assert_ne!(payment["id"], first["payment_id"]);
    assert_paid_once(&shop, &provider, &order, &payment).await;
    let other = self::order(&shop, 250).await;
    provider.turn("refuse_rate=1").await;
    // Without a key each is a payment of its own; 422 says the same as 402.
    let url = parrot(http("422 Unprocessable Content", "{}")).await;
    let stubborn = store.start_with(&[("ORDERS_PAYMENT_URL", &url)]).await;
    for shop in [&shop, &stubborn] {
        pay(shop, &other, 250).await.problem(402, "payment-refused");
    }
    let declined = rows(&store).await;
    assert_eq!(declined.iter().filter(|row| row.0 == "declined").count(), 3);
}

/// The shop dies after the refusal is written and before its answer is kept.
async fn a_refusal_that_was_not_told(store: Store) {
    let provider = Provider::start_with(&[("FAKE_PROVIDER_REFUSE_RATE", "1")]).await;
    let mut shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    let first = pay_with_key(&shop, &order, 250, "a").await;
    let first = first.problem(402, "payment-refused");
    shop.signal("KILL");
    shop.wait().await;
    forget_answers(&store).await;
    let shop = shop_of(&store, &provider).await;
    provider.turn("").await;
    let again = pay_with_key(&shop, &order, 250, "a").await;
    let again = again.problem(402, "payment-refused");
    assert_eq!(again["payment_id"], first["payment_id"]);
    assert!(provider.ledger().await.is_empty());
    assert_eq!(rows(&store).await, [("declined".to_owned(), None)]);
}

async fn a_provider_that_hangs(store: Store) {
    let provider = Provider::start_with(&[("FAKE_PROVIDER_HANG_RATE", "1")]).await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    let begun = Instant::now();
    let (first, second) = tokio::join!(
        pay_with_key(&shop, &order, 250, "a"),
        pay_with_key(&shop, &order, 250, "b")
    );
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    refused(first, 504, "payment-provider-timeout");
    refused(second, 504, "payment-provider-timeout");
    assert_eq!(status(&shop, &order).await, "pending");
    provider.turn("").await;
    let payment = pay_with_key(&shop, &order, 250, "a").await.expect(201);
    assert_paid_once(&shop, &provider, &order, &payment).await;
}

async fn a_provider_that_charges_and_hangs_up(store: Store) {
    let provider = Provider::start_with(&[("FAKE_PROVIDER_DROP_AFTER_CHARGE_RATE", "1")]).await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    for key in ["a", "a", "b"] {
        let answer = pay_with_key(&shop, &order, 250, key).await;
        refused(answer, 502, "payment-provider-failed");
    }
    assert_eq!(provider.ledger().await.len(), 1);
    assert_eq!(status(&shop, &order).await, "pending");
    provider.turn("").await;
    // Whoever comes finishes it, with whatever key.
    let payment = pay_with_key(&shop, &order, 250, "c").await.expect(201);
    assert_paid_once(&shop, &provider, &order, &payment).await;
}

async fn a_provider_that_charges_too_late(store: Store) {
    let provider = Provider::start_with(&[("FAKE_PROVIDER_LATENCY_MS", "6000")]).await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    refused(
        pay(&shop, &order, 250).await,
        504,
        "payment-provider-timeout",
    );
    until_charged(&provider).await;
    assert_eq!(status(&shop, &order).await, "pending");
    provider.turn("").await;
    let payment = pay(&shop, &order, 250).await.expect(201);
    assert_paid_once(&shop, &provider, &order, &payment).await;
}

/// Answers every request with the same bytes.
async fn parrot(answer: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

fn http(status: &str, body: &str) -> String {
    let bytes = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n{body}")
}

async fn a_provider_that_answers_nonsense(store: Store) {
    let other = json!({"id": "x", "reference": "other", "amount_cents": 250, "status": "captured"});
    for answer in [
        http("404 Not Found", "{}"),
        http("302 Found\r\nlocation: http://127.0.0.1:1/", ""),
        http("201 Created", "{}"),
        http("201 Created", "captured"),
        http("201 Created", &other.to_string()),
        http("201 Created", &" ".repeat(1024 * 1024)),
        "HTTP/1.1 201 Created\r\ncontent-length: 99\r\n\r\n{}".to_owned(),
        "220 mail.example.com\r\n".to_owned(),
    ] {
        let url = parrot(answer.clone()).await;
        let shop = store.start_with(&[("ORDERS_PAYMENT_URL", &url)]).await;
        let order = order(&shop, 250).await;
        refused(
            pay(&shop, &order, 250).await,
            502,
            "payment-provider-failed",
        );
        assert_eq!(status(&shop, &order).await, "pending", "{answer:.80}");
    }
}

async fn a_storm_of_retries_against_a_bad_provider(store: Store) {
    let provider = Provider::start_with(&[
        ("FAKE_PROVIDER_FAIL_RATE", "0.3"),
        ("FAKE_PROVIDER_DROP_AFTER_CHARGE_RATE", "0.4"),
        ("FAKE_PROVIDER_SEED", "7"),
    ])
    .await;
    let shop = shop_of(&store, &provider).await;
    let mut orders = Vec::new();
    for _ in 0..8 {
        orders.push(order(&shop, 250).await);
    }
    // Each order is paid by three who know nothing of each other, until they are told that it is.
    let pay_until_paid = async |order: &str| loop {
        let answer = pay(&shop, order, 250).await;
        match answer.status.as_u16() {
            201 => return Some(answer.body),
            409 => return None,
            502 | 503 => {}
            _ => panic!("{answer:?}"),
        }
    };
    for order in &orders {
        let answers = join_all((0..3).map(|_| pay_until_paid(order))).await;
        let made: Vec<_> = answers.into_iter().flatten().collect();
        assert_eq!(made.len(), 1, "{made:?}");
        assert_eq!(status(&shop, order).await, "paid");
    }
    let ledger = provider.ledger().await;
    let mut charged: Vec<_> = ledger
        .iter()
        .map(|charge| text(&charge["reference"]))
        .collect();
    charged.sort();
    charged.dedup();
    assert_eq!((ledger.len(), charged.len()), (8, 8), "{ledger:?}");
}

async fn an_order_that_is_cancelled_while_it_is_paid(store: Store) {
    let provider = Provider::start().await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    provider.signal("STOP");
    let (answer, ()) = tokio::join!(pay_with_key(&shop, &order, 250, "a"), async {
        until_begun(&store).await;
        shop.act(&format!("{order}/cancel")).await.expect(200);
        provider.signal("CONT");
    });
    let problem = answer.problem(409, "refund-due");
    let ledger = provider.ledger().await;
    assert_eq!(ledger.len(), 1);
    assert_eq!(problem["provider_ref"], ledger[0]["id"]);
    assert_eq!(status(&shop, &order).await, "cancelled");
    let kept = ("refund_due".to_owned(), Some(text(&ledger[0]["id"])));
    assert_eq!(rows(&store).await, [kept]);
    let log = std::fs::read_to_string(store.log()).unwrap();
    assert!(log.contains("to be refunded"), "{log}");
    let again = pay_with_key(&shop, &order, 250, "a").await;
    let again = again.problem(409, "refund-due");
    assert_eq!(again["payment_id"], problem["payment_id"]);
    let other = pay_with_key(&shop, &order, 250, "b").await;
    other.problem(409, "order-not-pending");
    assert_eq!(provider.ledger().await.len(), 1);
}

async fn an_order_that_is_cancelled_after_a_charge_that_was_not_answered(store: Store) {
    let provider = Provider::start_with(&[("FAKE_PROVIDER_DROP_AFTER_CHARGE_RATE", "1")]).await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    refused(
        pay(&shop, &order, 250).await,
        502,
        "payment-provider-failed",
    );
    shop.act(&format!("{order}/cancel")).await.expect(200);
    provider.turn("").await;
    // To ask again might charge a cancelled order. That it is not known is kept, and logged.
    pay(&shop, &order, 250)
        .await
        .problem(409, "order-not-pending");
    assert_eq!(provider.ledger().await.len(), 1);
    assert_eq!(rows(&store).await, [("started".to_owned(), None)]);
    let log = std::fs::read_to_string(store.log()).unwrap();
    assert!(
        log.contains("it is not known whether it was charged"),
        "{log}"
    );
}

async fn a_client_that_leaves_while_it_pays(store: Store) {
    let provider = Provider::start().await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    provider.signal("STOP");
    tokio::select! {
        _ = pay(&shop, &order, 250) => panic!("the provider stands still"),
        () = until_begun(&store) => {}
    }
    provider.signal("CONT");
    let payment = pay(&shop, &order, 250).await;
    // Whether the first one was finished without its client is not said.
    if payment.status == 201 {
        assert_paid_once(&shop, &provider, &order, &payment.body).await;
    } else {
        payment.problem(409, "order-not-pending");
        assert_eq!(status(&shop, &order).await, "paid");
    }
    assert_eq!(provider.ledger().await.len(), 1);
}

/// The lease of the killed process ends by itself; whoever retries until then is told to wait.
async fn a_kill_under_a_key_charges_once(store: Store) {
    let provider = Provider::start().await;
    let proxy = FaultProxy::before(&provider.url).await;
    let url = proxy.url(&provider.url);
    let mut shop = store.start_with(&[("ORDERS_PAYMENT_URL", &url)]).await;
    let order = order(&shop, 250).await;
    proxy.hold_replies();
    let path = format!("{order}/payments");
    let request = shop.request(reqwest::Method::POST, &path);
    let request = request.json(&json!({"amount_cents": 250}));
    let client = tokio::spawn(request.header("idempotency-key", "k").send());
    proxy.held().await;
    shop.signal("KILL");
    assert!(!shop.wait().await.success());
    assert!(client.await.unwrap().is_err());

    let shop = shop_of(&store, &provider).await;
    let begun = Instant::now();
    let payment = loop {
        let answer = pay_with_key(&shop, &order, 250, "k").await;
        if answer.status == 201 {
            assert!(!answer.headers.contains_key("idempotent-replayed"));
            break answer.expect(201);
        }
        answer.problem(409, "idempotency-in-flight");
        assert!(begun.elapsed() < 4 * PATIENCE, "the lease does not end");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_paid_once(&shop, &provider, &order, &payment).await;
    let again = pay_with_key(&shop, &order, 250, "k").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), payment);
}

async fn a_kill_between_the_charge_and_its_record(store: Store) {
    let provider = Provider::start().await;
    let proxy = FaultProxy::before(&provider.url).await;
    let url = proxy.url(&provider.url);
    let mut shop = store.start_with(&[("ORDERS_PAYMENT_URL", &url)]).await;
    let order = order(&shop, 250).await;
    proxy.hold_replies();
    let path = format!("{order}/payments");
    let request = shop.request(reqwest::Method::POST, &path);
    let request = request.json(&json!({"amount_cents": 250}));
    let client = tokio::spawn(request.send());
    proxy.held().await;
    shop.signal("KILL");
    assert!(!shop.wait().await.success());
    assert!(client.await.unwrap().is_err());
    assert_eq!(provider.ledger().await.len(), 1);
    let shop = shop_of(&store, &provider).await;
    assert_eq!(status(&shop, &order).await, "pending");
    let payment = pay(&shop, &order, 250).await.expect(201);
    assert_paid_once(&shop, &provider, &order, &payment).await;
}

async fn a_signal_lets_a_payment_finish(store: Store) {
    let provider = Provider::start().await;
    let mut shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    provider.signal("STOP");
    let (payment, ()) = tokio::join!(pay(&shop, &order, 250), async {
        until_begun(&store).await;
        shop.signal("TERM");
        // It no longer listens, and so has heard the signal.
        let addr = shop.url.strip_prefix("http://").unwrap();
        while TcpStream::connect(addr).await.is_ok() {}
        provider.signal("CONT");
    });
    let payment = payment.expect(201);
    assert_eq!(shop.wait().await.code(), Some(0));
    let shop = shop_of(&store, &provider).await;
    assert_paid_once(&shop, &provider, &order, &payment).await;
}

async fn a_signal_does_not_wait_for_a_provider_that_hangs(store: Store) {
    let provider = Provider::start_with(&[("FAKE_PROVIDER_HANG_RATE", "1")]).await;
    let mut shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(pay(&shop, &order, 250), async {
        until_begun(&store).await;
        shop.signal("TERM");
    });
    refused(answer, 504, "payment-provider-timeout");
    assert_eq!(shop.wait().await.code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}
