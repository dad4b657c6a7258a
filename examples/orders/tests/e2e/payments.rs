use futures_util::future::join_all;
use purlin_testkit::TestRedis;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fake_provider::Provider,
    harness::{Answer, Shop, Store, pairs, text},
    orders::as_customer,
    products::{assert_is_uuid_v7, assert_works},
};

on_both_databases! {
    a_payment_makes_the_order_paid
    a_payment_that_is_declined_leaves_it_pending
    what_cannot_be_paid_is_not_charged
    input_that_is_none
    a_key_names_one_payment
    of_concurrent_payments_one_is_made
    concurrent_payments_with_one_key_are_one
    the_built_in_provider_is_asked_over_http
    keys_of_payments_may_be_in_redis
}

/// A shop that uses this provider.
pub(crate) async fn shop_of(store: &Store, provider: &Provider) -> Shop {
    store
        .start_with(&[("ORDERS_PAYMENT_URL", &provider.url)])
        .await
}

/// The path of a new order with this total.
pub(crate) async fn order(shop: &Shop, total_cents: i64) -> String {
    let product = json!({"name": "Mug", "price_cents": total_cents, "stock": 1});
    let product = shop.post("/v1/products", &product).await.expect(201);
    let body = json!({"items": [{"product_id": product["id"], "quantity": 1}]});
    let order = shop.post("/v1/orders", &body).await.expect(201);
    format!("/v1/orders/{}", text(&order["id"]))
}

pub(crate) async fn pay(shop: &Shop, order: &str, amount_cents: i64) -> Answer {
    let body = json!({"amount_cents": amount_cents});
    shop.post(&format!("{order}/payments"), &body).await
}

pub(crate) async fn pay_with_key(shop: &Shop, order: &str, amount: i64, key: &str) -> Answer {
    let request = shop.request(Method::POST, &format!("{order}/payments"));
    let request = request.header("idempotency-key", key);
    Answer::of(request.json(&json!({"amount_cents": amount}))).await
}

pub(crate) async fn status(shop: &Shop, order: &str) -> String {
    text(&shop.get(order).await.expect(200)["status"])
}

async fn a_payment_makes_the_order_paid(store: Store) {
    let provider = Provider::start().await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 1250).await;
    let id = order.strip_prefix("/v1/orders/").unwrap();
    let payment = pay(&shop, &order, 1250).await.expect(201);
    assert_is_uuid_v7(&text(&payment["id"]));
    let ledger = provider.ledger().await;
    let [charge] = &ledger[..] else {
        panic!("{ledger:?}")
    };
    let expected = json!({
        "id": payment["id"], "order_id": id, "amount_cents": 1250, "status": "captured",
        "provider_ref": charge["id"],
    });
    assert_eq!(payment, expected);
    assert_eq!(
        (&charge["reference"], &charge["amount_cents"]),
        (&json!(id), &json!(1250))
    );
    assert_eq!(charge["status"], "captured");
    assert_eq!(status(&shop, &order).await, "paid");

    let again = pay(&shop, &order, 1250).await;
    let problem = again.problem(409, "order-not-pending");
    assert_eq!(problem["order_status"], "paid");
    let cancel = shop.act(&format!("{order}/cancel")).await;
    cancel.problem(409, "order-not-pending");
    assert_eq!(provider.ledger().await, ledger);
    // An order may cost nothing.
    let gift = self::order(&shop, 0).await;
    let payment = pay(&shop, &gift, 0).await.expect(201);
    assert_eq!(payment["status"], "captured");
}

async fn a_payment_that_is_declined_leaves_it_pending(store: Store) {
    let provider = Provider::start().await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 1313).await;
    let first = pay_with_key(&shop, &order, 1313, "a").await.expect(201);
    assert_eq!(first["status"], "declined");
    assert_eq!(first["provider_ref"], provider.ledger().await[0]["id"]);
    assert_eq!(status(&shop, &order).await, "pending");
    // Another try is another charge, the same try is the same.
    let second = pay_with_key(&shop, &order, 1313, "b").await.expect(201);
    assert_ne!(second["id"], first["id"]);
    let again = pay_with_key(&shop, &order, 1313, "a").await.expect(201);
    assert_eq!(again, first);
    assert_eq!(provider.ledger().await.len(), 2);
    let cancelled = shop.act(&format!("{order}/cancel")).await.expect(200);
    assert_eq!(cancelled["status"], "cancelled");
}

