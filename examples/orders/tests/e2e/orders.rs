use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Shop, Store, pairs, text},
    products::{assert_is_time, assert_is_uuid_v7, items},
};

on_both_databases! {
    an_order_is_placed_and_read
    lists_are_newest_first_and_of_one_customer
    orders_of_others_are_not_there
    every_violation_is_named
    products_that_are_unknown_are_named_and_nothing_is_taken
    stock_that_is_short_is_named_and_nothing_is_taken
    a_total_that_does_not_fit_is_refused
    cancelling_gives_the_stock_back_once
    of_concurrent_cancels_one_succeeds
    nothing_is_oversold
    orders_of_the_same_products_in_any_sequence_all_succeed
    the_largest_order_keeps_its_sequence
}

fn order(items: &[(&str, i64)]) -> Value {
    let items: Vec<_> = items
        .iter()
        .map(|(id, quantity)| json!({"product_id": id, "quantity": quantity}))
        .collect();
    json!({"items": items})
}

pub(crate) async fn as_customer(shop: &Shop, method: Method, path: &str, name: &str) -> Answer {
    Answer::of(shop.request(method, path).header("x-demo-customer", name)).await
}

async fn an_order_is_placed_and_read(store: Store) {
    let shop = store.start().await;
    let (mug, pot) = (shop.product(10).await, shop.product(5).await);
    let mut body = order(&[(&pot, 2), (&mug, 3)]);
    body["note"] = json!("ring twice\n🔔");
    let placed = shop.post("/v1/orders", &body).await;
    let location = placed.header("location").to_owned();
    let placed = placed.expect(201);
    let id = text(&placed["id"]);
    assert_is_uuid_v7(&id);
    assert_is_time(&text(&placed["created_at"]));
    assert_eq!(location, format!("/v1/orders/{id}"));
    let expected = json!({
        "id": id,
        "status": "pending",
        "items": [
            {"product_id": pot, "quantity": 2, "unit_price_cents": 250},
            {"product_id": mug, "quantity": 3, "unit_price_cents": 250},
        ],
        "total_cents": 1250,
        "note": "ring twice\n🔔",
        "customer": "demo",
        "created_at": placed["created_at"],
    });
    assert_eq!(placed, expected);
    assert_eq!(shop.get(&location).await.expect(200), expected);
    assert_eq!((shop.stock(&mug).await, shop.stock(&pot).await), (7, 3));

    // What was agreed stays when the product changes.
    let path = format!("/v1/products/{mug}");
    shop.patch(&path, &json!({"price_cents": 999}))
        .await
        .expect(200);
    assert_eq!(shop.get(&location).await.expect(200), expected);
    let without_note = shop
        .post("/v1/orders", &order(&[(&mug, 1)]))
        .await
        .expect(201);
    assert_eq!(without_note["note"], Value::Null);
    assert_eq!(without_note["total_cents"], 999);
}

async fn lists_are_newest_first_and_of_one_customer(store: Store) {
    let shop = store.start().await;
    let none = shop.get("/v1/orders").await.expect(200);
    assert_eq!(none, json!({"items": [], "next": null, "prev": null}));
    let (mug, pot) = (shop.product(1000).await, shop.product(1000).await);
    let mut placed = Vec::new();
    for _ in 0..101 {
        let body = order(&[(&mug, 1), (&pot, 1)]);
        placed.push(shop.post("/v1/orders", &body).await.expect(201));
    }
    placed.reverse();
    placed.truncate(100);
    let list = shop.get("/v1/orders").await.expect(200);
    assert_eq!(list, json!({"items": placed, "next": null, "prev": null}));
    let others = as_customer(&shop, Method::GET, "/v1/orders", "other")
        .await
        .expect(200);
    assert_eq!(items(&others).len(), 0);
}

async fn orders_of_others_are_not_there(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(10).await;
    let request = shop
        .request(Method::POST, "/v1/orders")
        .header("x-demo-customer", "Ada.L_1-2");
    let placed = Answer::of(request.json(&order(&[(&mug, 1)])))
        .await
        .expect(201);
    assert_eq!(placed["customer"], "Ada.L_1-2");
    let path = format!("/v1/orders/{}", text(&placed["id"]));
    let cancel = format!("{path}/cancel");
    for name in ["demo", "ada.l_1-2"] {
        let show = as_customer(&shop, Method::GET, &path, name).await;
        show.problem(404, "order-not-found");
        let cancelled = as_customer(&shop, Method::POST, &cancel, name).await;
        cancelled.problem(404, "order-not-found");
    }
    let own = as_customer(&shop, Method::GET, &path, "Ada.L_1-2")
        .await
        .expect(200);
    assert_eq!(own, placed);
}

