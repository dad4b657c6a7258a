//! gRPC: how it is refused, and what its status says.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE,
};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use purlin_idempotency::Rejection;
use tower::{Layer as _, ServiceExt as _};

use crate::common::{Body, Failed, Handler, full, layer, post, send};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

fn grpc(key: &str, content_type: &'static str) -> Request<Body> {
    let mut request = post(key);
    let value = HeaderValue::from_static(content_type);
    request.headers_mut().insert(CONTENT_TYPE, value);
    request
}

fn answer(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

fn with_trailers(data: &'static [u8], status: Option<u8>) -> Body {
    let mut frames = vec![Ok::<_, Failed>(Frame::data(Bytes::from_static(data)))];
    if let Some(status) = status {
        let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from(u16::from(status)))]);
        frames.push(Ok(Frame::trailers(trailers)));
    }
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

#[tokio::test]
async fn refusals_are_trailers_only() {
    let (layer, handler) = (layer().with_required_key(), Handler::counting());
    let mut missing = grpc("k", "application/grpc+proto");
    missing.headers_mut().remove("idempotency-key");
    for (request, status) in [
        (missing, "3"),
        (grpc("\"unterminated", "application/grpc"), "3"),
    ] {
        let content_type = request.headers()[CONTENT_TYPE].clone();
        let reply = send(&layer, &handler, request).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.headers[CONTENT_TYPE], content_type);
        assert_eq!(reply.headers[GRPC_STATUS], status);
        assert!(reply.headers.contains_key("grpc-message") && reply.body.is_empty());
        assert!(reply.rejection.is_some());
    }
    send(&layer, &handler, grpc("k", "application/grpc")).await;
    let mut reused = grpc("k", "application/grpc");
    *reused.body_mut() = full("other");
    let reused = send(&layer, &handler, reused).await;
    assert_eq!(reused.headers[GRPC_STATUS], "9");
    assert_eq!(reused.rejection, Some(Rejection::KeyReused));
}

/// Whether a retry is replayed (`Some(true)`), executed (`Some(false)`) or refused.
async fn after(make: impl Fn() -> Response<Body> + Send + Sync + 'static) -> Option<bool> {
    let (layer, handler) = (
        layer().with_max_answer_bytes(64),
        Handler::saying(move |_| make()),
    );
    send(&layer, &handler, grpc("k", "application/grpc")).await;
    let retry = send(&layer, &handler, grpc("k", "application/grpc")).await;
    match (retry.is_replay(), handler.calls()) {
        (true, 1) => Some(true),
        (false, 2) => Some(false),
        (false, 1) => None,
        other => panic!("{other:?}"),
    }
}

fn expected(code: u8) -> Option<bool> {
    match code {
        0 | 3 | 5 | 6 | 9 | 11 => Some(true),
        7 | 8 | 12 | 16 => Some(false),
        _ => None,
    }
}

#[tokio::test]
async fn every_status_in_trailers_and_in_the_head() {
    for code in 0..=17 {
        let in_trailers =
            after(move || answer("application/grpc", with_trailers(b"m", Some(code)))).await;
        assert_eq!(in_trailers, expected(code), "{code}");
        let in_head = after(move || {
            let mut response = answer("application/grpc", full(""));
            let status = HeaderValue::from(u16::from(code));
            response.headers_mut().insert(GRPC_STATUS, status);
            response
        });
        assert_eq!(in_head.await, expected(code), "{code}");
    }
    let without = after(|| answer("application/grpc", with_trailers(b"m", None))).await;
    assert_eq!(without, None, "it is broken");
}

#[tokio::test]
async fn the_last_frame_of_grpc_web_says_it() {
    let message = b"\0\0\0\0\x02mm";
    let trailers = |code| {
        let trailers = format!("grpc-message: x\r\nGrpc-Status: {code}\r\n");
        let length = u32::try_from(trailers.len()).expect("is short");
        [&[0x80][..], &length.to_be_bytes(), trailers.as_bytes()].concat()
    };
    for code in 0..=16 {
        let frames = [&message[..], &trailers(code)].concat();
        let binary = Bytes::from(frames.clone());
        let whole = Bytes::from(BASE64.encode(frames));
        // Each frame by itself, and padded.
        let pieces = Bytes::from(BASE64.encode(message) + &BASE64.encode(trailers(code)));
        assert!(pieces[..pieces.len() - 2].contains(&b'='));
        for (content_type, body) in [
            ("application/grpc-web+proto", binary),
            ("application/grpc-web-text", whole),
            ("application/grpc-web-text+proto", pieces),
        ] {
            let after = after(move || answer(content_type, full(body.clone()))).await;
            assert_eq!(after, expected(code), "{code} of {content_type}");
        }
    }
    let no_text = after(|| answer("application/grpc-web-text", full("no base64"))).await;
    assert_eq!(no_text, None);
    for broken in [
        &b""[..],
        b"\0\0\0\0\x09m",
        b"\x80\0\0\0\x01x",
        b"\x80\xff\xff\xff\xff",
    ] {
        let after = after(move || answer("application/grpc-web", full(broken))).await;
        assert_eq!(after, None, "{broken:?}");
    }
}

#[tokio::test]
async fn trailers_are_replayed() {
    let handler = Handler::saying(|_| answer("application/grpc", with_trailers(b"m", Some(9))));
    let layer = layer();
    for is_replay in [false, true] {
        let service = layer.layer(handler.clone());
        let response = service.oneshot(grpc("k", "application/grpc")).await;
        let response = response.expect("the service does not fail");
        assert_eq!(
            response.headers().contains_key("idempotent-replayed"),
            is_replay
        );
        let collected = response.into_body().collect().await.expect("is whole");
        let trailers = collected.trailers().expect("there are some").clone();
        assert_eq!(trailers[GRPC_STATUS], "9");
        assert_eq!(collected.to_bytes(), "m");
    }
}

#[tokio::test]
async fn a_long_answer_is_remembered_before_its_status_is_known() {
    static LONG: [u8; 100] = [b'm'; 100];
    let handler = Handler::saying(|_| answer("application/grpc", with_trailers(&LONG, Some(0))));
    let layer = layer().with_max_answer_bytes(64);
    let first = send(&layer, &handler, grpc("k", "application/grpc")).await;
    assert_eq!(&first.body[..], LONG);
    let retry = send(&layer, &handler, grpc("k", "application/grpc")).await;
    assert_eq!(retry.headers[GRPC_STATUS], "6", "ALREADY_EXISTS");
    assert!(matches!(
        retry.rejection,
        Some(Rejection::AnswerUnavailable { .. })
    ));
    assert_eq!(handler.calls(), 1);
}