async fn what_cannot_be_paid_is_not_charged(store: Store) {
    let provider = Provider::start().await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    let path = format!("{order}/payments");
    let request = shop
        .request(Method::POST, &path)
        .header("x-demo-customer", "other");
    let others = Answer::of(request.json(&json!({"amount_cents": 250}))).await;
    others.problem(404, "order-not-found");
    let unknown = format!("/v1/orders/{}", uuid_of_nothing());
    pay(&shop, &unknown, 250)
        .await
        .problem(404, "order-not-found");
    for amount in [249, 251, 0, -250, i64::MAX, i64::MIN] {
        let refused = pay(&shop, &order, amount).await.violations();
        assert_eq!(
            refused,
            pairs(&[("not_the_total", "#/amount_cents")]),
            "{amount}"
        );
    }
    shop.act(&format!("{order}/cancel")).await.expect(200);
    for amount in [250, 1] {
        let refused = pay(&shop, &order, amount).await;
        let problem = refused.problem(409, "order-not-pending");
        assert_eq!(problem["order_status"], "cancelled");
    }
    assert!(provider.ledger().await.is_empty());
    let own = as_customer(&shop, Method::GET, &order, "demo").await;
    assert_eq!(own.expect(200)["status"], "cancelled");
}

fn uuid_of_nothing() -> &'static str {
    "0190f3c2-7b1e-7c3a-9d52-000000000000"
}

async fn input_that_is_none(store: Store) {
    let provider = Provider::start().await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 250).await;
    let path = format!("{order}/payments");
    let good = json!({"amount_cents": 250});
    for (body, expected) in [
        (json!({}), ("missing", "#/amount_cents")),
        (
            json!({"amount_cents": 250, "amount": 1}),
            ("unknown", "#/amount"),
        ),
        (json!({"amount_cents": "250"}), ("type", "#/amount_cents")),
        (json!({"amount_cents": 250.5}), ("type", "#/amount_cents")),
        (json!({"amount_cents": null}), ("type", "#/amount_cents")),
        (
            json!({"amount_cents": u64::MAX}),
            ("range", "#/amount_cents"),
        ),
    ] {
        let refused = shop.post(&path, &body).await.violations();
        assert_eq!(refused, pairs(&[expected]), "{body}");
    }
    let post = || shop.request(Method::POST, &path);
    for body in ["", "{", "nonsense"] {
        let request = post().header("content-type", "application/json").body(body);
        Answer::of(request).await.problem(400, "");
    }
    Answer::of(post().body(good.to_string()))
        .await
        .problem(415, "");
    let over = post().header("content-type", "application/json");
    Answer::of(over.body(vec![b' '; 2 * 1024 * 1024]))
        .await
        .problem(413, "");
    let get = shop.get(&path).await;
    assert_eq!(get.header("allow"), "POST");
    get.problem(405, "");
    for id in ["x", "0190f3c27b1e7c3a9d52000000000000"] {
        let none = shop.post(&format!("/v1/orders/{id}/payments"), &good).await;
        none.problem(404, "");
    }
    let long = "k".repeat(10_000);
    for keys in [&[""][..], &[&long], &["ä"], &["a", "b"]] {
        let mut request = post().json(&good);
        for key in keys {
            request = request.header("idempotency-key", key.as_bytes());
        }
        let answer = Answer::of(request).await;
        answer.problem(400, "idempotency-key-invalid");
    }
    assert!(provider.ledger().await.is_empty());
    assert_eq!(status(&shop, &order).await, "pending");
    assert_works(&shop).await;
}

async fn a_key_names_one_payment(store: Store) {
    let provider = Provider::start().await;
    let shop = shop_of(&store, &provider).await;
    let (one, two) = (order(&shop, 100).await, order(&shop, 200).await);
    let first = pay_with_key(&shop, &one, 100, "k").await.expect(201);
    let again = pay_with_key(&shop, &one, 100, "k").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), first);
    // Not with another amount, and not for another order.
    for (order, amount) in [(&one, 101), (&two, 200)] {
        let refused = pay_with_key(&shop, order, amount, "k").await;
        refused.problem(422, "idempotency-key-reused");
    }
    assert_eq!(provider.ledger().await.len(), 1);
    assert_eq!(status(&shop, &two).await, "pending");
}