async fn every_violation_is_named(store: Store) {
    let shop = store.start().await;
    let id = shop.product(1000).await;
    let many: Vec<_> = (0..101)
        .map(|_| json!({"product_id": "x", "quantity": 1}))
        .collect();
    let cases = [
        (json!({"items": []}), &[("length", "#/items")][..]),
        (json!({}), &[("missing", "#/items")]),
        (
            order(&[("x", 0), (&id, 1_000_001), (&id, 1)]),
            &[
                ("format", "#/items/0/product_id"),
                ("range", "#/items/0/quantity"),
                ("range", "#/items/1/quantity"),
                ("duplicate", "#/items/2/product_id"),
            ],
        ),
        (
            json!({"items": [{"product_id": id, "quantity": 1}], "note": "\0".repeat(1001)}),
            &[("length", "#/note"), ("format", "#/note")],
        ),
        (
            order(&[(&id, 1), (&id, 1)]),
            &[("duplicate", "#/items/1/product_id")],
        ),
        (
            order(&[(&id.replace('-', ""), 1)]),
            &[("format", "#/items/0/product_id")],
        ),
        (
            json!({"items": [{"product_id": id, "quantity": 1, "price": 1}]}),
            &[("unknown", "#/items/0/price")],
        ),
        (
            json!({"items": [{"product_id": id}]}),
            &[("missing", "#/items/0/quantity")],
        ),
        (json!({"items": {}}), &[("type", "#/items")]),
        (
            json!({"items": [{"product_id": id, "quantity": -1}]}),
            &[("range", "#/items/0/quantity")],
        ),
    ];
    for (body, expected) in cases {
        let refused = shop.post("/v1/orders", &body).await.violations();
        assert_eq!(refused, pairs(expected), "{body}");
    }
    let refused = shop
        .post("/v1/orders", &json!({"items": many}))
        .await
        .violations();
    assert_eq!(refused[0], ("length".to_owned(), "#/items".to_owned()));
    assert_eq!(refused.len(), 100, "the list of violations has an end");
    assert_eq!(shop.stock(&id).await, 1000);
}

async fn products_that_are_unknown_are_named_and_nothing_is_taken(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(10).await;
    let (lost, gone) = (
        "01900000-0000-7000-8000-000000000001",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    );
    let body = order(&[(gone, 1), (&mug, 1), (lost, 1)]);
    let mut refused = shop.post("/v1/orders", &body).await.violations();
    refused.sort();
    assert_eq!(
        refused,
        pairs(&[
            ("unknown_product", "#/items/0/product_id"),
            ("unknown_product", "#/items/2/product_id"),
        ])
    );
    assert_eq!(shop.stock(&mug).await, 10);
}

async fn stock_that_is_short_is_named_and_nothing_is_taken(store: Store) {
    let shop = store.start().await;
    let (mug, pot) = (shop.product(10).await, shop.product(1).await);
    let refused = shop
        .post("/v1/orders", &order(&[(&mug, 1), (&pot, 2)]))
        .await;
    let problem = refused.problem(409, "out-of-stock");
    assert_eq!(
        problem["short"],
        json!([{"pointer": "#/items/1/product_id", "product_id": pot, "requested": 2}])
    );
    assert_eq!((shop.stock(&mug).await, shop.stock(&pot).await), (10, 1));
    shop.post("/v1/orders", &order(&[(&mug, 1), (&pot, 1)]))
        .await
        .expect(201);
    assert_eq!((shop.stock(&mug).await, shop.stock(&pot).await), (9, 0));
    let list = shop.get("/v1/orders").await.expect(200);
    assert_eq!(items(&list).len(), 1);
}

async fn a_total_that_does_not_fit_is_refused(store: Store) {
    let shop = store.start().await;
    let gem = json!({"name": "Gem", "price_cents": i64::MAX, "stock": 10});
    let gem = text(&shop.post("/v1/products", &gem).await.expect(201)["id"]);
    let mug = shop.product(10).await;
    for body in [order(&[(&gem, 2)]), order(&[(&gem, 1), (&mug, 1)])] {
        let refused = shop.post("/v1/orders", &body).await.violations();
        assert_eq!(refused, pairs(&[("range", "#/items")]));
    }
    assert_eq!((shop.stock(&gem).await, shop.stock(&mug).await), (10, 10));
    let largest = shop
        .post("/v1/orders", &order(&[(&gem, 1)]))
        .await
        .expect(201);
    assert_eq!(largest["total_cents"], i64::MAX);
}

