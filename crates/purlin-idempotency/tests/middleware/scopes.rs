//! Whose keys they are.

use http::{Request, StatusCode};
use purlin_idempotency::{IdempotencyLayer, Leased, MemoryStore, Scope};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _};

use crate::{
    common::{Body, Handler, layer, post, send},
    secrets::Logs,
};

#[derive(Clone)]
struct User(&'static str);

fn by_user(store: MemoryStore) -> IdempotencyLayer<Leased> {
    IdempotencyLayer::leased(store).scope(|request| {
        let user = request.extensions.get::<User>()?;
        Some(Scope::principal(user.0))
    })
}

fn from(user: &'static str) -> Request<Body> {
    let mut request = post("k");
    request.extensions_mut().insert(User(user));
    request
}

#[tokio::test]
async fn two_principals_with_one_key_do_not_see_each_other() {
    let (layer, handler) = (by_user(MemoryStore::new()), Handler::counting());
    assert_eq!(send(&layer, &handler, from("ann")).await.text(), "1");
    assert_eq!(send(&layer, &handler, from("ben")).await.text(), "2");
    assert_eq!(send(&layer, &handler, from("ann")).await.text(), "1");
    assert_eq!(send(&layer, &handler, from("ben")).await.text(), "2");
}

#[tokio::test]
async fn without_a_principal_it_is_403_and_an_error_in_the_log() {
    let (layer, handler) = (by_user(MemoryStore::new()), Handler::counting());
    let logs = Logs::default();
    let errors = logs
        .clone()
        .with_filter(tracing::level_filters::LevelFilter::ERROR);
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(errors));
    let reply = send(&layer, &handler, post("k")).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert_eq!(reply.problem(), "idempotency-scope-missing");
    assert_eq!(handler.calls(), 0);
    assert!(
        logs.text().contains("inside of authentication"),
        "{}",
        logs.text()
    );
}

#[tokio::test]
async fn namespaces_and_the_single_tenant_are_apart() {
    let (store, handler) = (MemoryStore::new(), Handler::counting());
    let single = IdempotencyLayer::leased(store.clone()).single_tenant();
    let named = single.clone().with_namespace("billing");
    let empty_user = by_user(store.clone());
    assert_eq!(send(&single, &handler, post("k")).await.text(), "1");
    assert_eq!(send(&named, &handler, post("k")).await.text(), "2");
    assert_eq!(send(&empty_user, &handler, from("")).await.text(), "3");
    assert_eq!(send(&single, &handler, post("k")).await.text(), "1");
    assert_eq!(send(&named, &handler, post("k")).await.text(), "2");
}

#[tokio::test]
async fn an_erased_principal_is_not_replayed_and_not_executed_again() {
    let (store, handler) = (MemoryStore::new(), Handler::counting());
    let layer = by_user(store.clone());
    send(&layer, &handler, from("ann")).await;
    send(&layer, &handler, from("ben")).await;
    let erased = layer.erase_scope(&Scope::principal("ann")).await;
    assert_eq!(erased.expect("memory does not fail"), 1);
    for layer in [&layer, &by_user(store)] {
        let gone = send(layer, &handler, from("ann")).await;
        assert_eq!(gone.status, StatusCode::CONFLICT);
        assert_eq!(gone.problem(), "idempotency-answer-unavailable");
        assert_eq!(send(layer, &handler, from("ben")).await.text(), "2");
    }
    assert_eq!(handler.calls(), 2);
}

#[tokio::test]
async fn the_target_may_be_another_than_what_this_layer_sees() {
    let (layer, handler) = (layer(), Handler::counting());
    let layer = layer.with_target(|parts| parts.uri.path().to_owned());
    send(&layer, &handler, post("k")).await;
    let mut other = post("k");
    *other.uri_mut() = "/orders?x=2".parse().expect("is a URI");
    assert!(send(&layer, &handler, other).await.is_replay());
    let mut other = post("k");
    *other.uri_mut() = "/payments".parse().expect("is a URI");
    let reply = send(&layer, &handler, other).await;
    assert_eq!(reply.problem(), "idempotency-key-reused");
}
