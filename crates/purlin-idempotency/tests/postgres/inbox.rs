//! Messages that are delivered more than once.

use std::time::Duration;

use purlin_idempotency::{IdempotencyStore as _, Inbox, Received};
use purlin_store::StoreErrorKind;
use sqlx::PgPool;

use crate::harness::{Db, MINUTE, id, write_effect};

/// Until a session of this database waits for the end of another one's transaction.
pub(crate) async fn until_somebody_waits(pool: &PgPool) {
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiting)
        .fetch_one(pool)
        .await
        .unwrap()
        == 0
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_message_is_received_once_by_each_consumer() {
    let Some(db) = Db::create().await else {
        return;
    };
    let long = [7; 10_000];
    for message in [&b""[..], b"1", b"\0", &long] {
        for consumer in ["mail", "invoices"] {
            let inbox = Inbox::new(consumer);
            for expected in [Received::First, Received::Duplicate, Received::Duplicate] {
                let mut transaction = db.pool.begin().await.unwrap();
                let received = db.store.receive_in(&mut transaction, &inbox, message).await;
                assert_eq!(received.unwrap(), expected);
                transaction.commit().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn within_one_transaction_too() {
    let Some(db) = Db::create().await else {
        return;
    };
    let inbox = Inbox::new("mail");
    let mut transaction = db.pool.begin().await.unwrap();
    for expected in [Received::First, Received::Duplicate] {
        let received = db.store.receive_in(&mut transaction, &inbox, b"1").await;
        assert_eq!(received.unwrap(), expected);
    }
}

/// With two connections, one for each: who left a lock would be waited for for ever.
#[tokio::test]
async fn duplicates_do_not_wait_for_each_other() {
    let Some(db) = Db::with_connections(2).await else {
        return;
    };
    let inbox = Inbox::new("mail");
    let mut one = db.pool.begin().await.unwrap();
    let first = db.store.receive_in(&mut one, &inbox, b"1").await;
    assert_eq!(first.unwrap(), Received::First);
    one.commit().await.unwrap();
    let mut one = db.pool.begin().await.unwrap();
    let mut other = db.pool.begin().await.unwrap();
    for transaction in [&mut one, &mut other] {
        let received = db.store.receive_in(transaction, &inbox, b"1").await;
        assert_eq!(received.unwrap(), Received::Duplicate);
    }
}

#[tokio::test]
async fn a_delivery_that_arrives_meanwhile_waits_for_the_first() {
    let Some(db) = Db::create().await else {
        return;
    };
    let inbox = Inbox::new("mail");
    for (message, commit, expected) in [
        (b"a", true, Received::Duplicate),
        (b"b", false, Received::First),
    ] {
        let mut first = db.pool.begin().await.unwrap();
        let received = db.store.receive_in(&mut first, &inbox, message).await;
        assert_eq!(received.unwrap(), Received::First);
        write_effect(&mut first, &id(1)).await;

        let (store, pool, inbox) = (db.store.clone(), db.pool.clone(), inbox.clone());
        let second = tokio::spawn(async move {
            let mut transaction = pool.begin().await.unwrap();
            let received = store.receive_in(&mut transaction, &inbox, message).await;
            transaction.commit().await.unwrap();
            received.unwrap()
        });
        until_somebody_waits(&db.pool).await;
        assert!(!second.is_finished());
        if commit {
            first.commit().await.unwrap();
        } else {
            first.rollback().await.unwrap();
        }
        assert_eq!(second.await.unwrap(), expected);
    }
    assert_eq!(db.effects(&id(1)).await, 1);
}

/// The isolation in which a statement does not see what was committed since the transaction began.
#[tokio::test]
async fn above_read_committed_a_delivery_meanwhile_is_a_conflict() {
    let Some(db) = Db::create().await else {
        return;
    };
    let inbox = Inbox::new("mail");
    let text = "begin isolation level repeatable read";
    let mut late = db.pool.begin_with(text).await.unwrap();
    sqlx::raw_sql("select 1 from effects")
        .execute(&mut *late)
        .await
        .unwrap();
    let mut first = db.pool.begin().await.unwrap();
    let received = db.store.receive_in(&mut first, &inbox, b"1").await;
    assert_eq!(received.unwrap(), Received::First);
    first.commit().await.unwrap();
    let error = db.store.receive_in(&mut late, &inbox, b"1").await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Conflict);
}

#[tokio::test]
async fn an_id_is_forgotten_after_its_time() {
    let Some(db) = Db::create().await else {
        return;
    };
    let inbox = Inbox::new("mail").with_retention(MINUTE);
    let mut connection = db.pool.acquire().await.unwrap();
    let step = Duration::from_secs(30);
    for expected in [Received::First, Received::Duplicate, Received::First] {
        let received = db.store.receive_in(&mut connection, &inbox, b"1").await;
        assert_eq!(received.unwrap(), expected);
        db.clock.advance(step);
    }
    assert_eq!(db.store.purge_expired(10).await.unwrap(), 0);
    db.clock.advance(step);
    assert_eq!(db.store.purge_expired(10).await.unwrap(), 1);
}