async fn cancelling_gives_the_stock_back_once(store: Store) {
    let shop = store.start().await;
    let (mug, pot) = (shop.product(10).await, shop.product(5).await);
    let placed = shop
        .post("/v1/orders", &order(&[(&pot, 5), (&mug, 4)]))
        .await
        .expect(201);
    let path = format!("/v1/orders/{}", text(&placed["id"]));
    let cancelled = shop.act(&format!("{path}/cancel")).await.expect(200);
    let mut expected = placed;
    expected["status"] = json!("cancelled");
    assert_eq!(cancelled, expected);
    assert_eq!(shop.get(&path).await.expect(200), expected);
    assert_eq!((shop.stock(&mug).await, shop.stock(&pot).await), (10, 5));
    let again = shop.act(&format!("{path}/cancel")).await;
    assert_eq!(
        again.problem(409, "order-not-pending")["order_status"],
        "cancelled"
    );
    assert_eq!((shop.stock(&mug).await, shop.stock(&pot).await), (10, 5));
    let nobody = "/v1/orders/01900000-0000-7000-8000-000000000000/cancel";
    shop.act(nobody).await.problem(404, "order-not-found");
}

async fn of_concurrent_cancels_one_succeeds(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(10).await;
    for _ in 0..3 {
        let placed = shop
            .post("/v1/orders", &order(&[(&mug, 4)]))
            .await
            .expect(201);
        let path = format!("/v1/orders/{}/cancel", text(&placed["id"]));
        let answers = join_all((0..12).map(|_| shop.act(&path))).await;
        let count = |status: u16| {
            answers
                .iter()
                .filter(|a| a.status.as_u16() == status)
                .count()
        };
        assert_eq!((count(200), count(409)), (1, 11));
        assert_eq!(shop.stock(&mug).await, 10);
    }
}

async fn nothing_is_oversold(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(10).await;
    let body = order(&[(&mug, 1)]);
    let answers = join_all((0..50).map(|_| shop.post("/v1/orders", &body))).await;
    let count = |status: u16| {
        answers
            .iter()
            .filter(|a| a.status.as_u16() == status)
            .count()
    };
    assert_eq!((count(201), count(409)), (10, 40));
    assert_eq!(shop.stock(&mug).await, 0);
    let list = shop.get("/v1/orders").await.expect(200);
    assert_eq!(items(&list).len(), 10);
}

async fn orders_of_the_same_products_in_any_sequence_all_succeed(store: Store) {
    let shop = store.start().await;
    let (a, b, c) = (
        shop.product(60).await,
        shop.product(60).await,
        shop.product(60).await,
    );
    let bodies = [
        order(&[(&a, 1), (&b, 1), (&c, 1)]),
        order(&[(&c, 1), (&b, 1), (&a, 1)]),
        order(&[(&b, 1), (&c, 1), (&a, 1)]),
    ];
    // Each is also cancelled, which takes the same rows once more.
    let place_and_cancel = async |body: &Value| {
        let placed = shop.post("/v1/orders", body).await.expect(201);
        let path = format!("/v1/orders/{}/cancel", text(&placed["id"]));
        shop.act(&path).await.expect(200);
    };
    join_all(bodies.iter().cycle().take(30).map(place_and_cancel)).await;
    for id in [&a, &b, &c] {
        assert_eq!(shop.stock(id).await, 60);
    }
}

async fn the_largest_order_keeps_its_sequence(store: Store) {
    let shop = store.start().await;
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(shop.product(1).await);
    }
    // Not the sequence in which rows are locked.
    ids.reverse();
    ids.swap(3, 70);
    let items: Vec<_> = ids.iter().map(|id| (id.as_str(), 1)).collect();
    let placed = shop.post("/v1/orders", &order(&items)).await.expect(201);
    let path = format!("/v1/orders/{}", text(&placed["id"]));
    for answer in [placed, shop.get(&path).await.expect(200)] {
        let read: Vec<_> = answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| text(&i["product_id"]))
            .collect();
        assert_eq!(read, ids);
    }
}
