//! Futures that are dropped at every await, as those of a client that hangs up.

use std::cell::Cell;

use purlin_idempotency::store::{Begun, Claim, Fenced, Lease, Nonce, State, UnitOfWork};
use purlin_idempotency::{
    IdempotencyStore as _, Inbox, Received, SqliteStore, TransactionalStore as _,
};
use purlin_store::sqlite::begin_immediate;
use purlin_store::testing::{Dropped, drop_at_every_await};
use purlin_testkit::TestFile;
use sqlx::SqlitePool;

use crate::harness::{
    HOUR, MINUTE, Place, acquire, completion, config, effect, effects, id, insert_effect, prepare,
    started,
};

/// A worker thread that answers at once leaves no place to be dropped at, so that one run may meet
/// few of them.
const PLACES: usize = 10;
const RUNS: usize = 100;

/// With one connection, which comes back to the pool when what was dropped on it has ended.
async fn place() -> Place {
    let file = TestFile::new();
    let pool = config(file.path()).with_max_connections(1).connect().await;
    prepare(file, pool.unwrap()).await
}

async fn record(pool: &SqlitePool) -> String {
    let record: Option<String> = sqlx::query_scalar(
        "select concat_ws(' ', attempt, hex(nonce), lease_until, expires_at, hex(answer))
         from purlin_idempotency",
    )
    .fetch_optional(pool)
    .await
    .unwrap();
    record.unwrap_or_default()
}

/// Drops `call` everywhere. Its state afterwards is one of those it has before it and after it when
/// it runs to its end.
async fn all_or_nothing<T>(
    place: &Place,
    set_up: impl AsyncFn(&SqliteStore, &Lease),
    call: impl AsyncFn(SqliteStore, Lease) -> T,
) {
    let lease = Lease {
        id: id(1),
        attempt: 1,
        nonce: Nonce::from_bytes(&[7; 16]).unwrap(),
    };
    let renew = async || {
        place.store.remove(&id(1)).await.unwrap();
        set_up(&place.store, &lease).await;
        record(&place.pool).await
    };
    let before = renew().await;
    call(place.store.clone(), lease).await;
    let after = record(&place.pool).await;
    renew().await;
    let (mut dropped, mut runs) = (0, 0);
    while dropped < PLACES {
        assert!(runs < RUNS, "only {dropped} places in {runs} runs");
        runs += 1;
        dropped += drop_at_every_await(
            || call(place.store.clone(), lease),
            async |at| {
                let found = record(&place.pool).await;
                match at {
                    Dropped::Completed => assert_eq!(found, after),
                    _ => assert!(found == before || found == after, "{found}"),
                }
                renew().await;
            },
        )
        .await;
    }
}

fn claim_of(lease: &Lease) -> Claim {
    let mut claim = Claim::new(lease.id, MINUTE);
    claim.nonce = lease.nonce;
    claim
}

#[tokio::test]
async fn calls_on_leases() {
    let place = place().await;
    let none = async |_: &SqliteStore, _: &Lease| {};
    let claimed = async |store: &SqliteStore, lease: &Lease| {
        store.claim(&claim_of(lease)).await.unwrap();
    };
    let completed = async |store: &SqliteStore, lease: &Lease| {
        let _ = store.complete(lease, &completion("done")).await.unwrap();
    };
    all_or_nothing(&place, none, async |store, lease| {
        store.claim(&claim_of(&lease)).await.unwrap();
    })
    .await;
    all_or_nothing(&place, claimed, async |store, lease| {
        store.extend(&lease, HOUR).await.unwrap()
    })
    .await;
    all_or_nothing(&place, claimed, async |store, lease| {
        store.complete(&lease, &completion("done")).await.unwrap()
    })
    .await;
    all_or_nothing(&place, claimed, async |store, lease| {
        store.release(&lease).await.unwrap()
    })
    .await;
    all_or_nothing(&place, claimed, async |store, lease| {
        store.abandon(&lease).await.unwrap()
    })
    .await;
    all_or_nothing(&place, completed, async |store, lease| {
        store.get(&lease.id).await.unwrap()
    })
    .await;
    all_or_nothing(&place, completed, async |store, lease| {
        store.remove(&lease.id).await.unwrap()
    })
    .await;
    all_or_nothing(&place, completed, async |store, lease| {
        store.erase_scope(&lease.id.scope()).await.unwrap()
    })
    .await;
    let expired = async |store: &SqliteStore, lease: &Lease| {
        completed(store, lease).await;
        let long_ago = "update purlin_idempotency set expires_at = 0";
        sqlx::query(long_ago).execute(&place.pool).await.unwrap();
    };
    all_or_nothing(&place, expired, async |store, _| {
        store.purge_expired(10).await.unwrap()
    })
    .await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Refuse,
    RollBack,
}

