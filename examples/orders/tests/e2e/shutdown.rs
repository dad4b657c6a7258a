use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    harness::{PATIENCE, Store, text},
    products::items,
};

const BODY: &str = "{\"name\": \"Mug\", \"price_cents\": 1, \"stock\": 1}";

on_both_databases! {
    a_signal_ends_it_at_once_when_nothing_is_to_be_done
    idle_connections_do_not_hold_it
    a_head_that_is_not_finished_is_left
    a_request_under_way_is_finished
    a_request_that_hangs_is_left
    a_second_signal_does_not_wait
    what_was_acknowledged_survives_a_kill
}

/// Sends all of a request but the last byte of its body, and waits until it is being read.
async fn begin(stream: &mut TcpStream) {
    let head = format!(
        "POST /v1/products HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        BODY.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The invitation comes when the handler begins to read.
    let mut invitation = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut invitation))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&invitation, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
        .write_all(&BODY.as_bytes()[..BODY.len() - 1])
        .await
        .unwrap();
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}

async fn a_signal_ends_it_at_once_when_nothing_is_to_be_done(store: Store) {
    for signal in ["TERM", "INT"] {
        let mut shop = store.start().await;
        shop.product(1).await;
        let begun = Instant::now();
        shop.signal(signal);
        assert_eq!(shop.wait().await.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

async fn idle_connections_do_not_hold_it(store: Store) {
    let mut shop = store.start().await;
    let mut used = shop.connect().await;
    used.write_all(b"GET /livez HTTP/1.1\r\nhost: shop\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    used.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let _unused = shop.connect().await;
    let begun = Instant::now();
    shop.signal("TERM");
    assert_eq!(shop.wait().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

async fn a_head_that_is_not_finished_is_left(store: Store) {
    let mut shop = store.start().await;
    let mut stream = shop.connect().await;
    stream.write_all(b"GET /li").await.unwrap();
    let begun = Instant::now();
    shop.signal("TERM");
    assert_eq!(shop.wait().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

async fn a_request_under_way_is_finished(store: Store) {
    let mut shop = store.start().await;
    let mut stream = shop.connect().await;
    begin(&mut stream).await;
    shop.signal("TERM");
    // It no longer listens, and so has heard the signal.
    let addr = shop.url.strip_prefix("http://").unwrap();
    while TcpStream::connect(addr).await.is_ok() {}
    stream
        .write_all(&BODY.as_bytes()[BODY.len() - 1..])
        .await
        .unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(shop.wait().await.code(), Some(0));
    let shop = store.start().await;
    let list = shop.get("/v1/products").await.expect(200);
    assert_eq!(items(&list).len(), 1);
}

async fn a_request_that_hangs_is_left(store: Store) {
    let mut shop = store.start().await;
    let mut stream = shop.connect().await;
    begin(&mut stream).await;
    let begun = Instant::now();
    shop.signal("TERM");
    assert_eq!(shop.wait().await.code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

async fn a_second_signal_does_not_wait(store: Store) {
    let mut shop = store.start().await;
    let mut stream = shop.connect().await;
    begin(&mut stream).await;
    let begun = Instant::now();
    shop.signal("INT");
    let addr = shop.url.strip_prefix("http://").unwrap();
    while TcpStream::connect(addr).await.is_ok() {}
    shop.signal("INT");
    assert_eq!(shop.wait().await.code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
}

async fn what_was_acknowledged_survives_a_kill(store: Store) {
    let mut shop = store.start().await;
    let mug = shop.product(1_000_000).await;
    let body = json!({"items": [{"product_id": mug, "quantity": 1}]});
    // Until the first connection breaks, orders are under way all the time.
    let place = async |killer: bool| {
        let mut acknowledged = Vec::new();
        loop {
            let request = shop
                .request(reqwest::Method::POST, "/v1/orders")
                .json(&body);
            let Ok(answer) = request.send().await else {
                break;
            };
            assert_eq!(answer.status(), 201);
            let Ok(order) = answer.json::<Value>().await else {
                break;
            };
            acknowledged.push(order);
            if killer && acknowledged.len() == 10 {
                shop.signal("KILL");
            }
            // All of them fit into one list.
            if acknowledged.len() == 20 {
                break;
            }
        }
        acknowledged
    };
    let orders = join_all((0..4).map(|n| place(n == 0))).await.concat();
    assert!(orders.len() >= 10);
    assert!(!shop.wait().await.success());

    let shop = store.start().await;
    for order in &orders {
        let path = format!("/v1/orders/{}", text(&order["id"]));
        assert_eq!(&shop.get(&path).await.expect(200), order);
    }
    // Orders and stock go together, also those that nobody was told of.
    let list = shop.get("/v1/orders").await.expect(200);
    let placed = i64::try_from(items(&list).len()).unwrap();
    assert!(placed < 100, "the list has all of them");
    assert_eq!(shop.stock(&mug).await, 1_000_000 - placed);
}
