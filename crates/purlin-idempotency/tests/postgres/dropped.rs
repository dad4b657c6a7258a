//! Calls that are dropped at each of their awaits, as a server does when a client hangs up.

use std::cell::Cell;

use purlin_idempotency::store::{
    Begun, Claim, Claimed, Fenced, Lease, State, TransactionalStore as _,
};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost, PostgresStore, RecordId};
use purlin_store::postgres::Pooling;
use purlin_store::testing::{Dropped, drop_at_every_await};
use purlin_testkit::FaultProxy;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::harness::{Db, MINUTE, answer, completion, id, lease, shared, write_effect};

/// One connection through a proxy in this very runtime: each answer is a place to be dropped at, and
/// the next call on the connection comes after whatever the dropped one has left there.
struct Dropping {
    db: Db,
    pool: PgPool,
    store: PostgresStore,
    _proxy: FaultProxy,
    ids: Cell<u32>,
}

impl Dropping {
    async fn create(pooling: Pooling) -> Option<Self> {
        let db = Db::create().await?;
        let url = db.database.url();
        let proxy = FaultProxy::before(&url).await;
        // Not that of `PostgresConfig`, which cleans connections.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect(&proxy.url(&url))
            .await
            .unwrap();
        let store = PostgresStore::new(pool.clone())
            .with_clock(db.clock.clone())
            .with_pooling(pooling);
        Some(Self {
            db,
            pool,
            store,
            _proxy: proxy,
            ids: Cell::new(0),
        })
    }

    fn next(&self) -> RecordId {
        self.ids.set(self.ids.get() + 1);
        self.current()
    }

    fn current(&self) -> RecordId {
        id(self.ids.get())
    }

    /// Whether an application that shares the pool gets a connection on which its statement is
    /// committed at once.
    async fn assert_clean(&self) {
        let lost = RecordId::clone(&id("application"));
        let before = self.db.effects(&lost).await;
        sqlx::query("insert into effects values ($1)")
            .bind(lost.as_bytes().as_slice())
            .execute(&self.pool)
            .await
            .unwrap();
        assert_eq!(self.db.effects(&lost).await, before + 1);
    }
}

#[tokio::test]
async fn a_claim_is_there_or_not() {
    for pooling in [Pooling::Session, Pooling::Transaction] {
        let Some(test) = Dropping::create(pooling).await else {
            return;
        };
        let claims = Cell::new(None::<Claim>);
        let dropped = drop_at_every_await(
            || {
                let claim = Claim::new(test.next(), MINUTE);
                claims.set(Some(claim));
                let store = &test.store;
                async move { store.claim(&claim).await.unwrap() }
            },
            async |at| {
                test.assert_clean().await;
                let claim = claims.get().unwrap();
                let found = test.db.store.get(&claim.id).await.unwrap();
                match found.map(|record| record.state) {
                    None => assert_ne!(at, Dropped::Completed),
                    Some(state) => assert_eq!(state, State::InFlight { remaining: MINUTE }),
                }
                // Whose answer was lost asks once more.
                let again = test.db.store.claim(&claim).await.unwrap();
                assert!(matches!(again, Claimed::Acquired(Lease { attempt: 1, .. })));
            },
        )
        .await;
        assert!(dropped >= 4, "only {dropped} places");
    }
}

#[tokio::test]
async fn a_takeover_is_there_or_not() {
    let Some(test) = Dropping::create(Pooling::Session).await else {
        return;
    };
    let leases = Cell::new(None);
    let renew = async || {
        leases.set(Some(lease(&test.db.store, test.next()).await));
        test.db.clock.advance(MINUTE);
    };
    renew().await;
    let dropped = drop_at_every_await(
        || {
            let claim = Claim::new(test.current(), MINUTE).with_lease_lost(LeaseLost::Reexecute);
            let store = &test.store;
            async move { store.claim(&claim).await.unwrap() }
        },
        async |at| {
            test.assert_clean().await;
            let late: Lease = leases.get().unwrap();
            let found = test.db.store.get(&late.id).await.unwrap().unwrap();
            let done = test.db.store.complete(&late, &completion("late")).await;
            match (found.attempt, found.state) {
                (1, State::Lapsed) => {
                    assert_ne!(at, Dropped::Completed);
                    assert_eq!(done.unwrap(), Fenced::Applied);
                }
                (2, State::InFlight { .. }) => assert_eq!(done.unwrap(), Fenced::Lost),
                other => panic!("{other:?}"),
            }
            renew().await;
        },
    )
    .await;
    assert!(dropped >= 6, "only {dropped} places");
}

