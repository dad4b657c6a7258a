//! Codecs: what is stored is what they make of it, and what they cannot read is not guessed at.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::StatusCode;
use purlin_idempotency::{
    AnswerCodec, IdempotencyLayer, IdempotencyStore as _, Key, KeySyntax, Leased, MemoryStore,
    RecordId, Scope, store::State,
};
use purlin_problem::BoxError;

use crate::common::{Handler, post, send};

/// As an AEAD: a mask and a check sum that both depend on the record.
#[derive(Debug, Default)]
struct Sealed {
    fails: AtomicBool,
    makes_nothing: bool,
}

fn mask(id: &RecordId, bytes: &[u8]) -> Vec<u8> {
    let key = id.as_bytes().iter().cycle();
    bytes
        .iter()
        .zip(key)
        .map(|(byte, key)| byte ^ key)
        .collect()
}

impl AnswerCodec for Sealed {
    fn encode(&self, id: &RecordId, plain: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err("no key".into());
        }
        if self.makes_nothing {
            return Ok(Vec::new());
        }
        let mut sealed = mask(id, &plain);
        sealed.extend_from_slice(id.as_bytes());
        Ok(sealed)
    }

    fn decode(&self, id: &RecordId, stored: Bytes) -> Result<Bytes, BoxError> {
        let (sealed, tag) = stored.split_last_chunk::<32>().ok_or("too short")?;
        if tag != id.as_bytes() {
            return Err("another record's".into());
        }
        Ok(mask(id, sealed).into())
    }
}

fn layer(store: &MemoryStore, codec: Sealed) -> IdempotencyLayer<Leased> {
    IdempotencyLayer::leased(store.clone())
        .single_tenant()
        .with_replay_cache_bytes(0)
        .with_codec(codec)
}

fn id(key: &str) -> RecordId {
    let key = Key::parse(key.as_bytes(), KeySyntax::Lenient).expect("is a key");
    RecordId::new("", &Scope::single_tenant(), &key)
}

async fn stored(store: &MemoryStore, key: &str) -> Bytes {
    let existing = store.get(&id(key)).await.expect("memory does not fail");
    match existing.expect("is recorded").state {
        State::Completed { answer, .. } => answer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_stored_is_sealed_and_comes_back() {
    let (store, handler) = (MemoryStore::new(), Handler::counting());
    let layer = layer(&store, Sealed::default());
    send(&layer, &handler, post("k")).await;
    let sealed = stored(&store, "k").await;
    assert_eq!(&sealed[sealed.len() - 32..], id("k").as_bytes());
    assert!(!String::from_utf8_lossy(&sealed).contains("status"));
    let replay = send(&layer, &handler, post("k")).await;
    assert_eq!((replay.is_replay(), replay.text()), (true, "1"));
}

#[tokio::test]
async fn what_cannot_be_encoded_is_remembered_without_its_answer() {
    let failing = Sealed {
        fails: true.into(),
        ..Sealed::default()
    };
    let empty = Sealed {
        makes_nothing: true,
        ..Sealed::default()
    };
    for codec in [failing, empty] {
        let (store, handler) = (MemoryStore::new(), Handler::counting());
        let layer = layer(&store, codec).with_replay_cache_bytes(8 << 20);
        let first = send(&layer, &handler, post("k")).await;
        assert_eq!(first.status, StatusCode::CREATED);
        assert_eq!(stored(&store, "k").await, "");
        for _ in 0..2 {
            let retry = send(&layer, &handler, post("k")).await;
            assert_eq!(retry.status, StatusCode::CONFLICT);
            assert_eq!(retry.problem(), "idempotency-answer-unavailable");
        }
        assert_eq!(handler.calls(), 1);
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_not_executed_again() {
    let (store, handler) = (MemoryStore::new(), Handler::counting());
    let plain = IdempotencyLayer::leased(store.clone()).single_tenant();
    send(&plain, &handler, post("k")).await;
    let sealed = layer(&store, Sealed::default());
    send(&sealed, &handler, post("l")).await;
    // Written without the codec, and read without it.
    let cold = plain.with_replay_cache_bytes(0);
    for (layer, key) in [(&sealed, "k"), (&cold, "l")] {
        let retry = send(layer, &handler, post(key)).await;
        assert_eq!(retry.problem(), "idempotency-answer-unavailable");
    }
    assert_eq!(handler.calls(), 2);
}

#[tokio::test]
async fn memory_holds_what_was_said_and_not_what_is_stored() {
    let (store, handler) = (MemoryStore::new(), Handler::counting());
    let layer = layer(&store, Sealed::default()).with_replay_cache_bytes(8 << 20);
    send(&layer, &handler, post("k")).await;
    store.remove(&id("k")).await.expect("memory does not fail");
    assert!(send(&layer, &handler, post("k")).await.is_replay());
}
