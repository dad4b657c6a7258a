use http::Extensions;
use purlin_idempotency::store::{Begun, Completion, Settled, UnitOfWork};
use purlin_idempotency::{IdempotencyStore as _, RequestTransaction, TransactionalStore as _};
use purlin_store::{Clock as _, StoreErrorKind};
use purlin_testkit::TestFile;
use sqlx::{Acquire as _, Sqlite, SqliteConnection};

use crate::harness::{
    HOUR, Place, acquire, answer, completion, config, effect, effects, fingerprint, id, impatient,
    insert_effect, place, prepare, started,
};

#[tokio::test]
async fn the_effect_and_its_record_are_one_commit() {
    let place = place().await;
    let mut unit = started(&place.store, &id(1)).await;
    effect(&mut *unit, 1).await;
    assert_eq!(effects(&place.pool).await, [0; 0]);
    assert_eq!(answer(&place.store, &id(1)).await, None);
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert_eq!(effects(&place.pool).await, [1]);
    assert_eq!(answer(&place.store, &id(1)).await.unwrap(), "done");
    assert!(matches!(
        place.store.begin(&id(1)).await.unwrap(),
        Begun::Existing(_)
    ));

    // What has expired is overwritten.
    place.clock.advance(HOUR);
    let unit = started(&place.store, &id(1)).await;
    let settled = unit.commit(&completion("again")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert_eq!(answer(&place.store, &id(1)).await.unwrap(), "again");
}

#[tokio::test]
async fn refusing_keeps_the_record_alone_and_rolling_back_keeps_nothing() {
    let place = place().await;
    let mut unit = started(&place.store, &id(1)).await;
    effect(&mut *unit, 1).await;
    let settled = unit.refuse(&completion("no")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert_eq!(answer(&place.store, &id(1)).await.unwrap(), "no");

    let mut unit = started(&place.store, &id(2)).await;
    effect(&mut *unit, 2).await;
    unit.roll_back().await.unwrap();
    assert_eq!(answer(&place.store, &id(2)).await, None);
    started(&place.store, &id(2)).await;
    assert_eq!(effects(&place.pool).await, [0; 0]);
}

/// Not even a connection is needed to find out: the only one is with the first.
#[tokio::test]
async fn a_duplicate_in_the_same_process_is_busy_at_once() {
    let file = TestFile::new();
    let pool = config(file.path()).with_max_connections(1).connect().await;
    let place = prepare(file, pool.unwrap()).await;
    let clone = place.store.clone();
    let busy = async || matches!(clone.begin(&id(1)).await.unwrap(), Begun::Busy);
    for end in 0..4 {
        let unit = started(&place.store, &id(1)).await;
        assert!(busy().await);
        match end {
            0 => drop(unit),
            1 => unit.roll_back().await.unwrap(),
            2 => {
                let settled = unit.commit(&completion("done")).await.unwrap();
                assert_eq!(settled, Settled::Applied);
            }
            _ => {
                let settled = unit.refuse(&completion("no")).await.unwrap();
                assert_eq!(settled, Settled::Applied);
            }
        }
        assert!(!busy().await, "after end {end}");
        place.store.remove(&id(1)).await.unwrap();
    }
}

/// Other ids wait for the file, not for the table; a record can be read meanwhile.
#[tokio::test]
async fn replays_proceed_beside_a_unit_of_work() {
    let place = place().await;
    let unit = started(&place.store, &id(1)).await;
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    let impatient = impatient(&place).await;

    let unit = started(&place.store, &id(2)).await;
    assert!(matches!(
        impatient.begin(&id(1)).await.unwrap(),
        Begun::Existing(_)
    ));
    let error = impatient.begin(&id(3)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error:?}");
    drop(unit);
    // The place of an id that could not begin was given back.
    place.store.begin(&id(3)).await.unwrap();
}

/// Who waits to write has no connection meanwhile.
#[tokio::test]
async fn writers_that_wait_leave_the_connections_to_readers() {
    let file = TestFile::new();
    let pool = config(file.path()).with_max_connections(2).connect().await;
    let place = prepare(file, pool.unwrap()).await;
    let unit = started(&place.store, &id(0)).await;
    let waiting: Vec<_> = (1..=10)
        .map(|n| {
            let store = place.store.clone();
            tokio::spawn(async move {
                if n % 2 == 0 {
                    acquire(&store, id(n)).await;
                } else {
                    let unit = started(&store, &id(n)).await;
                    let settled = unit.commit(&completion("done")).await.unwrap();
                    assert_eq!(settled, Settled::Applied);
                }
            })
        })
        .collect();
    // Often enough for the others to take every connection, if they were to.
    for _ in 0..200 {
        assert_eq!(place.store.get(&id(0)).await.unwrap(), None);
    }
    drop(unit);
    for task in waiting {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_transaction_that_is_kept_is_not_returned() {
    let place = place().await;
    for refuse in [false, true] {
        let mut unit = started(&place.store, &id(1)).await;
        let mut extensions = Extensions::new();
        unit.share(&mut extensions);
        let mut kept = RequestTransaction::<Sqlite>::take(&extensions).unwrap();
        assert!(RequestTransaction::<Sqlite>::take(&extensions).is_none());
        insert_effect(&mut kept, 1).await;
        let settled = if refuse {
            unit.refuse(&completion("done")).await
        } else {
            unit.commit(&completion("done")).await
        };
        assert_eq!(settled.unwrap(), Settled::NotReturned);
        drop((kept, extensions));
        assert_eq!(effects(&place.pool).await, [0; 0]);
        assert_eq!(answer(&place.store, &id(1)).await, None);
    }
    started(&place.store, &id(1)).await;
}

/// The extensions of a request may outlive its unit of work.
#[tokio::test]
async fn a_unit_that_is_dropped_gives_the_lock_back() {
    let place = place().await;
    let mut extensions = Extensions::new();
    let mut unit = started(&place.store, &id(1)).await;
    unit.share(&mut extensions);
    effect(&mut *unit, 1).await;
    drop(unit);
    assert!(RequestTransaction::<Sqlite>::take(&extensions).is_none());
    acquire(&place.store, id(2)).await;
    assert_eq!(effects(&place.pool).await, [0; 0]);
}

/// The insert is the arbiter. A clock that goes back shows it a record that was not there at `begin`.
#[tokio::test]
async fn a_record_that_was_there_first_wins() {
    let place = place().await;
    let unit = started(&place.store, &id(1)).await;
    let settled = unit.commit(&completion("first")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    for refuse in [false, true] {
        place.clock.advance(HOUR);
        let mut unit = started(&place.store, &id(1)).await;
        effect(&mut *unit, 1).await;
        place.clock.set(place.clock.now() - HOUR);
        let settled = if refuse {
            unit.refuse(&completion("second")).await
        } else {
            unit.commit(&completion("second")).await
        };
        assert_eq!(settled.unwrap(), Settled::Lost);
        assert_eq!(effects(&place.pool).await, [0; 0]);
        assert_eq!(answer(&place.store, &id(1)).await.unwrap(), "first");
    }
}

/// How a handler can lose its transaction without being told by the driver.
const ENDS: [&str; 5] = [
    "insert or rollback into effects (id) values (1)",
    "insert into effects (id) values (-1)",
    "insert into effects (body) values (randomblob(10000000))",
    "rollback",
    // It is not the handler's to commit.
    "commit",
];

/// A file with one connection, little room, and no negative effects.
async fn cramped() -> Place {
    let file = TestFile::new();
    let pool = config(file.path()).with_max_connections(1).connect().await;
    let place = prepare(file, pool.unwrap()).await;
    sqlx::raw_sql(
        "pragma max_page_count = 100;
         create trigger positive before insert on effects when new.id < 0
         begin select raise(rollback, 'negative'); end",
    )
    .execute(&place.pool)
    .await
    .unwrap();
    place
}

/// A handler that ignores the error which it got, and answers as if all were well.
#[tokio::test]
async fn what_sqlite_has_rolled_back_is_not_committed() {
    for end in ENDS {
        let place = cramped().await;
        let mut unit = started(&place.store, &id(1)).await;
        effect(&mut *unit, 1).await;
        ignored(&mut *unit, end).await;
        let error = unit.commit(&completion("done")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
        assert_eq!(effects(&place.pool).await, [0; 0], "{end}");
        assert_eq!(answer(&place.store, &id(1)).await, None, "{end}");

        // What keeps nothing of the handler's is not disturbed, nor is the only connection.
        let mut unit = started(&place.store, &id(1)).await;
        effect(&mut *unit, 1).await;
        ignored(&mut *unit, end).await;
        unit.roll_back().await.unwrap();
        let mut unit = started(&place.store, &id(1)).await;
        effect(&mut *unit, 1).await;
        ignored(&mut *unit, end).await;
        let settled = unit.refuse(&completion("no")).await.unwrap();
        assert_eq!(settled, Settled::Applied, "{end}");
        assert_eq!(effects(&place.pool).await, [0; 0], "{end}");
    }
}

/// Each statement after that would be a commit of its own.
#[tokio::test]
async fn what_a_handler_writes_after_that_is_refused() {
    let more = [
        "insert into effects (id) values (2)",
        "begin; insert into effects (id) values (2); commit",
        "savepoint s; insert into effects (id) values (2); release s",
        "create table more (id)",
    ];
    for (end, more) in ENDS.iter().flat_map(|end| more.map(|more| (end, more))) {
        let place = cramped().await;
        let mut unit = started(&place.store, &id(1)).await;
        effect(&mut *unit, 1).await;
        ignored(&mut *unit, end).await;
        ignored(&mut *unit, more).await;
        let error = unit.commit(&completion("done")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
        assert_eq!(effects(&place.pool).await, [0; 0], "{end}; {more}");
        assert_eq!(answer(&place.store, &id(1)).await, None, "{end}; {more}");

        // A retry is executed.
        let mut unit = started(&place.store, &id(1)).await;
        effect(&mut *unit, 1).await;
        let settled = unit.commit(&completion("done")).await.unwrap();
        assert_eq!(settled, Settled::Applied);
        assert_eq!(effects(&place.pool).await, [1]);
        sqlx::raw_sql("create table more (id)")
            .execute(&place.pool)
            .await
            .unwrap();
    }
}

/// A task that still has the transaction when the request is answered, and is aborted as it writes.
#[tokio::test]
async fn what_nobody_waits_for_any_more_is_refused() {
    let place = cramped().await;
    let mut unit = started(&place.store, &id(1)).await;
    effect(&mut *unit, 1).await;
    ignored(&mut *unit, ENDS[0]).await;
    let mut extensions = Extensions::new();
    unit.share(&mut extensions);
    let mut kept = RequestTransaction::<Sqlite>::take(&extensions).unwrap();
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::NotReturned);
    // SQLite is at it for longer than it takes to drop it.
    let slow = sqlx::query(
        "with recursive n(n) as (select 1 union all select n + 1 from n where n < 1000000)
         insert into effects (id) select max(n) from n",
    );
    let mut write = Box::pin(slow.execute(&mut *kept));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx)));
    assert!(polled.await.is_pending());
    drop(write);
    drop(kept);
    assert_eq!(effects(&place.pool).await, [0; 0]);
    effect(&mut *started(&place.store, &id(1)).await, 1).await;
}

/// The insert of the record itself can be what SQLite rolls back for.
#[tokio::test]
async fn a_record_for_which_there_is_no_room_leaves_nothing() {
    let place = cramped().await;
    let mut unit = started(&place.store, &id(1)).await;
    effect(&mut *unit, 1).await;
    let large = Completion::new(fingerprint(1), vec![0; 10_000_000].into(), HOUR);
    let error = unit.commit(&large).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    assert_eq!(effects(&place.pool).await, [0; 0]);

    let mut unit = started(&place.store, &id(1)).await;
    effect(&mut *unit, 1).await;
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert_eq!(effects(&place.pool).await, [1]);
}

async fn ignored(unit: &mut dyn UnitOfWork, sql: &'static str) {
    let mut extensions = Extensions::new();
    unit.share(&mut extensions);
    let mut transaction = RequestTransaction::<Sqlite>::take(&extensions).unwrap();
    let _ = sqlx::raw_sql(sql).execute(&mut *transaction).await;
}

/// Errors that end one statement, and savepoints, leave the transaction what it was.
#[tokio::test]
async fn what_a_handler_rolls_back_itself_does_not_matter() {
    let place = place().await;
    let mut unit = started(&place.store, &id(1)).await;
    effect(&mut *unit, 1).await;
    ignored(&mut *unit, "insert into effects (id) values (2), (1)").await;
    let mut extensions = Extensions::new();
    unit.share(&mut extensions);
    let mut transaction = RequestTransaction::<Sqlite>::take(&extensions).unwrap();
    let connection: &mut SqliteConnection = &mut transaction;
    let mut savepoint = connection.begin().await.unwrap();
    insert_effect(&mut savepoint, 3).await;
    savepoint.rollback().await.unwrap();
    let mut savepoint = connection.begin().await.unwrap();
    insert_effect(&mut savepoint, 4).await;
    savepoint.commit().await.unwrap();
    drop(transaction);
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert_eq!(effects(&place.pool).await, [1, 4]);
}

/// A deferred constraint is only checked by COMMIT.
#[tokio::test]
async fn a_commit_that_fails_leaves_nothing() {
    let place = place().await;
    sqlx::raw_sql(
        "create table reference (
             to_none integer references effects deferrable initially deferred
         )",
    )
    .execute(&place.pool)
    .await
    .unwrap();
    let mut unit = started(&place.store, &id(1)).await;
    effect(&mut *unit, 1).await;
    ignored(&mut *unit, "insert into reference values (7)").await;
    let error = unit.commit(&completion("done")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error:?}");
    assert_eq!(answer(&place.store, &id(1)).await, None);
    started(&place.store, &id(1)).await;
    assert_eq!(effects(&place.pool).await, [0; 0]);
}
