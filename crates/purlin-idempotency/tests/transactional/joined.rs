use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{Response, StatusCode, request::Parts};
use purlin_idempotency::{Answer, CompleteError, Event, Execution, Observer, RequestTransaction};
use sqlx::Sqlite;

use crate::harness::{Db, Stage, answer, problem, send};

on_both! {
    a_lease_is_completed_with_the_effect
    a_completion_that_is_rolled_back_is_none
    a_completion_that_was_not_committed_is_noticed
    what_was_committed_counts
    a_transaction_that_lasts_is_no_lost_lease
    without_a_lease_there_is_nothing_to_complete
    of_two_transactions_the_one_that_was_committed_counts
}

fn created() -> Answer {
    Answer::json(StatusCode::CREATED, "booked").unwrap()
}

/// Completes its lease, and then answers with this status.
async fn complete(db: &Db, parts: &Parts, commit: bool, status: StatusCode) -> Response<Body> {
    let execution = Execution::of(&parts.extensions).unwrap();
    db.complete_in(execution, &created(), commit).await.unwrap();
    match status {
        StatusCode::CREATED => Response::from(created()).map(Body::from),
        status => answer(status, "something else"),
    }
}

async fn a_lease_is_completed_with_the_effect(db: Db) {
    let (db, stage) = (Arc::new(db), Stage::default());
    let layer = db.leased();
    for replayed in [false, true] {
        let db = Arc::clone(&db);
        let handler = move |_, parts| {
            let db = Arc::clone(&db);
            async move { complete(&db, &parts, true, StatusCode::CREATED).await }
        };
        let reply = send(&layer, &stage, "", handler).await;
        assert_eq!((reply.0, &*reply.2), (StatusCode::CREATED, "\"booked\""));
        assert_eq!(reply.1["content-type"], "application/json");
        assert_eq!(reply.1.contains_key("idempotent-replayed"), replayed);
    }
    assert_eq!((stage.runs(), db.effects().await), (1, 1));
}

async fn a_completion_that_is_rolled_back_is_none(db: Db) {
    let (db, stage) = (Arc::new(db), Stage::default());
    let layer = db.leased();
    for replayed in [false, true] {
        let db = Arc::clone(&db);
        let handler = move |_, parts| {
            let db = Arc::clone(&db);
            async move { complete(&db, &parts, false, StatusCode::CONFLICT).await }
        };
        let reply = send(&layer, &stage, "", handler).await;
        assert_eq!(
            (reply.0, &*reply.2),
            (StatusCode::CONFLICT, "something else")
        );
        assert_eq!(reply.1.contains_key("idempotent-replayed"), replayed);
    }
    assert_eq!((stage.runs(), db.effects().await), (1, 0));
}

async fn a_completion_that_was_not_committed_is_noticed(db: Db) {
    let (db, stage) = (Arc::new(db), Stage::default());
    let layer = db.leased();
    for slug in ["idempotency-not-committed", "idempotency-indeterminate"] {
        let db = Arc::clone(&db);
        let handler = move |_, parts| {
            let db = Arc::clone(&db);
            async move { complete(&db, &parts, false, StatusCode::CREATED).await }
        };
        let reply = send(&layer, &stage, "", handler).await;
        assert_eq!(problem(&reply).1, slug);
    }
    assert_eq!((stage.runs(), db.effects().await), (1, 0));
}

async fn what_was_committed_counts(db: Db) {
    let (db, stage) = (Arc::new(db), Stage::default());
    let layer = db.leased();
    for _ in 0..2 {
        let db = Arc::clone(&db);
        let handler = move |_, parts| {
            let db = Arc::clone(&db);
            async move { complete(&db, &parts, true, StatusCode::BAD_GATEWAY).await }
        };
        let reply = send(&layer, &stage, "", handler).await;
        assert_eq!((reply.0, &*reply.2), (StatusCode::CREATED, "\"booked\""));
    }
    assert_eq!((stage.runs(), db.effects().await), (1, 1));
}

#[derive(Clone, Debug, Default)]
struct LostLeases(Arc<AtomicUsize>);

impl Observer for LostLeases {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::LeaseLost { .. } = event {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Heartbeats wait for the row meanwhile, and then find it completed.
async fn a_transaction_that_lasts_is_no_lost_lease(db: Db) {
    let (db, stage, lost) = (Arc::new(db), Stage::default(), LostLeases::default());
    let layer = db.leased().with_observer(lost.clone());
    let layer = layer.with_lease_ttl(Duration::from_millis(30));
    let handler = {
        let db = Arc::clone(&db);
        move |_, parts| {
            let db = Arc::clone(&db);
            async move {
                let response = complete(&db, &parts, true, StatusCode::CREATED).await;
                // Several heartbeats find that it is over.
                tokio::time::sleep(Duration::from_millis(200)).await;
                response
            }
        }
    };
    let reply = send(&layer, &stage, "", handler).await;
    assert_eq!(reply.0, StatusCode::CREATED);
    assert_eq!(lost.0.load(Ordering::SeqCst), 0);
}

async fn without_a_lease_there_is_nothing_to_complete(db: Db) {
    let (db, stage) = (Arc::new(db), Stage::default());
    let handler = {
        let db = Arc::clone(&db);
        move |_, parts: Parts| {
            let db = Arc::clone(&db);
            async move {
                let execution = Execution::of(&parts.extensions).unwrap();
                let refused = match &*db {
                    // The request's own transaction is open: no other may be.
                    Db::Sqlite { store, .. } => {
                        let shared = RequestTransaction::<Sqlite>::take(&parts.extensions);
                        let mut shared = shared.unwrap();
                        execution.complete_in(store, &mut *shared, &created()).await
                    }
                    Db::Postgres { .. } => db.complete_in(execution, &created(), true).await,
                };
                assert!(matches!(refused, Err(CompleteError::NoLease)));
                answer(StatusCode::OK, "")
            }
        }
    };
    let reply = send(&db.transactional(), &stage, "", handler).await;
    assert_eq!(reply.0, StatusCode::OK);
}

/// As after a serialization failure: the handler tries again in another transaction.
async fn of_two_transactions_the_one_that_was_committed_counts(db: Db) {
    let (db, stage) = (Arc::new(db), Stage::default());
    // With answers in memory.
    let layer = db.leased().with_replay_cache_bytes(1 << 20);
    for replayed in [false, true] {
        let db = Arc::clone(&db);
        let handler = move |_, parts: Parts| {
            let db = Arc::clone(&db);
            async move {
                let execution = Execution::of(&parts.extensions).unwrap();
                let first = Answer::json(StatusCode::CREATED, "first").unwrap();
                db.complete_in(execution, &first, false).await.unwrap();
                let second = Answer::json(StatusCode::CREATED, "second").unwrap();
                db.complete_in(execution, &second, true).await.unwrap();
                Response::from(second).map(Body::from)
            }
        };
        let reply = send(&layer, &stage, "", handler).await;
        assert_eq!((reply.0, &*reply.2), (StatusCode::CREATED, "\"second\""));
        assert_eq!(reply.1.contains_key("idempotent-replayed"), replayed);
    }
    assert_eq!((stage.runs(), db.effects().await), (1, 1));
}
