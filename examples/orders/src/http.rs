//! HTTP: routes, what is read from requests and written to responses, and the layers around it.

mod catalog;
mod customer;
mod health;
mod idempotency;
mod layers;
mod linger;
mod list;
mod orders;
mod payments;
mod products;
mod request_id;
mod webhooks;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::from_extractor,
    routing::{get, post},
};
use purlin_problem::fallback;

use crate::{
    domain::Customer,
    service::{Orders, Payments, Products, Webhooks},
};

pub(crate) use customer::HEADER as CUSTOMER_HEADER;
pub(crate) use health::Health;
pub(crate) use idempotency::Keys;
pub(crate) use layers::service;

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) products: Products,
    pub(crate) orders: Orders,
    pub(crate) payments: Payments,
    pub(crate) webhooks: Webhooks,
    pub(crate) health: Health,
    pub(crate) keys: Keys,
}

fn routes(app: App) -> Router {
    // Outside of the keys, as authentication will be: who asks is known first.
    let known = from_extractor::<Customer>();
    let place = post(orders::create)
        .route_layer(app.keys.orders.clone())
        .route_layer(known.clone());
    let pay = post(payments::create)
        .route_layer(app.keys.payments.clone())
        .route_layer(known);
    Router::new()
        .route("/v1/products", get(products::list).post(products::create))
        .route(
            "/v1/products/{id}",
            get(products::show).patch(products::change),
        )
        .route("/v1/orders", get(orders::list).merge(place))
        .route("/v1/orders/{id}", get(orders::show))
        .route("/v1/orders/{id}/cancel", post(orders::cancel))
        .route("/v1/orders/{id}/payments", pay)
        .route(
            "/v1/webhook-endpoints",
            get(webhooks::list).post(webhooks::create),
        )
        .route(
            "/v1/webhook-endpoints/{id}/rotate-secret",
            post(webhooks::rotate),
        )
        .route("/v1/webhook-deliveries", get(webhooks::deliveries))
        .route("/v1/webhook-deliveries/{id}", get(webhooks::show))
        .route("/v1/webhook-deliveries/{id}/replay", post(webhooks::replay))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .nest_service("/problems", catalog::catalog())
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        // The limit is that of the layer outside, which also knows what handlers do not read.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}