/// All are under way before the provider goes on.
async fn pay_at_once(
    shop: &Shop,
    provider: &Provider,
    order: &str,
    keys: &[String],
) -> Vec<Answer> {
    provider.signal("STOP");
    let payments = keys.iter().map(|key| pay_with_key(shop, order, 500, key));
    let (answers, ()) = tokio::join!(join_all(payments), async {
        // One round trip of each of them would be enough; readers wait for nobody.
        for _ in 0..10 {
            assert_eq!(status(shop, order).await, "pending");
        }
        provider.signal("CONT");
    });
    answers
}

async fn of_concurrent_payments_one_is_made(store: Store) {
    let provider = Provider::start().await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 500).await;
    let keys: Vec<_> = (0..16).map(|n| format!("key-{n}")).collect();
    let mut made: Vec<Value> = Vec::new();
    for answer in pay_at_once(&shop, &provider, &order, &keys).await {
        if answer.status == 201 {
            made.push(answer.expect(201));
        } else {
            let problem = answer.problem(409, "order-not-pending");
            assert_eq!(problem["order_status"], "paid");
        }
    }
    assert_eq!(made.len(), 1, "{made:?}");
    let ledger = provider.ledger().await;
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!(made[0]["provider_ref"], ledger[0]["id"]);
    assert_eq!(status(&shop, &order).await, "paid");
    // Who has made it is told so again, and nobody else.
    let mut again = 0;
    for key in &keys {
        let answer = pay_with_key(&shop, &order, 500, key).await;
        if answer.status == 201 {
            assert_eq!(answer.body, made[0]);
            again += 1;
        }
    }
    assert_eq!(again, 1);
    assert_eq!(provider.ledger().await.len(), 1);
}

async fn concurrent_payments_with_one_key_are_one(store: Store) {
    let provider = Provider::start().await;
    let shop = shop_of(&store, &provider).await;
    let order = order(&shop, 500).await;
    let keys = vec!["same".to_owned(); 16];
    let mut payments = Vec::new();
    for answer in pay_at_once(&shop, &provider, &order, &keys).await {
        if answer.status == 201 {
            payments.push(answer.expect(201));
        } else {
            answer.problem(409, "idempotency-in-flight");
        }
    }
    payments.dedup();
    assert_eq!(payments.len(), 1, "{payments:?}");
    assert_eq!(provider.ledger().await.len(), 1);
    let again = pay_with_key(&shop, &order, 500, "same").await.expect(201);
    assert_eq!(again, payments[0]);
}

async fn the_built_in_provider_is_asked_over_http(store: Store) {
    let mut shop = store.start_with(&[("FAKE_PROVIDER_FAIL_RATE", "1")]).await;
    let banner = shop.banner().await;
    let url = banner
        .iter()
        .find_map(|line| line.strip_prefix("payments go to "));
    let url = url.expect("it says where");
    let order = order(&shop, 250).await;
    pay(&shop, &order, 250)
        .await
        .problem(502, "payment-provider-failed");
    let client = reqwest::Client::new();
    let knobs = client.put(format!("{url}/knobs")).send().await.unwrap();
    assert_eq!(knobs.status(), 200);
    let payment = pay(&shop, &order, 250).await.expect(201);
    let ledger = client.get(format!("{url}/ledger")).send().await.unwrap();
    let ledger: Value = ledger.json().await.unwrap();
    assert_eq!(ledger["items"].as_array().unwrap().len(), 1);
    assert_eq!(ledger["items"][0]["id"], payment["provider_ref"]);
}

async fn keys_of_payments_may_be_in_redis(store: Store) {
    let Some(redis) = TestRedis::create() else {
        return;
    };
    let provider = Provider::start().await;
    let env = [
        ("ORDERS_PAYMENT_URL", &*provider.url),
        ("REDIS_URL", redis.url()),
    ];
    let mut shop = store.start_with(&env).await;
    let order = order(&shop, 100).await;
    // The server of the tests is shared.
    let key = order.replace('/', "-");
    let first = pay_with_key(&shop, &order, 100, &key).await.expect(201);
    shop.signal("KILL");
    shop.wait().await;
    let shop = store.start_with(&env).await;
    let again = pay_with_key(&shop, &order, 100, &key).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), first);
    assert_eq!(provider.ledger().await.len(), 1);
}
