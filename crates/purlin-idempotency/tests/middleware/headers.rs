//! Which headers are sent again.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tower::{Layer as _, ServiceExt as _};

use crate::common::{Handler, full, layer, post, reply, send};

fn answering(headers: &'static [(&'static str, &'static [u8])]) -> Handler {
    Handler::saying(move |_| {
        let mut response = reply(StatusCode::CREATED, "x");
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value).expect("is a field value");
            response.headers_mut().append(*name, value);
        }
        response
    })
}

const NEVER: &[(&str, &[u8])] = &[
    ("set-cookie", b"session=1"),
    ("www-authenticate", b"Basic"),
    ("proxy-authenticate", b"Basic"),
    ("authentication-info", b"x"),
    ("proxy-authentication-info", b"x"),
    ("connection", b"close, X-Hop"),
    ("x-hop", b"1"),
    ("keep-alive", b"timeout=5"),
    ("proxy-connection", b"close"),
    ("te", b"trailers"),
    ("trailer", b"x"),
    ("transfer-encoding", b"chunked"),
    ("upgrade", b"h2c"),
    ("content-length", b"1"),
    ("date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    ("age", b"1"),
    ("server", b"x"),
    ("via", b"1.1 x"),
    ("alt-svc", b"clear"),
    ("ratelimit", b"x"),
    ("ratelimit-policy", b"x"),
    ("ratelimit-remaining", b"1"),
    ("x-ratelimit-limit", b"1"),
    ("server-timing", b"x"),
    ("traceparent", b"x"),
    ("tracestate", b"x"),
    ("x-request-id", b"x"),
];

#[tokio::test]
async fn what_belongs_to_one_exchange_is_not_sent_again() {
    let handler = answering(NEVER);
    for layer in [layer(), layer().with_replay_cache_bytes(0)] {
        let first = send(&layer, &handler, post("k")).await;
        for (name, value) in NEVER {
            assert_eq!(
                first.headers[*name].as_bytes(),
                *value,
                "the first has them all"
            );
        }
        let replay = send(&layer, &handler, post("k")).await;
        let marked = HeaderMap::from_iter([(
            HeaderName::from_static("idempotent-replayed"),
            HeaderValue::from_static("true"),
        )]);
        assert_eq!(replay.headers, marked);
    }
}

#[tokio::test]
async fn all_others_are_in_their_order_and_as_they_were() {
    const KEPT: &[(&str, &[u8])] = &[
        ("location", b"/orders/7"),
        ("link", b"</1>; rel=a"),
        ("etag", b"\"7\""),
        ("link", b"</2>; rel=b"),
        ("link", b""),
        ("x-name", b"J\xfcrgen \"\\ \xf0\x9f\x98\x80"),
        ("content-type", b"application/json"),
        ("content-encoding", b"identity"),
        ("retry-after", b"7"),
    ];
    let handler = answering(KEPT);
    for layer in [layer(), layer().with_replay_cache_bytes(0)] {
        let first = send(&layer, &handler, post("k")).await;
        let mut replay = send(&layer, &handler, post("k")).await;
        assert!(replay.headers.remove("idempotent-replayed").is_some());
        assert_eq!(replay.headers, first.headers);
        let links: Vec<_> = replay.headers.get_all(header::LINK).iter().collect();
        assert_eq!(links, ["</1>; rel=a", "</2>; rel=b", ""]);
    }
}

#[tokio::test]
async fn a_route_may_keep_less() {
    let handler = answering(&[("x-internal", b"1"), ("x-other", b"2")]);
    let layer = layer().with_header_not_kept(HeaderName::from_static("x-internal"));
    assert!(
        send(&layer, &handler, post("k"))
            .await
            .headers
            .contains_key("x-internal")
    );
    let replay = send(&layer, &handler, post("k")).await;
    assert!(!replay.headers.contains_key("x-internal"));
    assert_eq!(replay.headers["x-other"], "2");
}

#[tokio::test]
async fn what_the_handler_says_of_replays_is_not_believed_on_a_replay() {
    let handler = answering(&[("idempotent-replayed", b"false")]);
    let layer = layer();
    send(&layer, &handler, post("k")).await;
    let replay = send(&layer, &handler, post("k")).await;
    let values: Vec<_> = replay
        .headers
        .get_all("idempotent-replayed")
        .iter()
        .collect();
    assert_eq!(values, ["true"]);
}

#[tokio::test]
async fn trailers_obey_the_same_rules() {
    let handler = Handler::saying(|_| {
        let trailers = HeaderMap::from_iter([
            (
                HeaderName::from_static("server-timing"),
                HeaderValue::from_static("db;dur=5"),
            ),
            (
                HeaderName::from_static("x-digest"),
                HeaderValue::from_static("abc"),
            ),
        ]);
        let body = full("x").with_trailers(async { Some(Ok(trailers)) });
        Response::new(body.boxed_unsync())
    });
    let layer = layer();
    for names in [&["server-timing", "x-digest"][..], &["x-digest"]] {
        let response = layer.layer(handler.clone()).oneshot(post("k")).await;
        let body = response.expect("does not fail").into_body().collect().await;
        let body = body.expect("is whole");
        let trailers = body.trailers().expect("has some");
        assert_eq!(trailers.keys().collect::<Vec<_>>(), names);
    }
}
