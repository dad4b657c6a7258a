use std::cell::Cell;

use ::orders::{fake_provider, vars::Vars};
use purlin_store::{SystemClock, testing::drop_at_every_await};
use purlin_testkit::TestDatabase;
use tokio::{net::TcpListener, task::JoinSet};

use super::*;
use crate::{
    database::DatabaseUrl,
    domain::{NewItem, NewOrder, NewProduct},
    provider::ProviderUrl,
    service::{Orders, Products},
};

/// Wherever a call is dropped, the next one pays the order, and it is charged once.
async fn whoever_comes_next_finishes(url: DatabaseUrl) {
    let mut tasks = JoinSet::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider_url = ProviderUrl::from(listener.local_addr().unwrap());
    let ledger = provider_url.to_string() + "/ledger";
    tasks.spawn(async move {
        let settings = fake_provider::Settings::read(&mut Vars::new([]));
        fake_provider::serve(listener, &settings).await;
    });
    let database = Database::open(&url).await.unwrap();
    let clock = Arc::new(SystemClock);
    let products = Products::new(database.clone(), clock.clone());
    let queue = database.job_queue();
    let orders = Orders::new(database.clone(), queue.clone(), clock.clone());
    let webhooks = Webhooks::new(database.clone(), queue, clock.clone(), 1);
    let payments = Payments::new(database, clock, Provider::new(provider_url), webhooks);
    let customer = Customer::demo();
    let mug = NewProduct {
        name: "Mug".to_owned(),
        price_cents: 250,
        stock: 10_000,
    };
    let item = NewItem {
        product_id: products.create(mug).await.unwrap().id,
        quantity: 1,
    };
    let new = NewOrder {
        items: vec![item],
        note: None,
    };
    let order = Cell::new(orders.place(&customer, &new).await.unwrap().id);
    let mut paid = 0;
    let mut dropped = 0;
    // Which places are met differs between runs.
    for _ in 0..5 {
        dropped += drop_at_every_await(
            || {
                let id = order.get();
                let (payments, customer, key) = (&payments, &customer, format!("{id}-first"));
                async move { payments.pay(customer, id, 250, &key).await }
            },
            async |at| {
                let id = order.get();
                // Two at once, as when a lease is lost: a key has one outcome.
                let key = format!("{id}-next");
                let pay = || payments.pay(&customer, id, 250, &key);
                match tokio::join!(pay(), pay()) {
                    (Ok(one), Ok(two)) => {
                        assert_eq!((one.id, one.status), (two.id, PaymentStatus::Captured));
                        assert_eq!(pay().await.unwrap().id, one.id);
                    }
                    (Err(Error::NotPending { order_status }), Err(Error::NotPending { .. })) => {
                        assert_eq!(order_status, OrderStatus::Paid, "{at:?}");
                    }
                    other => panic!("{at:?}: {other:?}"),
                }
                paid += 1;
                let charges = reqwest::get(&ledger).await.unwrap().text().await.unwrap();
                // In its reference and in its key.
                assert_eq!(charges.matches(&id.to_string()).count(), 2, "{at:?}");
                assert_eq!(charges.matches("\"captured\"").count(), paid, "{at:?}");
                order.set(orders.place(&customer, &new).await.unwrap().id);
            },
        )
        .await;
    }
    assert!(
        dropped >= 10,
        "the provider at least is waited for: {dropped}"
    );
}

#[tokio::test]
async fn a_call_may_be_dropped_at_every_await_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("orders.db").display());
    whoever_comes_next_finishes(url.parse().unwrap()).await;
}

#[tokio::test]
async fn a_call_may_be_dropped_at_every_await_on_postgres() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    whoever_comes_next_finishes(database.url().parse().unwrap()).await;
}
