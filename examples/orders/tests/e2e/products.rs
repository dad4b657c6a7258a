use serde_json::{Value, json};

use crate::harness::{Shop, Store, pairs, text};

on_both_databases! {
    a_product_is_created_and_read
    a_patch_changes_what_it_names_and_counts_the_version
    a_patch_without_members_changes_nothing
    the_list_has_the_newest_hundred
    every_violation_is_named
    what_is_stored_is_what_was_sent
}

async fn a_product_is_created_and_read(store: Store) {
    let shop = store.start().await;
    let body = json!({"name": "Teapot", "price_cents": 2490, "stock": 10});
    let created = shop.post("/v1/products", &body).await;
    let location = created.header("location").to_owned();
    let product = created.expect(201);
    let id = text(&product["id"]);
    assert_eq!(location, format!("/v1/products/{id}"));
    assert_is_uuid_v7(&id);
    assert_is_time(&text(&product["created_at"]));
    let expected = json!({
        "id": id, "name": "Teapot", "price_cents": 2490, "stock": 10, "version": 1,
        "created_at": product["created_at"],
    });
    assert_eq!(product, expected);
    assert_eq!(shop.get(&location).await.expect(200), product);
}

async fn a_patch_changes_what_it_names_and_counts_the_version(store: Store) {
    let shop = store.start().await;
    let path = format!("/v1/products/{}", shop.product(10).await);
    let before = shop.get(&path).await.expect(200);
    for (patch, member, version) in [
        (json!({"name": "Cup"}), "name", 2),
        (json!({"price_cents": 0}), "price_cents", 3),
        (json!({"stock": 7}), "stock", 4),
    ] {
        let changed = shop.patch(&path, &patch).await.expect(200);
        assert_eq!(changed[member], patch[member]);
        assert_eq!(changed["version"], version);
        assert_eq!(shop.get(&path).await.expect(200), changed);
    }
    let after = shop.get(&path).await.expect(200);
    assert_eq!(after["created_at"], before["created_at"]);
    assert_eq!(
        (&after["name"], &after["price_cents"], &after["stock"]),
        (&json!("Cup"), &json!(0), &json!(7))
    );
    let nobody = "/v1/products/01900000-0000-7000-8000-000000000000";
    let missing = shop.patch(nobody, &json!({"stock": 1})).await;
    missing.problem(404, "product-not-found");
    shop.get(nobody).await.problem(404, "product-not-found");
}

async fn a_patch_without_members_changes_nothing(store: Store) {
    let shop = store.start().await;
    let path = format!("/v1/products/{}", shop.product(10).await);
    let before = shop.get(&path).await.expect(200);
    assert_eq!(shop.patch(&path, &json!({})).await.expect(200), before);
    for member in ["name", "price_cents", "stock"] {
        let refused = shop.patch(&path, &json!({member: null})).await.violations();
        assert_eq!(refused, pairs(&[("type", &format!("#/{member}"))]));
    }
}

async fn the_list_has_the_newest_hundred(store: Store) {
    let shop = store.start().await;
    let none = shop.get("/v1/products").await.expect(200);
    assert_eq!(none, json!({"items": [], "next": null, "prev": null}));
    for stock in 0..101 {
        shop.product(stock).await;
    }
    let list = shop.get("/v1/products").await.expect(200);
    let stocks: Vec<_> = items(&list)
        .iter()
        .map(|item| item["stock"].as_i64())
        .collect();
    let newest_first: Vec<_> = (1..=100).rev().map(Some).collect();
    assert_eq!(stocks, newest_first);
    assert_eq!((&list["next"], &list["prev"]), (&Value::Null, &Value::Null));
}

async fn every_violation_is_named(store: Store) {
    let shop = store.start().await;
    let long = "é".repeat(201);
    let cases = [
        (
            json!({"name": "", "price_cents": -1, "stock": -1}),
            &[
                ("length", "#/name"),
                ("range", "#/price_cents"),
                ("range", "#/stock"),
            ][..],
        ),
        (
            json!({"name": long, "price_cents": 0, "stock": 1_000_000_001}),
            &[("length", "#/name"), ("range", "#/stock")],
        ),
        (
            json!({"name": " \t", "price_cents": 0, "stock": 0}),
            &[("length", "#/name"), ("format", "#/name")],
        ),
        (
            json!({"name": "a\0", "price_cents": 0, "stock": 0}),
            &[("format", "#/name")],
        ),
        (
            json!({"price_cents": 0, "stock": 0}),
            &[("missing", "#/name")],
        ),
        (
            json!({"name": 1, "price_cents": 0, "stock": 0}),
            &[("type", "#/name")],
        ),
        (
            json!({"name": "a", "price_cents": "0", "stock": 0}),
            &[("type", "#/price_cents")],
        ),
        (
            json!({"name": "a", "price_cents": 0.5, "stock": 0}),
            &[("type", "#/price_cents")],
        ),
        (
            json!({"name": "a", "price_cents": 9_223_372_036_854_775_808_u64, "stock": 0}),
            &[("range", "#/price_cents")],
        ),
        (
            json!({"name": "a", "price_cents": 0, "stock": 0, "colour/x": 1}),
            &[("unknown", "#/colour~1x")],
        ),
        (json!("text"), &[("type", "#")]),
        (json!(null), &[("type", "#")]),
    ];
    for (body, expected) in cases {
        let refused = shop.post("/v1/products", &body).await.violations();
        assert_eq!(refused, pairs(expected), "{body}");
    }
    let none = shop.get("/v1/products").await.expect(200);
    assert_eq!(items(&none).len(), 0, "nothing was created");
}

async fn what_is_stored_is_what_was_sent(store: Store) {
    let shop = store.start().await;
    for body in [
        json!({"name": "é".repeat(200), "price_cents": i64::MAX, "stock": 1_000_000_000}),
        json!({"name": "'; drop table products; --", "price_cents": 0, "stock": 0}),
        json!({"name": "茶壺 🫖 \u{202e}", "price_cents": 1, "stock": 1}),
    ] {
        let created = shop.post("/v1/products", &body).await.expect(201);
        let path = format!("/v1/products/{}", text(&created["id"]));
        let read = shop.get(&path).await.expect(200);
        for member in ["name", "price_cents", "stock"] {
            assert_eq!(read[member], body[member]);
        }
    }
}

pub(crate) fn items(list: &Value) -> &Vec<Value> {
    list["items"].as_array().expect("a list")
}

pub(crate) fn assert_is_uuid_v7(id: &str) {
    assert_eq!(id.len(), 36, "{id}");
    assert_eq!(id.as_bytes()[14], b'7', "{id}");
}

/// `2026-11-21T10:21:27.434180Z`
pub(crate) fn assert_is_time(time: &str) {
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
}

/// Used by other modules to know that the program is well after what was done to it.
pub(crate) async fn assert_works(shop: &Shop) {
    let id = shop.product(1).await;
    assert_eq!(shop.stock(&id).await, 1);
}
