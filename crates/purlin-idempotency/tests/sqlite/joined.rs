//! Records that are written in a transaction of the caller.

use purlin_idempotency::store::{Claim, Fenced};
use purlin_idempotency::{IdempotencyStore as _, Inbox, LeaseLost, Received};
use purlin_store::StoreErrorKind;
use purlin_store::sqlite::begin_immediate;

use crate::harness::{
    HOUR, MINUTE, acquire, answer, completion, effects, id, insert_effect, place,
};

#[tokio::test]
async fn a_completion_is_committed_with_the_work() {
    let place = place().await;
    for (n, commit) in [(1, true), (2, false)] {
        let lease = acquire(&place.store, id(n)).await;
        let mut work = begin_immediate(&place.pool).await.unwrap();
        insert_effect(&mut work, n).await;
        let fenced = place
            .store
            .complete_in(&mut work, &lease, &completion("done"))
            .await
            .unwrap();
        assert_eq!(fenced, Fenced::Applied);
        if commit {
            work.commit().await.unwrap();
            assert_eq!(answer(&place.store, &id(n)).await.unwrap(), "done");
        } else {
            work.rollback().await.unwrap();
            // Still at work.
            let fenced = place.store.extend(&lease, MINUTE).await.unwrap();
            assert_eq!(fenced, Fenced::Applied);
        }
    }
    assert_eq!(effects(&place.pool).await, [1]);
}

#[tokio::test]
async fn a_completion_is_fenced() {
    let place = place().await;
    let late = acquire(&place.store, id(1)).await;
    place.clock.advance(MINUTE);
    let claim = Claim::new(id(1), MINUTE).with_lease_lost(LeaseLost::Reexecute);
    place.store.claim(&claim).await.unwrap();
    let mut work = begin_immediate(&place.pool).await.unwrap();
    let fenced = place
        .store
        .complete_in(&mut work, &late, &completion("late"))
        .await
        .unwrap();
    assert_eq!(fenced, Fenced::Lost);
}

#[tokio::test]
async fn a_message_is_received_once_for_each_consumer() {
    let place = place().await;
    let receive = async |inbox: &Inbox, message: &[u8], commit: bool| {
        let mut work = begin_immediate(&place.pool).await.unwrap();
        let received = place.store.receive_in(&mut work, inbox, message).await;
        if commit {
            work.commit().await.unwrap();
        }
        received.unwrap()
    };
    let (mail, stock) = (
        Inbox::new("mail").with_retention(HOUR),
        Inbox::new("stock").with_retention(HOUR),
    );
    assert_eq!(receive(&mail, b"1", false).await, Received::First);
    assert_eq!(receive(&mail, b"1", true).await, Received::First);
    assert_eq!(receive(&mail, b"1", true).await, Received::Duplicate);
    assert_eq!(receive(&mail, b"2", true).await, Received::First);
    assert_eq!(receive(&stock, b"1", true).await, Received::First);
    assert_eq!(receive(&mail, b"", true).await, Received::First);
    place.clock.advance(HOUR);
    assert_eq!(receive(&mail, b"1", true).await, Received::First);
    assert_eq!(receive(&mail, b"1", true).await, Received::Duplicate);
}

/// Its snapshot is from before another writer, and SQLite does not wait then.
#[tokio::test]
async fn a_transaction_that_has_only_read_conflicts() {
    let place = place().await;
    let mut reader = place.pool.begin().await.unwrap();
    sqlx::query("select count(*) from effects")
        .execute(&mut *reader)
        .await
        .unwrap();
    acquire(&place.store, id(1)).await;
    let received = place
        .store
        .receive_in(&mut reader, &Inbox::new("mail"), b"1")
        .await;
    assert_eq!(received.unwrap_err().kind(), StoreErrorKind::Conflict);
}
