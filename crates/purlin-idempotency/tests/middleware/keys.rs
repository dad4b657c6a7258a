//! What a key may look like, and on which requests it means something.

use http::{HeaderValue, Method, StatusCode};
use purlin_idempotency::{KeyError, KeySyntax, Rejection};

use crate::common::{Handler, full, layer, post, request, send};

fn with_value(value: &[u8]) -> http::Request<crate::common::Body> {
    let mut request = post("k");
    let value = HeaderValue::from_bytes(value).expect("is a field value");
    request.headers_mut().insert("idempotency-key", value);
    request
}

#[tokio::test]
async fn what_is_no_key_is_400_and_executes_nothing() {
    let (layer, handler) = (layer(), Handler::counting());
    let long = [b'k'; 10_240];
    let quoted_long = format!("\"{}\"", "k".repeat(256));
    for (value, error, detail) in [
        (&b""[..], KeyError::Empty, "the key is empty"),
        (b"  \t ", KeyError::Empty, "the key is empty"),
        (b"\"\"", KeyError::Empty, "the key is empty"),
        (
            &long,
            KeyError::TooLong,
            "the key has more than 255 characters",
        ),
        (
            quoted_long.as_bytes(),
            KeyError::TooLong,
            "the key has more than 255 characters",
        ),
        (
            "schlüssel".as_bytes(),
            KeyError::Malformed,
            "the key is not a string in quotes",
        ),
        (
            "\"schlüssel\"".as_bytes(),
            KeyError::Malformed,
            "the key is not a string in quotes",
        ),
        (
            b"\xff\xfe",
            KeyError::Malformed,
            "the key is not a string in quotes",
        ),
        (
            b"a\tb",
            KeyError::Malformed,
            "the key is not a string in quotes",
        ),
        (
            b"\"a\tb\"",
            KeyError::Malformed,
            "the key is not a string in quotes",
        ),
        (
            b"\"unterminated",
            KeyError::Malformed,
            "the key is not a string in quotes",
        ),
        (
            b"\"a\", \"b\"",
            KeyError::Malformed,
            "the key is not a string in quotes",
        ),
        (
            b"a, b",
            KeyError::Malformed,
            "the key is not a string in quotes",
        ),
        (
            b"\"bad \\escape\"",
            KeyError::Malformed,
            "the key is not a string in quotes",
        ),
    ] {
        let reply = send(&layer, &handler, with_value(value)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{value:?}");
        assert_eq!(reply.problem(), "idempotency-key-invalid");
        assert_eq!(
            reply.rejection,
            Some(Rejection::KeyInvalid(error)),
            "{value:?}"
        );
        let problem: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        let said = problem["detail"].as_str().expect("says what is wrong");
        assert!(said.starts_with(detail), "{said}");
        assert_eq!(
            reply.headers["link"],
            "</problems/idempotency-key-invalid>; rel=\"describedby\""
        );
    }
    assert_eq!(handler.calls(), 0);
}

#[tokio::test]
async fn control_characters_never_become_a_key() {
    for byte in (0..32).chain([127]) {
        for key in [vec![b'a', byte, b'b'], vec![b'"', byte, b'"']] {
            let parsed = purlin_idempotency::Key::parse(&key, KeySyntax::Lenient);
            assert_eq!(parsed.err(), Some(KeyError::Malformed), "{byte}");
        }
    }
}

#[tokio::test]
async fn two_headers_are_400_even_when_they_are_equal() {
    let (layer, handler) = (layer(), Handler::counting());
    let mut request = post("k");
    request
        .headers_mut()
        .append("idempotency-key", HeaderValue::from_static("k"));
    let reply = send(&layer, &handler, request).await;
    assert_eq!(
        reply.rejection,
        Some(Rejection::KeyInvalid(KeyError::Repeated))
    );
    assert_eq!(
        (reply.status, handler.calls()),
        (StatusCode::BAD_REQUEST, 0)
    );
}

#[tokio::test]
async fn bare_quoted_escaped_and_with_parameters_are_one_key() {
    let (layer, handler) = (layer(), Handler::counting());
    let longest = "k".repeat(255);
    send(&layer, &handler, post(&longest)).await;
    assert!(
        send(&layer, &handler, post(&format!("\"{longest}\"")))
            .await
            .is_replay()
    );
    send(&layer, &handler, post("k-1")).await;
    for same in ["\"k-1\"", " k-1 ", "\"k-1\";v=1"] {
        assert!(
            send(&layer, &handler, post(same)).await.is_replay(),
            "{same}"
        );
    }
    send(&layer, &handler, post("\"a\\\"b\\\\\"")).await;
    assert!(
        send(&layer, &handler, post("\"a\\\"b\\\\\""))
            .await
            .is_replay()
    );
    // Case and spaces within a string count.
    assert!(!send(&layer, &handler, post("K-1")).await.is_replay());
    assert!(!send(&layer, &handler, post("\" k-1\"")).await.is_replay());
    assert_eq!(handler.calls(), 5);
}

#[tokio::test]
async fn strict_takes_strings_only() {
    let (layer, handler) = (
        layer().with_key_syntax(KeySyntax::Strict),
        Handler::counting(),
    );
    for bare in ["k", "8e03978e-40d5-43e8-bc93-6894a57f9324", "1"] {
        let reply = send(&layer, &handler, post(bare)).await;
        assert_eq!(
            reply.rejection,
            Some(Rejection::KeyInvalid(KeyError::Malformed))
        );
    }
    assert_eq!(
        send(&layer, &handler, post("\"k\"")).await.status,
        StatusCode::CREATED
    );
    assert_eq!(handler.calls(), 1);
}

#[tokio::test]
async fn a_required_key_is_required_of_post_and_patch() {
    let (layer, handler) = (layer().with_required_key(), Handler::counting());
    for method in [Method::POST, Method::PATCH] {
        let reply = send(&layer, &handler, request(method, None, "{}")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(reply.problem(), "idempotency-key-missing");
        assert_eq!(
            reply.headers["link"],
            "</problems/idempotency-key-missing>; rel=\"describedby\""
        );
    }
    assert_eq!(handler.calls(), 0);
    for method in [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::PUT,
        Method::DELETE,
    ] {
        let reply = send(&layer, &handler, request(method, None, "")).await;
        assert_eq!(reply.status, StatusCode::CREATED);
    }
}

#[tokio::test]
async fn on_requests_that_change_nothing_a_key_means_nothing() {
    let (layer, handler) = (layer(), Handler::counting());
    for method in [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ] {
        let before = handler.calls();
        for key in ["k", "k", "\"unterminated"] {
            let mut request = request(method.clone(), Some(key), "");
            *request.body_mut() = full("");
            let reply = send(&layer, &handler, request).await;
            assert_eq!(reply.status, StatusCode::CREATED, "{method} {key}");
            assert!(!reply.is_replay());
        }
        assert_eq!(handler.calls(), before + 3);
    }
}

#[tokio::test]
async fn on_all_others_it_is_honoured() {
    let (layer, handler) = (layer(), Handler::counting());
    let purge = Method::from_bytes(b"PURGE").expect("is a method");
    let methods = [
        Method::POST,
        Method::PATCH,
        Method::PUT,
        Method::DELETE,
        purge,
    ];
    for (number, method) in methods.into_iter().enumerate() {
        let key = format!("k{number}");
        send(&layer, &handler, request(method.clone(), Some(&key), "")).await;
        let retry = send(&layer, &handler, request(method.clone(), Some(&key), "")).await;
        assert!(retry.is_replay(), "{method}");
    }
    assert_eq!(handler.calls(), 5);
}

#[tokio::test]
async fn the_rules_may_be_described_elsewhere() {
    let uri = purlin_problem::UriRef::parse("https://api.example/docs/keys").expect("is a URI");
    let (layer, handler) = (layer().with_described_by(uri), Handler::counting());
    let reply = send(&layer, &handler, post("")).await;
    assert_eq!(
        reply.headers["link"],
        "<https://api.example/docs/keys>; rel=\"describedby\""
    );
}
