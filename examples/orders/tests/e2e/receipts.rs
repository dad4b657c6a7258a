//! Each order has one receipt, whoever runs its job.

use futures_util::future::join_all;
use purlin_jobs::{
    JobAdmin, PostgresStore, SqliteStore,
    store::{Counts, Filter, Page},
};
use purlin_store::{postgres::PostgresConfig, sqlite::SqliteConfig};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{PgPool, SqlitePool};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    harness::{Answer, PATIENCE, Shop, Store, send_signal, text, wait},
    products::items,
};

on_both_databases! {
    each_order_has_one_receipt
    without_a_worker_jobs_wait_and_those_of_refused_orders_are_not_there
    after_a_kill_a_worker_sends_what_was_left
    a_worker_that_is_told_to_end_spends_no_attempt
}

/// The database as the tests see it.
struct Ledger {
    pool: Pool,
    jobs: Box<dyn JobAdmin>,
}

enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl Ledger {
    async fn of(store: &Store) -> Self {
        if let Some(url) = store.url() {
            let config = PostgresConfig::new(&url).unwrap().with_max_connections(1);
            let pool = config.connect().await.unwrap();
            Self {
                jobs: Box::new(PostgresStore::new(pool.clone())),
                pool: Pool::Postgres(pool),
            }
        } else {
            let config = SqliteConfig::new(store.folder().join("orders.db"));
            let pool = config.connect().await.unwrap();
            Self {
                jobs: Box::new(SqliteStore::new(pool.clone())),
                pool: Pool::Sqlite(pool),
            }
        }
    }

    async fn jobs(&self) -> Counts {
        self.jobs.counts(None).await.unwrap()
    }

    /// For which orders there are receipts, in the order of ids.
    async fn receipts(&self) -> Vec<String> {
        const RECEIPTS: &str = "select order_id from receipts order by order_id";
        let ids: Vec<Uuid> = match &self.pool {
            Pool::Postgres(pool) => sqlx::query_scalar(RECEIPTS).fetch_all(pool).await,
            Pool::Sqlite(pool) => sqlx::query_scalar(RECEIPTS).fetch_all(pool).await,
        }
        .unwrap();
        ids.iter().map(ToString::to_string).collect()
    }

    /// The receipts when no job is left. A job whose worker was killed waits for the end of its lease.
    async fn all_receipts(&self) -> Vec<String> {
        let is_done = async {
            loop {
                let jobs = self.jobs().await;
                assert_eq!(jobs.dead, 0, "{jobs:?}");
                if jobs.ready + jobs.scheduled + jobs.leased == 0 {
                    break;
                }
            }
        };
        timeout(2 * PATIENCE, is_done).await.expect("jobs are done");
        self.receipts().await
    }
}

async fn place(shop: &Shop, product: &str, quantity: i64, key: Option<&str>) -> Answer {
    let body = json!({"items": [{"product_id": product, "quantity": quantity}]});
    let request = shop.request(Method::POST, "/v1/orders").json(&body);
    Answer::of(match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    })
    .await
}

async fn placed(shop: &Shop, product: &str, key: Option<&str>) -> String {
    text(&place(shop, product, 1, key).await.expect(201)["id"])
}

/// All orders that there are, in the order of ids.
async fn orders(shop: &Shop) -> Vec<String> {
    let list: Value = shop.get("/v1/orders").await.expect(200);
    let mut ids: Vec<_> = items(&list)
        .iter()
        .map(|order| text(&order["id"]))
        .collect();
    ids.sort();
    ids
}

async fn each_order_has_one_receipt(store: Store) {
    let shop = store.start().await;
    let mug = shop.product(10).await;
    let ledger = Ledger::of(&store).await;
    let first = placed(&shop, &mug, None).await;
    let second = placed(&shop, &mug, Some("k")).await;
    assert_eq!(ledger.all_receipts().await, [&*first, &*second]);
    // A replay when the job is gone.
    assert_eq!(placed(&shop, &mug, Some("k")).await, second);
    assert_eq!(ledger.all_receipts().await, [&*first, &*second]);
    let log = std::fs::read_to_string(store.log()).unwrap();
    for id in [first, second] {
        let sent = |line: &&str| line.contains("e-mail") && line.contains(&id);
        assert_eq!(log.lines().filter(sent).count(), 1, "{log}");
    }
}

async fn without_a_worker_jobs_wait_and_those_of_refused_orders_are_not_there(store: Store) {
    let mut shop = store.start_without_worker().await;
    let mug = shop.product(100).await;
    let ledger = Ledger::of(&store).await;
    let none = Uuid::now_v7().to_string();
    for key in [None, Some("short"), Some("short")] {
        place(&shop, &mug, 101, key)
            .await
            .problem(409, "out-of-stock");
    }
    for key in [None, Some("unknown")] {
        place(&shop, &none, 1, key).await.problem(422, "validation");
    }
    assert_eq!(ledger.jobs().await.ready, 0);
    let mut orders = vec![placed(&shop, &mug, Some("k")).await];
    // A replay while the job waits.
    assert_eq!(placed(&shop, &mug, Some("k")).await, orders[0]);
    // So many that a worker would have heard of the first ones.
    for _ in 0..60 {
        orders.push(placed(&shop, &mug, None).await);
    }
    shop.signal("TERM");
    assert_eq!(shop.wait().await.code(), Some(0));
    assert!(ledger.receipts().await.is_empty());
    assert_eq!(ledger.jobs().await.ready, 61);

    let mut worker = store.start_worker();
    orders.sort();
    assert_eq!(ledger.all_receipts().await, orders);
    send_signal(&worker, "TERM");
    assert_eq!(wait(&mut worker).await.code(), Some(0));
}

async fn after_a_kill_a_worker_sends_what_was_left(store: Store) {
    let mut shop = store.start().await;
    let mug = shop.product(10).await;
    let acknowledged = join_all((0..5).map(|_| placed(&shop, &mug, None))).await;
    shop.signal("KILL");
    shop.wait().await;
    let _worker = store.start_worker();
    let receipts = Ledger::of(&store).await.all_receipts().await;
    assert!(acknowledged.iter().all(|id| receipts.contains(id)));
    let shop = store.start_without_worker().await;
    assert_eq!(receipts, orders(&shop).await);
}

async fn a_worker_that_is_told_to_end_spends_no_attempt(store: Store) {
    let shop = store.start_without_worker().await;
    let mug = shop.product(100).await;
    join_all((0..40).map(|_| placed(&shop, &mug, None))).await;
    let ledger = Ledger::of(&store).await;
    let mut worker = store.start_worker();
    let has_begun = async { while ledger.receipts().await.is_empty() {} };
    timeout(PATIENCE, has_begun).await.expect("it begins");
    send_signal(&worker, "TERM");
    assert_eq!(wait(&mut worker).await.code(), Some(0));
    let page = Page {
        after: None,
        limit: 100,
    };
    let all = Filter::default();
    let left = ledger.jobs.list(&all, &page).await.unwrap();
    assert_eq!(left.len() + ledger.receipts().await.len(), 40);
    assert_eq!(ledger.jobs().await.ready, left.len() as u64);
    assert!(left.iter().all(|job| (job.failures, job.crashes) == (0, 0)));

    let _worker = store.start_worker();
    assert_eq!(ledger.all_receipts().await, orders(&shop).await);
}
