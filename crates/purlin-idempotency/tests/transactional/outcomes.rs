use std::time::Duration;

use axum::body::Body;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, request::Parts};
use purlin_idempotency::Outcome;

use crate::harness::{Db, Shared, Stage, answer, problem, send};

on_both! {
    an_answer_below_400_commits
    a_refusal_is_kept_and_its_writes_are_not
    what_is_forgotten_leaves_nothing
    a_handler_decides_otherwise
    a_panic_leaves_nothing_and_goes_on
    an_answer_that_breaks_off_leaves_nothing
    an_answer_that_is_too_long_commits
    a_kept_error_of_grpc_commits_nothing
    a_transaction_that_is_not_returned_is_not_committed
    a_commit_that_fails_is_said
    a_handler_that_takes_too_long_leaves_nothing
}

async fn effect(stage: Stage, parts: Parts, status: StatusCode) -> Response<Body> {
    Shared::take(&parts).effect().await;
    answer(status, format!("run {}", stage.runs()))
}

async fn an_answer_below_400_commits(db: Db) {
    for (run, status) in [StatusCode::CREATED, StatusCode::SEE_OTHER]
        .into_iter()
        .enumerate()
    {
        let layer = db.transactional().with_namespace(status.as_str());
        let stage = Stage::default();
        for replayed in [false, true] {
            let reply = send(&layer, &stage, "", move |s, p| effect(s, p, status)).await;
            assert_eq!((reply.0, &*reply.2), (status, "run 1"));
            assert_eq!(reply.1.contains_key("idempotent-replayed"), replayed);
        }
        assert_eq!((stage.runs(), db.effects().await), (1, run as i64 + 1));
    }
}

async fn a_refusal_is_kept_and_its_writes_are_not(db: Db) {
    let (layer, stage) = (db.transactional(), Stage::default());
    for replayed in [false, true] {
        let handler = |s, p| effect(s, p, StatusCode::CONFLICT);
        let reply = send(&layer, &stage, "", handler).await;
        assert_eq!((reply.0, &*reply.2), (StatusCode::CONFLICT, "run 1"));
        assert_eq!(reply.1.contains_key("idempotent-replayed"), replayed);
    }
    assert_eq!((stage.runs(), db.effects().await), (1, 0));
}

async fn what_is_forgotten_leaves_nothing(db: Db) {
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY] {
        let layer = db.transactional().with_namespace(status.as_str());
        let stage = Stage::default();
        let reply = send(&layer, &stage, "", move |s, p| effect(s, p, status)).await;
        assert_eq!((reply.0, &*reply.2), (status, "run 1"));
        assert_eq!(db.effects().await, 0);
        let reply = send(&layer, &stage, "", move |s, p| effect(s, p, status)).await;
        assert_eq!((reply.0, &*reply.2), (status, "run 2"));
    }
    assert_eq!(db.effects().await, 0);
}

async fn a_handler_decides_otherwise(db: Db) {
    let handler = |status, outcome| {
        move |stage, parts| async move {
            let mut response = effect(stage, parts, status).await;
            response.extensions_mut().insert::<Outcome>(outcome);
            response
        }
    };
    let layer = db.transactional();
    let stage = Stage::default();
    for run in 1..=2 {
        let forget = handler(StatusCode::OK, Outcome::Forget);
        let reply = send(&layer, &stage, "", forget).await;
        assert_eq!(reply.2, format!("run {run}"));
    }
    for _ in 0..2 {
        let keep = handler(StatusCode::INTERNAL_SERVER_ERROR, Outcome::Keep);
        let reply = send(&layer, &stage, "", keep).await;
        assert_eq!((reply.0.as_u16(), &*reply.2), (500, "run 3"));
    }
    assert_eq!((stage.runs(), db.effects().await), (3, 0));
}

async fn a_panic_leaves_nothing_and_goes_on(db: Db) {
    let (layer, stage) = (db.transactional(), Stage::default());
    let sent = tokio::spawn({
        let (layer, stage) = (layer.clone(), stage.clone());
        async move {
            let handler = |_, parts| async move {
                let mut shared = Shared::take(&parts);
                shared.effect().await;
                panic!("as it was told")
            };
            send(&layer, &stage, "", handler).await
        }
    });
    assert!(sent.await.unwrap_err().is_panic());
    assert_eq!(db.effects().await, 0);
    let reply = send(&layer, &stage, "", |s, p| effect(s, p, StatusCode::OK)).await;
    assert_eq!(reply.2, "run 2");
    assert_eq!(db.effects().await, 1);
}

