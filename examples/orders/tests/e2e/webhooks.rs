//! Customers are told of payments, signed, until they confirm.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER},
    response::IntoResponse,
    routing::post,
};
use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    harness::{PATIENCE, Shop, Store, send_signal, text, wait},
    orders::as_customer,
    payments::{order, pay, status},
    products::items,
};

on_both_databases! {
    a_captured_payment_is_told_to_each_endpoint_of_the_customer
    what_is_not_paid_is_not_told
    a_failing_receiver_gets_the_same_message_until_it_confirms
    after_the_last_attempt_a_delivery_is_dead_until_it_is_replayed
    an_endpoint_that_is_gone_gets_no_second_attempt
    a_new_secret_signs_beside_the_old_one
    a_worker_of_its_own_delivers_what_a_killed_server_has_left
    endpoints_and_deliveries_are_the_customers_own
    input_that_is_none
}

/// Status and `Retry-After`, the next one last.
type Answers = Arc<Mutex<Vec<(u16, Option<&'static str>)>>>;

/// A receiver of webhooks, which answers what it is told to.
struct Receiver {
    url: String,
    answers: Answers,
    received: mpsc::UnboundedReceiver<Received>,
    _server: JoinSet<()>,
}

struct Received {
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Clone)]
struct Inbox {
    answers: Answers,
    received: mpsc::UnboundedSender<Received>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks?of=shop", listener.local_addr().unwrap());
        let (sender, received) = mpsc::unbounded_channel();
        let answers = Arc::default();
        let inbox = Inbox {
            answers: Arc::clone(&answers),
            received: sender,
        };
        let router = Router::new().route("/hooks", post(take)).with_state(inbox);
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            answers,
            received,
            _server: server,
        }
    }

    /// The next answers, each with a `Retry-After`; afterwards it is 204.
    fn will_answer(&self, answers: &[(u16, Option<&'static str>)]) {
        let mut next = answers.to_vec();
        next.reverse();
        *self.answers.lock().unwrap() = next;
    }

    async fn next(&mut self) -> Received {
        let next = timeout(PATIENCE, self.received.recv()).await;
        next.expect("it comes in time").expect("it listens")
    }

    fn has_no_more(&mut self) -> bool {
        self.received.try_recv().is_err()
    }
}

async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let answer = inbox.answers.lock().unwrap().pop();
    let (status, retry_after) = answer.unwrap_or((204, None));
    let _ = inbox.received.send(Received { headers, body });
    let mut head = HeaderMap::new();
    if let Some(seconds) = retry_after {
        head.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    (StatusCode::from_u16(status).unwrap(), head)
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn is_signed_by(&self, secret: &str) -> bool {
        let webhook = Webhook::new(secret).unwrap();
        webhook.verify(&self.body, &self.headers).is_ok()
    }

    fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Adds an endpoint; its id and its secret.
async fn endpoint(shop: &Shop, url: &str) -> (String, String) {
    let added = shop
        .post("/v1/webhook-endpoints", &json!({"url": url}))
        .await;
    let added = added.expect(201);
    assert_eq!(added["url"], url);
    (text(&added["id"]), text(&added["secret"]))
}

async fn deliveries(shop: &Shop) -> Vec<Value> {
    items(&shop.get("/v1/webhook-deliveries").await.expect(200)).clone()
}

/// Asks until the delivery is in this state.
async fn becomes(shop: &Shop, id: &str, status: &str) -> Value {
    let path = format!("/v1/webhook-deliveries/{id}");
    let is_so = async {
        loop {
            let delivery = shop.get(&path).await.expect(200);
            if delivery["status"] == status {
                return delivery;
            }
        }
    };
    timeout(2 * PATIENCE, is_so)
        .await
        .expect("it comes to that")
}

/// An order of the demo customer that is paid, and its payment.
async fn paid(shop: &Shop) -> Value {
    let order = order(shop, 1_250).await;
    pay(shop, &order, 1_250).await.expect(201)
}

async fn a_captured_payment_is_told_to_each_endpoint_of_the_customer(store: Store) {
    let shop = store.start().await;
    let (mut one, mut two) = (Receiver::start().await, Receiver::start().await);
    let (_, secret_one) = endpoint(&shop, &one.url).await;
    let (_, secret_two) = endpoint(&shop, &two.url).await;
    let payment = paid(&shop).await;
    for (receiver, secret, other) in [
        (&mut one, &secret_one, &secret_two),
        (&mut two, &secret_two, &secret_one),
    ] {
        let received = receiver.next().await;
        assert!(received.is_signed_by(secret) && !received.is_signed_by(other));
        assert_eq!(received.header("content-type"), "application/json");
        let event = received.event();
        assert_eq!(event["type"], "payment.captured");
        assert_eq!(event["data"], payment);
        assert!(text(&event["timestamp"]).ends_with('Z'));
    }
    let made = deliveries(&shop).await;
    assert_eq!(made.len(), 2);
    for delivery in &made {
        let delivery = becomes(&shop, &text(&delivery["id"]), "delivered").await;
        assert!(delivery["delivered_at"].is_string());
        assert_eq!(delivery["last_error"], Value::Null);
    }
    assert!(one.has_no_more() && two.has_no_more());
    let log = std::fs::read_to_string(store.log()).unwrap();
    assert!(
        !log.contains(&secret_one) && !log.contains("of=shop"),
        "{log}"
    );
}

async fn what_is_not_paid_is_not_told(store: Store) {
    let shop = store.start().await;
    let mut receiver = Receiver::start().await;
    endpoint(&shop, &receiver.url).await;
    let declined = order(&shop, 1_313).await;
    let payment = pay(&shop, &declined, 1_313).await.expect(201);
    assert_eq!(payment["status"], "declined");
    pay(&shop, &declined, 1).await.problem(422, "validation");
    assert!(deliveries(&shop).await.is_empty());
    // One that comes after it is the first that is told.
    let payment = paid(&shop).await;
    assert_eq!(receiver.next().await.event()["data"], payment);
}

async fn a_failing_receiver_gets_the_same_message_until_it_confirms(store: Store) {
    let shop = store.start().await;
    let mut receiver = Receiver::start().await;
    receiver.will_answer(&[(500, Some("0")), (302, Some("0")), (429, Some("1"))]);
    let (_, secret) = endpoint(&shop, &receiver.url).await;
    paid(&shop).await;
    let first = receiver.next().await;
    for _ in 0..3 {
        let again = receiver.next().await;
        assert!(again.is_signed_by(&secret));
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    }
    let id = text(&deliveries(&shop).await[0]["id"]);
    becomes(&shop, &id, "delivered").await;
    assert_eq!(first.header("webhook-id"), format!("msg_{id}"));
    assert!(receiver.has_no_more());
}

async fn after_the_last_attempt_a_delivery_is_dead_until_it_is_replayed(store: Store) {
    let shop = store.start_with(&[("ORDERS_HOOK_ATTEMPTS", "2")]).await;
    let mut receiver = Receiver::start().await;
    receiver.will_answer(&[(500, Some("0")), (503, None)]);
    endpoint(&shop, &receiver.url).await;
    paid(&shop).await;
    let first = receiver.next().await;
    receiver.next().await;
    let id = text(&deliveries(&shop).await[0]["id"]);
    let dead = becomes(&shop, &id, "dead").await;
    assert_eq!(dead["failed_attempts"], 2);
    assert_eq!(dead["last_error"], "answered 503 Service Unavailable");
    assert_eq!(dead["delivered_at"], Value::Null);

    let replay = format!("/v1/webhook-deliveries/{id}/replay");
    let replayed = shop.act(&replay).await.expect(202);
    assert_eq!(replayed["id"], *id);
    let again = receiver.next().await;
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    becomes(&shop, &id, "delivered").await;
    let problem = shop.act(&replay).await;
    let problem = problem.problem(409, "webhook-delivery-not-dead");
    assert_eq!(problem["delivery_status"], "delivered");
}

async fn an_endpoint_that_is_gone_gets_no_second_attempt(store: Store) {
    let shop = store.start().await;
    let mut receiver = Receiver::start().await;
    receiver.will_answer(&[(410, None)]);
    endpoint(&shop, &receiver.url).await;
    paid(&shop).await;
    receiver.next().await;
    let id = text(&deliveries(&shop).await[0]["id"]);
    let dead = becomes(&shop, &id, "dead").await;
    assert_eq!(dead["failed_attempts"], 1);
    assert!(receiver.has_no_more());
}

async fn a_new_secret_signs_beside_the_old_one(store: Store) {
    let shop = store.start().await;
    let mut receiver = Receiver::start().await;
    let own = format!("whsec_{}", "c2VjcmV0".repeat(5));
    let body = json!({"url": receiver.url, "secret": own});
    let added = shop.post("/v1/webhook-endpoints", &body).await.expect(201);
    assert_eq!(added["secret"], own);
    let id = text(&added["id"]);
    let rotate = format!("/v1/webhook-endpoints/{id}/rotate-secret");
    let second = text(&shop.act(&rotate).await.expect(200)["secret"]);
    paid(&shop).await;
    let received = receiver.next().await;
    assert!(received.is_signed_by(&own) && received.is_signed_by(&second));
    // Of several that were replaced the last one.
    let third = text(&shop.act(&rotate).await.expect(200)["secret"]);
    paid(&shop).await;
    let received = receiver.next().await;
    assert!(received.is_signed_by(&second) && received.is_signed_by(&third));
    assert!(!received.is_signed_by(&own));
    let listed = shop.get("/v1/webhook-endpoints").await.expect(200);
    assert_eq!(items(&listed)[0]["id"], *id);
    assert_eq!(items(&listed)[0]["secret"], Value::Null);
}

async fn a_worker_of_its_own_delivers_what_a_killed_server_has_left(store: Store) {
    let mut shop = store.start_without_worker().await;
    let mut receiver = Receiver::start().await;
    let (_, secret) = endpoint(&shop, &receiver.url).await;
    let payment = paid(&shop).await;
    shop.signal("KILL");
    shop.wait().await;
    assert!(receiver.has_no_more());
    let mut worker = store.start_worker();
    let received = receiver.next().await;
    assert!(received.is_signed_by(&secret));
    assert_eq!(received.event()["data"], payment);
    send_signal(&worker, "TERM");
    assert_eq!(wait(&mut worker).await.code(), Some(0));
}

async fn endpoints_and_deliveries_are_the_customers_own(store: Store) {
    let shop = store.start().await;
    let mut receiver = Receiver::start().await;
    let (id, _) = endpoint(&shop, &receiver.url).await;
    paid(&shop).await;
    receiver.next().await;
    let delivery = text(&deliveries(&shop).await[0]["id"]);
    becomes(&shop, &delivery, "delivered").await;
    let get = async |path: String| as_customer(&shop, Method::GET, &path, "eve").await;
    let act = async |path: String| as_customer(&shop, Method::POST, &path, "eve").await;
    for list in ["endpoints", "deliveries"] {
        let list = get(format!("/v1/webhook-{list}")).await.expect(200);
        assert!(items(&list).is_empty());
    }
    let of_delivery = format!("/v1/webhook-deliveries/{delivery}");
    get(of_delivery.clone())
        .await
        .problem(404, "webhook-delivery-not-found");
    act(of_delivery + "/replay")
        .await
        .problem(404, "webhook-delivery-not-found");
    act(format!("/v1/webhook-endpoints/{id}/rotate-secret"))
        .await
        .problem(404, "webhook-endpoint-not-found");
}

async fn input_that_is_none(store: Store) {
    let shop = store.start().await;
    let add = async |body: Value| shop.post("/v1/webhook-endpoints", &body).await;
    let at = |pointer: &str| ("format".to_owned(), pointer.to_owned());
    for url in [
        "",
        "nonsense",
        "https://example.com",
        "http://u:p@h/",
        "http://h:0/",
    ] {
        assert_eq!(
            add(json!({"url": url})).await.violations(),
            [at("#/url")],
            "{url}"
        );
    }
    let both = json!({"url": "x", "secret": "whsec_short"});
    assert_eq!(add(both).await.violations(), [at("#/url"), at("#/secret")]);
    let unknown = add(json!({"url": "http://h/", "x": 1})).await;
    assert_eq!(unknown.violations()[0].1, "#/x");
    for path in ["endpoints/1/rotate-secret", "deliveries/1/replay"] {
        shop.act(&format!("/v1/webhook-{path}"))
            .await
            .problem(404, "");
    }
    for _ in 0..10 {
        endpoint(&shop, "http://127.0.0.1:9/").await;
    }
    let one_more = add(json!({"url": "http://h/"})).await;
    let problem = one_more.problem(409, "too-many-webhook-endpoints");
    assert_eq!(problem["limit"], 10);
    let order = order(&shop, 250).await;
    pay(&shop, &order, 250).await.expect(201);
    assert_eq!(status(&shop, &order).await, "paid");
    assert_eq!(deliveries(&shop).await.len(), 10);
}
