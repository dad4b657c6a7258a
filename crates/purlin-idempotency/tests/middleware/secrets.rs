//! What nobody may find in a log.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::LOCATION};
use http_body_util::BodyExt as _;
use purlin_idempotency::{Answer, Execution, IdempotencyLayer, MemoryStore, Scope};
use tower::{Layer as _, ServiceExt as _};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

use crate::common::{Body, Handler, full, post, reply, request, send, try_send};

/// Everything that was logged, errors with their causes.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<String>>);

impl Logs {
    pub(crate) fn text(&self) -> String {
        self.0.lock().expect("nobody panics").clone()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = self.0.lock().expect("nobody panics");
        event.record(&mut Fields(&mut text));
        text.push('\n');
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").expect("strings grow");
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        write!(self.0, " {field}={value} ({value:?})").expect("strings grow");
    }
}

const SECRETS: [&str; 5] = [
    "s3cret-key",
    "s3cret-user",
    "s3cret-sent",
    "s3cret-said",
    "s3cret-place",
];

fn secret_request() -> Request<Body> {
    request(http::Method::POST, Some("s3cret-key"), "s3cret-sent")
}

fn secret_reply(status: StatusCode) -> Response<Body> {
    let mut response = reply(status, "s3cret-said");
    let place = HeaderValue::from_static("/s3cret-place");
    response.headers_mut().insert(LOCATION, place);
    response
}

#[tokio::test]
async fn no_log_and_no_debug_output_holds_a_key_a_principal_or_a_body() {
    let logs = Logs::default();
    let subscriber = tracing_subscriber::registry().with(logs.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let store = MemoryStore::new();
    let layer = IdempotencyLayer::leased(store.clone())
        .scope(|_| Some(Scope::principal("s3cret-user")))
        .with_max_answer_bytes(20);
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let handler = Handler::new(move |request, _| {
        sender.send(format!("{request:?}")).expect("is received");
        let execution = Execution::of(request.extensions()).expect("has a key");
        sender.send(format!("{execution:?}")).expect("is received");
        async { Ok(secret_reply(StatusCode::OK)) }
    });

    // Executed, replayed, reused, too long and gone, invalid, failed.
    send(&layer, &handler, secret_request()).await;
    let cold = layer.clone().with_replay_cache_bytes(0);
    send(&cold, &handler, secret_request()).await;
    let mut reused = secret_request();
    *reused.body_mut() = full("s3cret-sent-otherwise");
    send(&layer, &handler, reused).await;
    let tombstones = cold.clone().with_max_answer_bytes(4).with_namespace("long");
    send(&tombstones, &handler, secret_request()).await;
    let gone = send(&tombstones, &handler, secret_request()).await;
    assert_eq!(gone.headers[LOCATION], "/s3cret-place");
    send(&layer, &handler, post("\"s3cret-key")).await;
    let failing = Handler::saying(|_| secret_reply(StatusCode::INTERNAL_SERVER_ERROR));
    let other = cold.with_namespace("failing");
    send(&other, &failing, secret_request()).await;
    send(&other, &failing, secret_request()).await;
    let error = try_send(&other, &failing, post("")).await;

    let mut text = logs.text();
    assert!(
        text.contains("executed") && text.contains("replayed"),
        "{text}"
    );
    while let Ok(debug) = seen.try_recv() {
        // The URI and the headers of a request are the user's to log; the key among them is too.
        let body = debug.rsplit_once("body:").map_or(&*debug, |(_, body)| body);
        text.push_str(body);
    }
    let response = layer.layer(handler.clone()).oneshot(secret_request()).await;
    let response = response.expect("the service does not fail");
    write!(text, "{:?} {layer:?} {store:?} {error:?}", response.body()).expect("strings grow");
    write!(
        text,
        "{:?} {:?}",
        gone.rejection,
        Scope::principal("s3cret-user")
    )
    .expect("grow");
    let answer = Answer::from(Response::new(Bytes::from("s3cret-said")));
    let key = purlin_idempotency::Key::parse(b"s3cret-key", Default::default());
    write!(text, "{answer:?} {key:?}").expect("strings grow");
    response.into_body().collect().await.expect("is whole");
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}