async fn an_answer_that_breaks_off_leaves_nothing(db: Db) {
    let (layer, stage) = (db.transactional(), Stage::default());
    let broken = |_, parts| async move {
        Shared::take(&parts).effect().await;
        let frames = [Ok("half"), Err(std::io::Error::other("broken"))];
        answer(StatusCode::OK, Body::from_stream(stream::iter(frames)))
    };
    let reply = send(&layer, &stage, "", broken).await;
    assert_eq!(
        problem(&reply),
        (500, "idempotency-answer-failed".to_owned())
    );
    assert_eq!(db.effects().await, 0);
    send(&layer, &stage, "", |s, p| effect(s, p, StatusCode::OK)).await;
    assert_eq!((stage.runs(), db.effects().await), (2, 1));
}

async fn an_answer_that_is_too_long_commits(db: Db) {
    let (layer, stage) = (
        db.transactional().with_max_answer_bytes(3),
        Stage::default(),
    );
    let long = |_, parts| async move {
        Shared::take(&parts).effect().await;
        answer(StatusCode::CREATED, "four")
    };
    assert_eq!(send(&layer, &stage, "", long).await.2, "four");
    let reply = send(&layer, &stage, "", long).await;
    assert_eq!(
        problem(&reply),
        (409, "idempotency-answer-unavailable".to_owned())
    );
    assert!(reply.2.contains("\"original_status\":201"));
    assert_eq!((stage.runs(), db.effects().await), (1, 1));
}

async fn a_kept_error_of_grpc_commits_nothing(db: Db) {
    let (layer, stage) = (db.transactional(), Stage::default());
    let not_found = |_, parts| async move {
        Shared::take(&parts).effect().await;
        let mut response = answer(StatusCode::OK, "");
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("5"));
        response
    };
    for replayed in [false, true] {
        let reply = send(&layer, &stage, "", not_found).await;
        assert_eq!(
            (reply.0, &reply.1["grpc-status"]),
            (StatusCode::OK, &HeaderValue::from(5))
        );
        assert_eq!(reply.1.contains_key("idempotent-replayed"), replayed);
    }
    assert_eq!((stage.runs(), db.effects().await), (1, 0));
}

async fn a_transaction_that_is_not_returned_is_not_committed(db: Db) {
    let (layer, stage) = (db.transactional(), Stage::default());
    let keep = |stage: Stage, parts: Parts| async move {
        let mut shared = Shared::take(&parts);
        shared.effect().await;
        *stage.kept.lock().unwrap() = Some((shared, parts.extensions.clone()));
        answer(StatusCode::OK, "")
    };
    let reply = send(&layer, &stage, "", keep).await;
    assert_eq!(
        problem(&reply),
        (500, "idempotency-not-committed".to_owned())
    );
    let (kept, extensions) = stage.kept.lock().unwrap().take().unwrap();
    drop(kept);
    // What has come back too late is in nobody's hands any more, although the request lives on.
    assert!(Shared::try_take_of(&extensions).is_none());
    // It is rolled back while nobody waits for that.
    let fine = |s, p| effect(s, p, StatusCode::OK);
    let mut reply = send(&layer, &stage, "", fine).await;
    while reply.0 == StatusCode::CONFLICT {
        reply = send(&layer, &stage, "", fine).await;
    }
    assert_eq!(reply.2, "run 2");
    assert_eq!(db.effects().await, 1);
}

async fn a_commit_that_fails_is_said(db: Db) {
    let (layer, stage) = (db.transactional(), Stage::default());
    for _ in 0..2 {
        let orphan = |_, parts| async move {
            Shared::take(&parts).orphan().await;
            answer(StatusCode::OK, "")
        };
        let mut reply = send(&layer, &stage, "", orphan).await;
        // Postgres says that it has failed before it gives the locks back.
        while reply.0 == StatusCode::CONFLICT {
            reply = send(&layer, &stage, "", orphan).await;
        }
        assert_eq!(
            problem(&reply),
            (503, "idempotency-outcome-unknown".to_owned())
        );
        assert!(reply.1.contains_key("retry-after"));
    }
    assert_eq!((stage.runs(), db.effects().await), (2, 0));
    let fine = |s, p| effect(s, p, StatusCode::OK);
    while send(&layer, &stage, "", fine).await.0 == StatusCode::CONFLICT {}
    assert_eq!(db.effects().await, 1);
}

async fn a_handler_that_takes_too_long_leaves_nothing(db: Db) {
    let layer = db
        .transactional()
        .with_max_execution(Duration::from_millis(50));
    let stage = Stage::default();
    let never = |_, parts| async move {
        let mut shared = Shared::take(&parts);
        shared.effect().await;
        std::future::pending().await
    };
    let reply = send(&layer, &stage, "", never).await;
    assert_eq!(problem(&reply), (503, "idempotency-too-slow".to_owned()));
    let layer = db.transactional();
    send(&layer, &stage, "", |s, p| effect(s, p, StatusCode::OK)).await;
    assert_eq!((stage.runs(), db.effects().await), (2, 1));
}
