use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode, request::Parts};
use purlin_idempotency::InFlight;

use crate::harness::{Db, Shared, Stage, answer, problem, send};

on_both! {
    a_duplicate_is_told_at_once
    a_duplicate_waits_for_the_answer
    a_client_that_leaves_is_not_waited_for
    an_extractor_gets_the_transaction_once
}

/// Writes, and then waits to be told to go on.
async fn held(stage: Stage, parts: Parts) -> Response<Body> {
    let mut shared = Shared::take(&parts);
    shared.effect().await;
    stage.entered.notify_one();
    stage.go_on.notified().await;
    answer(StatusCode::CREATED, "done")
}

async fn a_duplicate_is_told_at_once(db: Db) {
    let (layer, stage) = (db.transactional(), Stage::default());
    let first = tokio::spawn({
        let (layer, stage) = (layer.clone(), stage.clone());
        async move { send(&layer, &stage, "a", held).await }
    });
    stage.entered.notified().await;
    // Of the same layer, and of another one, which knows of it by the store alone.
    for layer in [layer.clone(), db.transactional()] {
        let reply = send(&layer, &stage, "a", held).await;
        assert_eq!(problem(&reply), (409, "idempotency-in-flight".to_owned()));
        assert_eq!(reply.1["retry-after"], "1");
    }
    let reply = send(&layer, &stage, "b", held).await;
    assert_eq!(problem(&reply), (422, "idempotency-key-reused".to_owned()));
    stage.go_on.notify_one();
    assert_eq!(first.await.unwrap().0, StatusCode::CREATED);
    for layer in [layer, db.transactional()] {
        assert_eq!(send(&layer, &stage, "a", held).await.2, "done");
        let reply = send(&layer, &stage, "b", held).await;
        assert_eq!(problem(&reply), (422, "idempotency-key-reused".to_owned()));
    }
    assert_eq!((stage.runs(), db.effects().await), (1, 1));
}

async fn a_duplicate_waits_for_the_answer(db: Db) {
    let wait = InFlight::Wait {
        timeout: Duration::from_secs(30),
    };
    let stage = Stage::default();
    let layers = [db.transactional(), db.transactional()];
    let layers = layers.map(|layer| layer.with_in_flight(wait));
    let first = tokio::spawn({
        let (layer, stage) = (layers[0].clone(), stage.clone());
        async move { send(&layer, &stage, "a", held).await }
    });
    stage.entered.notified().await;
    let waiting = layers.map(|layer| {
        let stage = stage.clone();
        tokio::spawn(async move { send(&layer, &stage, "a", held).await })
    });
    stage.go_on.notify_one();
    assert_eq!(first.await.unwrap().2, "done");
    for waiting in waiting {
        let reply = waiting.await.unwrap();
        assert_eq!((reply.0, &*reply.2), (StatusCode::CREATED, "done"));
        assert!(reply.1.contains_key("idempotent-replayed"));
    }
    assert_eq!((stage.runs(), db.effects().await), (1, 1));
}

async fn a_client_that_leaves_is_not_waited_for(db: Db) {
    let (layer, stage) = (db.transactional(), Stage::default());
    tokio::select! {
        biased;
        _ = send(&layer, &stage, "a", held) => unreachable!("it is held"),
        () = stage.entered.notified() => {}
    }
    // It goes on by itself.
    stage.go_on.notify_one();
    layer.drain(Duration::from_secs(30)).await.unwrap();
    let reply = send(&layer, &stage, "a", held).await;
    assert_eq!((reply.0, &*reply.2), (StatusCode::CREATED, "done"));
    assert!(reply.1.contains_key("idempotent-replayed"));
    assert_eq!((stage.runs(), db.effects().await), (1, 1));
}

async fn an_extractor_gets_the_transaction_once(db: Db) {
    let (layer, stage) = (db.transactional(), Stage::default());
    let twice = |_, parts: Parts| async move {
        let first = Shared::try_take(&parts);
        let second = Shared::try_take(&parts);
        let taken = (first.is_some(), second.is_some());
        drop(first);
        let again = Shared::try_take(&parts).is_some();
        answer(StatusCode::OK, format!("{taken:?} {again}"))
    };
    let reply = send(&layer, &stage, "", twice).await;
    assert_eq!(reply.2, "(true, false) true");
}
