use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Shop, Store, text},
    products::items,
};

on_both_databases! {
    an_order_that_is_sent_twice_is_placed_once
    of_many_at_once_one_is_placed
    a_key_belongs_to_its_customer_and_to_its_request
    a_refusal_takes_no_stock_and_is_repeated
    a_key_that_is_none_is_refused
    what_was_answered_before_a_restart_is_answered_after_it
}

fn place(shop: &Shop, key: &str, product: &str, quantity: i64) -> RequestBuilder {
    let body = json!({"items": [{"product_id": product, "quantity": quantity}]});
    let request = shop.request(Method::POST, "/v1/orders").json(&body);
    request.header("idempotency-key", key)
}

async fn orders(shop: &Shop) -> Vec<Value> {
    items(&shop.get("/v1/orders").await.expect(200)).clone()
}

async fn an_order_that_is_sent_twice_is_placed_once(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(10).await;
    let first = Answer::of(place(&shop, "k-1", &mug, 2)).await;
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let again = Answer::of(place(&shop, "\"k-1\"", &mug, 2)).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.expect(201), first.expect(201));
    assert_eq!(shop.stock(&mug).await, 8);
    assert_eq!(orders(&shop).await.len(), 1);
}

async fn of_many_at_once_one_is_placed(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(100).await;
    let answers = join_all((0..50).map(|_| Answer::of(place(&shop, "storm", &mug, 1)))).await;
    let mut placed = Vec::new();
    for answer in answers {
        if answer.status == 409 {
            assert!(answer.headers.contains_key("retry-after"));
            answer.problem(409, "idempotency-in-flight");
        } else {
            placed.push(text(&answer.expect(201)["id"]));
        }
    }
    placed.dedup();
    assert_eq!(placed.len(), 1);
    assert_eq!(shop.stock(&mug).await, 99);
}

async fn a_key_belongs_to_its_customer_and_to_its_request(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(10).await;
    Answer::of(place(&shop, "k", &mug, 1)).await.expect(201);
    let other = Answer::of(place(&shop, "k", &mug, 2)).await;
    other.problem(422, "idempotency-key-reused");
    let theirs = place(&shop, "k", &mug, 2).header("x-demo-customer", "somebody");
    Answer::of(theirs).await.expect(201);
    assert_eq!(shop.stock(&mug).await, 7);
}

async fn a_refusal_takes_no_stock_and_is_repeated(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(1).await;
    for replayed in [false, true] {
        let answer = Answer::of(place(&shop, "k", &mug, 2)).await;
        assert_eq!(answer.headers.contains_key("idempotent-replayed"), replayed);
        answer.problem(409, "out-of-stock");
    }
    // What never was a valid order is not remembered: the key is still good.
    let broken = place(&shop, "v", &mug, 0);
    Answer::of(broken).await.problem(422, "validation");
    Answer::of(place(&shop, "v", &mug, 1)).await.expect(201);
    assert_eq!(shop.stock(&mug).await, 0);
}

async fn a_key_that_is_none_is_refused(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(10).await;
    for key in ["", "\"open", "two words", &"k".repeat(256)] {
        let answer = Answer::of(place(&shop, key, &mug, 1)).await;
        assert!(answer.header("link").ends_with("rel=\"describedby\""));
        answer.problem(400, "idempotency-key-invalid");
    }
    let two = place(&shop, "a", &mug, 1).header("idempotency-key", "b");
    let answer = Answer::of(two).await;
    answer.problem(400, "idempotency-key-invalid");
    assert_eq!(shop.stock(&mug).await, 10);
}

async fn what_was_answered_before_a_restart_is_answered_after_it(store: Store) {
    let mut shop = store.start().await;
    let mug = shop.product(10).await;
    let first = Answer::of(place(&shop, "k", &mug, 1)).await.expect(201);
    shop.signal("KILL");
    shop.wait().await;
    let shop = store.start().await;
    let again = Answer::of(place(&shop, "k", &mug, 1)).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), first);
    assert_eq!(shop.stock(&mug).await, 9);
}
