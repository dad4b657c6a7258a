//! A request without a key: the layer is there and has nothing to do.

use std::{
    convert::Infallible,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use purlin_benches::{Case, measure, table};
use purlin_idempotency::{IdempotencyLayer, MemoryStore};
use tower::{Layer as _, Service};

use crate::apps::{self, Work};

type Body = Full<Bytes>;

fn call<B, S>(service: &mut S, body: B) -> S::Response
where
    S: Service<Request<B>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let _ = service.poll_ready(&mut cx);
    match pin!(service.call(apps::request(None, body))).poll(&mut cx) {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("the service answers at once"),
    }
}

pub fn run() {
    let work = Work::default();
    let body = || Full::new(apps::REQUEST.clone());
    let mut alone = apps::handler::<Body, Body>(work.clone());
    let mut ours = IdempotencyLayer::leased(MemoryStore::new())
        .single_tenant()
        .layer(apps::handler::<_, Body>(work.clone()));
    let store = idempotent::memory::MemoryStore::builder().try_build();
    let mut idempotent = idempotent::middleware::IdempotencyLayer::new(store.expect("a store"))
        .layer(apps::handler::<Body, Body>(work.clone()));
    let mut axum_alone = apps::handler::<axum::body::Body, axum::body::Body>(work.clone());
    let mut axum_idempotent = apps::axum_idempotent_service(true, work);
    let figures = measure(vec![
        Case::new(apps::NO_LAYER, || call(&mut alone, body())),
        Case::new("purlin-idempotency", || call(&mut ours, body())),
        Case::new("idempotent", || call(&mut idempotent, body())),
        Case::new("no layer, axum's bodies", || {
            call(&mut axum_alone, apps::REQUEST.clone().into())
        }),
        Case::new("axum-idempotent, its session and its cookies", || {
            call(&mut axum_idempotent, apps::REQUEST.clone().into())
        }),
    ]);
    let on_top = figures[1].ns - figures[0].ns;
    let allocations = figures[1].allocations - figures[0].allocations;
    table(&[("a request without a key, made and answered", figures)]);
    println!("\nThe layer's own part: {on_top:.0} ns, {allocations} allocations.");
}
