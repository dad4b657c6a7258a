//! Copies of one request that arrive at one process together.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{Response, StatusCode, request::Parts};
use purlin_idempotency::{IdempotencyLayer, InFlight};
use purlin_store::testing::drop_at_every_await;
use tokio::task::{JoinSet, yield_now};

use crate::harness::{Db, Shared, Stage, answer, problem, send};

on_both! {
    in_a_transaction_one_has_a_connection
    under_a_lease_one_has_a_connection
    wherever_one_is_dropped_its_copy_gets_an_answer
}

const COPIES: usize = 100;

async fn in_a_transaction_one_has_a_connection(db: Db) {
    let layer = db.transactional().with_store_timeout(PATIENCE);
    one_has_a_connection(&db, layer).await;
}

async fn under_a_lease_one_has_a_connection(db: Db) {
    let layer = db.leased().with_store_timeout(PATIENCE);
    one_has_a_connection(&db, layer).await;
}

const PATIENCE: Duration = Duration::from_secs(60);

async fn one_has_a_connection<M: 'static>(db: &Db, layer: IdempotencyLayer<M>) {
    let (arrived, stage) = (Arc::new(AtomicUsize::new(0)), Stage::default());
    let hold = db.hold().await;
    let mut copies = JoinSet::new();
    for _ in 0..COPIES {
        let (layer, stage, arrived) = (layer.clone(), stage.clone(), Arc::clone(&arrived));
        copies.spawn(async move {
            arrived.fetch_add(1, Ordering::SeqCst);
            send(&layer, &stage, "", held).await
        });
    }
    while arrived.load(Ordering::SeqCst) < COPIES || db.connections_in_use() == 0 {
        yield_now().await;
    }
    for _ in 0..1_000 {
        // One that is on its way back to the pool counts too.
        let in_use = db.connections_in_use();
        assert!(in_use <= 2, "{in_use}");
        yield_now().await;
    }
    assert!(copies.try_join_next().is_none(), "nobody is refused yet");
    // Whoever else needs a connection has one.
    assert_eq!(db.effects().await, 0);
    drop(hold);
    for _ in 1..COPIES {
        let reply = copies.join_next().await.unwrap().unwrap();
        assert_eq!(problem(&reply), (409, "idempotency-in-flight".to_owned()));
    }
    stage.go_on.notify_one();
    let first = copies.join_next().await.unwrap().unwrap();
    assert_eq!((first.0, stage.runs()), (StatusCode::CREATED, 1));
}

async fn held(stage: Stage, _: Parts) -> Response<Body> {
    stage.go_on.notified().await;
    answer(StatusCode::CREATED, "done")
}

async fn wherever_one_is_dropped_its_copy_gets_an_answer(db: Db) {
    let timeout = PATIENCE;
    let layer = db
        .transactional()
        .with_in_flight(InFlight::Wait { timeout });
    let (stage, copy, done) = (Stage::default(), RefCell::new(None), AtomicUsize::new(0));
    let mut dropped = 0;
    // Which places are met differs between runs.
    for _ in 0..10 {
        dropped += drop_at_every_await(
            || {
                let namespace = done.load(Ordering::SeqCst).to_string();
                let layer = layer.clone().with_namespace(namespace);
                let (other, stage) = (layer.clone(), stage.clone());
                let (one, its_stage) = (layer, stage.clone());
                let other = async move { send(&other, &stage, "", write).await };
                *copy.borrow_mut() = Some(tokio::spawn(other));
                async move { send(&one, &its_stage, "", write).await }
            },
            async |at| {
                let copy = copy.borrow_mut().take().unwrap();
                assert_eq!(copy.await.unwrap().2, "done", "{at:?}");
                layer.drain(PATIENCE).await.unwrap();
                let done = done.fetch_add(1, Ordering::SeqCst) + 1;
                assert_eq!(db.effects().await, i64::try_from(done).unwrap(), "{at:?}");
                assert!(format!("{layer:?}").contains("InProcess(0)"), "{at:?}");
            },
        )
        .await;
    }
    assert!(dropped >= 20, "begin at least waits: {dropped}");
}

async fn write(_: Stage, parts: Parts) -> Response<Body> {
    Shared::take(&parts).effect().await;
    answer(StatusCode::CREATED, "done")
}