/// From `begin` to the end, dropped anywhere: effect and record are both there or neither is, and
/// the id can be begun again at once.
#[tokio::test]
async fn units_of_work() {
    let place = place().await;
    for end in [End::Commit, End::Refuse, End::RollBack] {
        let (mut dropped, mut runs) = (0, 0);
        while dropped < 3 * PLACES {
            assert!(runs < RUNS, "only {dropped} places in {runs} runs");
            runs += 1;
            dropped += drop_at_every_await(
                async || {
                    let mut unit = started(&place.store, &id(1)).await;
                    effect(&mut *unit, 1).await;
                    finish(unit, end).await;
                },
                async |at| {
                    // The only connection commits what is no unit of work.
                    acquire(&place.store, id(2)).await;
                    place.store.remove(&id(2)).await.unwrap();
                    let done = match place.store.begin(&id(1)).await.unwrap() {
                        Begun::Started(unit) => {
                            unit.roll_back().await.unwrap();
                            false
                        }
                        Begun::Existing(_) => true,
                        Begun::Busy => panic!("{at:?}: the place was not given back"),
                    };
                    let expected: &[i64] = if done && end == End::Commit {
                        &[1]
                    } else {
                        &[]
                    };
                    assert_eq!(effects(&place.pool).await, expected, "{at:?}");
                    assert!(!done || end != End::RollBack);
                    if at == Dropped::Completed {
                        assert_eq!(done, end != End::RollBack);
                    }
                    place.store.remove(&id(1)).await.unwrap();
                    sqlx::query("delete from effects")
                        .execute(&place.pool)
                        .await
                        .unwrap();
                },
            )
            .await;
        }
    }
    // Nothing is left in the way of anybody.
    acquire(&place.store, id(2)).await;
}

/// A completion and a message in the caller's own transaction.
#[tokio::test]
async fn joined_work() {
    let place = place().await;
    let inbox = Inbox::new("mail");
    let (mut dropped, mut runs) = (0, 0);
    while dropped < 3 * PLACES {
        assert!(runs < RUNS, "only {dropped} places in {runs} runs");
        runs += 1;
        let lease = Cell::new(acquire(&place.store, id(1)).await);
        dropped += drop_at_every_await(
            async || {
                let store = &place.store;
                let mut work = begin_immediate(&place.pool).await.unwrap();
                insert_effect(&mut work, 1).await;
                let received = store.receive_in(&mut work, &inbox, b"1").await;
                assert_eq!(received.unwrap(), Received::First);
                let (lease, completion) = (lease.get(), completion("done"));
                let fenced = store.complete_in(&mut work, &lease, &completion).await;
                assert_eq!(fenced.unwrap(), Fenced::Applied);
                work.commit().await.unwrap();
            },
            async |at| {
                let store = &place.store;
                let record = store.get(&id(1)).await.unwrap().unwrap();
                let done = matches!(record.state, State::Completed { .. });
                let received = store.remove(&inbox.record_id(b"1")).await.unwrap();
                let effects = effects(&place.pool).await;
                assert_eq!(
                    (received, effects.len()),
                    (done, usize::from(done)),
                    "{at:?}"
                );
                assert!(done || at != Dropped::Completed);
                store.remove(&id(1)).await.unwrap();
                lease.set(acquire(store, id(1)).await);
                sqlx::query("delete from effects")
                    .execute(&place.pool)
                    .await
                    .unwrap();
            },
        )
        .await;
        place.store.remove(&id(1)).await.unwrap();
    }
}

async fn finish(unit: Box<dyn UnitOfWork>, end: End) {
    let _ = match end {
        End::Commit => unit.commit(&completion("done")).await.unwrap(),
        End::Refuse => unit.refuse(&completion("done")).await.unwrap(),
        End::RollBack => return unit.roll_back().await.unwrap(),
    };
}
