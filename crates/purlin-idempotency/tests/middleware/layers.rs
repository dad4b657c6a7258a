//! What servers do with layers.

use std::{sync::Arc, time::Duration};

use purlin_idempotency::{IdempotencyLayer, LeaseLost, Leased, MemoryStore};
use purlin_testkit::layer::{assert_ready_kept, assert_state_shared};
use tower::ServiceExt as _;

use crate::common::{Handler, layer, post, send};

#[tokio::test]
async fn calls_of_layer_and_clones_share_what_they_know() {
    // Of work under way.
    let in_flight = Handler::new(|_, _| std::future::pending());
    assert_state_shared(
        layer,
        || in_flight.clone(),
        |service| async move {
            let duplicate = async {
                let reply = service
                    .clone()
                    .oneshot(post("k"))
                    .await
                    .expect("does not fail");
                Some(reply.status().as_u16())
            };
            tokio::select! {
                biased;
                status = duplicate => status,
                () = tokio::task::yield_now() => None,
            }
        },
    )
    .await;
    // Of answers.
    let counting = Handler::counting();
    assert_state_shared(
        layer,
        || counting.clone(),
        |service| async move {
            let reply = service.oneshot(post("k")).await.expect("does not fail");
            reply.headers().contains_key("idempotent-replayed")
        },
    )
    .await;
}

#[tokio::test]
async fn clones_with_other_options_share_it_too() {
    let (store, handler) = (MemoryStore::new(), Handler::counting());
    let here = IdempotencyLayer::leased(store.clone()).single_tenant();
    let clone = here
        .clone()
        .with_lease_lost(LeaseLost::Reexecute)
        .with_retention(Duration::from_secs(1));
    send(&clone, &handler, post("k")).await;
    // Only from memory can it come.
    forget(&store).await;
    assert!(send(&here, &handler, post("k")).await.is_replay());
    // Who asks the store each time does not use what others have put into memory.
    let asking = here.clone().with_replay_cache_bytes(0);
    assert!(!send(&asking, &handler, post("k")).await.is_replay());
}

async fn forget(store: &MemoryStore) {
    use purlin_idempotency::{IdempotencyStore as _, Key, KeySyntax, RecordId, Scope};
    let key = Key::parse(b"k", KeySyntax::Lenient).expect("is a key");
    let id = RecordId::new("", &Scope::single_tenant(), &key);
    assert!(store.remove(&id).await.expect("memory does not fail"));
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let numbers = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let next_key = || {
        let number = numbers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        post(&format!("k{number}"))
    };
    assert_ready_kept(&layer(), Handler::counting(), next_key).await;
    assert_ready_kept(&layer(), Handler::counting(), || {
        let mut request = post("k");
        request.headers_mut().clear();
        request
    })
    .await;
}

#[tokio::test]
async fn a_layer_by_its_store_shares_the_records() {
    let (store, handler) = (Arc::new(MemoryStore::new()), Handler::counting());
    let layers: [IdempotencyLayer<Leased>; 2] =
        [(); 2].map(|()| IdempotencyLayer::leased_by(Arc::clone(&store) as _).single_tenant());
    send(&layers[0], &handler, post("k")).await;
    assert!(send(&layers[1], &handler, post("k")).await.is_replay());
}