#[tokio::test]
async fn a_completion_is_there_or_not() {
    let Some(test) = Dropping::create(Pooling::Session).await else {
        return;
    };
    let leases = Cell::new(lease(&test.db.store, test.next()).await);
    let dropped = drop_at_every_await(
        || {
            let (store, lease) = (&test.store, leases.get());
            async move { store.complete(&lease, &completion("done")).await.unwrap() }
        },
        async |at| {
            test.assert_clean().await;
            let current = leases.get();
            let found = test.db.store.get(&current.id).await.unwrap().unwrap();
            match found.state {
                State::InFlight { .. } => assert_ne!(at, Dropped::Completed),
                State::Completed { answer, .. } => assert_eq!(answer, "done"),
                State::Lapsed => panic!("{found:?}"),
            }
            let again = test.db.store.complete(&current, &completion("done")).await;
            assert_eq!(again.unwrap(), Fenced::Applied);
            leases.set(lease(&test.db.store, test.next()).await);
        },
    )
    .await;
    assert!(dropped >= 4, "only {dropped} places");
}

#[tokio::test]
async fn a_completion_within_a_transaction_goes_with_it() {
    let Some(test) = Dropping::create(Pooling::Session).await else {
        return;
    };
    let leases = Cell::new(lease(&test.db.store, test.next()).await);
    let dropped = drop_at_every_await(
        || {
            let (store, pool, lease) = (&test.store, &test.pool, leases.get());
            async move {
                let mut transaction = pool.begin().await.unwrap();
                write_effect(&mut transaction, &lease.id).await;
                let done = completion("done");
                let fenced = store.complete_in(&mut transaction, &lease, &done).await;
                assert_eq!(fenced.unwrap(), Fenced::Applied);
                transaction.commit().await.unwrap();
            }
        },
        async |at| {
            drop(test.pool.acquire().await.unwrap());
            let current = leases.get();
            let found = test.db.store.get(&current.id).await.unwrap().unwrap();
            let effects = test.db.effects(&current.id).await;
            match found.state {
                State::InFlight { .. } => {
                    assert_ne!(at, Dropped::Completed);
                    assert_eq!(effects, 0);
                }
                State::Completed { .. } => assert_eq!(effects, 1),
                State::Lapsed => panic!("{found:?}"),
            }
            leases.set(lease(&test.db.store, test.next()).await);
        },
    )
    .await;
    assert!(dropped >= 8, "only {dropped} places");
}

#[tokio::test]
async fn a_unit_of_work_is_done_or_nothing_is() {
    for pooling in [Pooling::Session, Pooling::Transaction] {
        let Some(test) = Dropping::create(pooling).await else {
            return;
        };
        for refuse in [false, true] {
            let dropped = drop_at_every_await(
                || {
                    let (store, id) = (&test.store, test.next());
                    async move {
                        let Begun::Started(mut unit) = store.begin(&id).await.unwrap() else {
                            panic!("nobody else is there");
                        };
                        write_effect(&mut shared(&mut *unit), &id).await;
                        if refuse {
                            unit.refuse(&completion("no")).await.unwrap()
                        } else {
                            unit.commit(&completion("done")).await.unwrap()
                        }
                    }
                },
                async |at| {
                    test.assert_clean().await;
                    let id = test.current();
                    // On the same connection, so that the dropped one has let go.
                    match test.store.begin(&id).await.unwrap() {
                        Begun::Started(unit) => {
                            assert_ne!(at, Dropped::Completed);
                            unit.roll_back().await.unwrap();
                            assert_eq!(test.db.effects(&id).await, 0);
                        }
                        Begun::Existing(_) => {
                            assert_eq!(test.db.effects(&id).await, i64::from(!refuse));
                            assert!(answer(&test.db.store, &id).await.is_some());
                        }
                        Begun::Busy => panic!("the lock is left"),
                    }
                },
            )
            .await;
            assert!(dropped >= 10, "only {dropped} places");
        }
    }
}
