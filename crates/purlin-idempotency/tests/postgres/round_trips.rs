//! What each call costs on the wire, once its statement is prepared.

use std::time::Duration;

use purlin_idempotency::store::TransactionalStore as _;
use purlin_idempotency::store::{Begun, Claim, Claimed, Fenced, Settled, State};
use purlin_idempotency::{IdempotencyStore as _, Inbox, LeaseLost, PostgresStore, RecordId};
use purlin_store::postgres::Pooling;
use sqlx::PgPool;

use crate::harness::{
    DAY, Db, MINUTE, completion, id, lease, pool, shared, started, worked, write_effect,
};
use crate::wire::{Said, Wire};

/// One connection, listened to.
struct Tapped {
    db: Db,
    wire: Wire,
    pool: PgPool,
    store: PostgresStore,
    ids: u32,
}

impl Tapped {
    async fn create(pooling: Pooling) -> Option<Self> {
        let db = Db::create().await?;
        let url = db.database.url();
        let upstream = url.split(['@', '/']).nth(3)?.to_owned();
        let wire = Wire::before(&upstream).await;
        let pool = pool(&wire.url(&url), 1).await;
        let store = PostgresStore::new(pool.clone())
            .with_clock(db.clock.clone())
            .with_pooling(pooling);
        Some(Self {
            db,
            wire,
            pool,
            store,
            ids: 0,
        })
    }

    fn id(&mut self) -> RecordId {
        self.ids += 1;
        id(self.ids)
    }

    /// What was said on the connection, after it has come back to the pool.
    async fn said(&self) -> Said {
        drop(self.pool.acquire().await.unwrap());
        self.wire.take()
    }

    /// Statements and round trips of the second of two calls that are alike, and what else was said.
    async fn cost(
        &mut self,
        call: impl AsyncFn(&PostgresStore, RecordId),
    ) -> (usize, usize, String) {
        let mut cost = (0, 0, String::new());
        for _ in 0..2 {
            let id = self.id();
            self.said().await;
            call(&self.store, id).await;
            let said = self.said().await;
            let queries = said.queries.join(", ").to_lowercase();
            cost = (said.statements, said.round_trips, queries);
        }
        cost
    }
}

fn autocommit() -> (usize, usize, String) {
    (1, 1, String::new())
}

#[tokio::test]
async fn of_the_lease_guarantee() {
    let Some(mut tapped) = Tapped::create(Pooling::Session).await else {
        return;
    };
    // Calls before the one that is measured go to a store with connections of its own.
    let (other, clock) = (tapped.db.store.clone(), tapped.db.clock.clone());

    let first = tapped
        .cost(async |store, id| {
            lease(store, id).await;
        })
        .await;
    assert_eq!(first, autocommit(), "the claim of a new key");

    let replay = tapped
        .cost(async |store, id| {
            let lease = lease(&other, id).await;
            let _ = other.complete(&lease, &completion("done")).await.unwrap();
            let claimed = store.claim(&Claim::new(id, MINUTE)).await.unwrap();
            let state = crate::harness::existing(claimed).state;
            assert!(matches!(state, State::Completed { .. }));
        })
        .await;
    assert_eq!(replay, autocommit(), "a replay");

    let in_flight = tapped
        .cost(async |store, id| {
            lease(&other, id).await;
            let claimed = store.claim(&Claim::new(id, MINUTE)).await.unwrap();
            let state = crate::harness::existing(claimed).state;
            assert!(matches!(state, State::InFlight { .. }));
        })
        .await;
    assert_eq!(in_flight, autocommit(), "a claim of what is in flight");

    let take_over = tapped
        .cost(async |store, id| {
            lease(&other, id).await;
            clock.advance(MINUTE);
            let claim = Claim::new(id, MINUTE).with_lease_lost(LeaseLost::Reexecute);
            let lease = crate::harness::acquired(store.claim(&claim).await.unwrap());
            assert_eq!(lease.attempt, 2);
        })
        .await;
    assert_eq!(take_over, (2, 2, String::new()), "a takeover");

    let elsewhere = tapped.db.pool.clone();
    let locked = tapped
        .cost(async |store, id| {
            let late = lease(&other, id).await;
            clock.advance(MINUTE);
            let mut transaction = elsewhere.begin().await.unwrap();
            let done = completion("done");
            let fenced = other.complete_in(&mut transaction, &late, &done).await;
            assert_eq!(fenced.unwrap(), Fenced::Applied);
            let claim = Claim::new(id, MINUTE).with_lease_lost(LeaseLost::Reexecute);
            let state = crate::harness::existing(store.claim(&claim).await.unwrap()).state;
            assert!(matches!(state, State::InFlight { .. }));
        })
        .await;
    assert_eq!(locked, (3, 3, String::new()), "a takeover of a locked one");

    for (name, expected) in [
        ("extend", 1),
        ("complete", 1),
        ("complete what is gone", 2),
        ("complete what is lost", 2),
        ("release", 1),
        ("abandon", 1),
        ("get", 1),
        ("remove", 1),
        ("erase", 1),
        ("purge", 1),
    ] {
        let cost = tapped
            .cost(async |store, id| {
                let lease = lease(&other, id).await;
                let done = completion("done");
                let applied = |fenced| assert_eq!(fenced, Fenced::Applied);
                match name {
                    "extend" => applied(store.extend(&lease, MINUTE).await.unwrap()),
                    "complete" => applied(store.complete(&lease, &done).await.unwrap()),
                    "complete what is gone" => {
                        assert!(other.remove(&id).await.unwrap());
                        applied(store.complete(&lease, &done).await.unwrap());
                    }
                    "complete what is lost" => {
                        assert!(other.remove(&id).await.unwrap());
                        crate::harness::lease(&other, id).await;
                        let lost = store.complete(&lease, &done).await.unwrap();
                        assert_eq!(lost, Fenced::Lost);
                    }
                    "release" => applied(store.release(&lease).await.unwrap()),
                    "abandon" => applied(store.abandon(&lease).await.unwrap()),
                    "get" => assert!(store.get(&id).await.unwrap().is_some()),
                    "remove" => assert!(store.remove(&id).await.unwrap()),
                    "erase" => {
                        applied(other.complete(&lease, &done).await.unwrap());
                        assert!(store.erase_scope(&id.scope()).await.unwrap() > 0);
                    }
                    _ => {
                        clock.advance(DAY * 365);
                        assert!(store.purge_expired(10).await.unwrap() > 0);
                    }
                }
            })
            .await;
        assert_eq!(cost, (expected, expected, String::new()), "{name}");
    }
}

/// What the handler's own transaction costs anyway, and what is added to it.
#[tokio::test]
async fn of_the_transactional_guarantee() {
    let Some(mut tapped) = Tapped::create(Pooling::Session).await else {
        return;
    };
    let (other, plain) = (tapped.db.store.clone(), tapped.pool.clone());

    let baseline = tapped
        .cost(async |_, id| {
            let mut transaction = plain.begin().await.unwrap();
            write_effect(&mut transaction, &id).await;
            transaction.commit().await.unwrap();
        })
        .await;
    assert_eq!(baseline, (1, 3, "begin, commit".to_owned()));

    let first = tapped
        .cost(async |store, id| {
            let unit = worked(store, &id).await;
            let settled = unit.commit(&completion("done")).await.unwrap();
            assert_eq!(settled, Settled::Applied);
        })
        .await;
    assert_eq!(first, (3, 5, "begin, commit".to_owned()), "a first request");

    let replay = tapped
        .cost(async |store, id| {
            let unit = worked(&other, &id).await;
            let _ = unit.commit(&completion("done")).await.unwrap();
            let begun = store.begin(&id).await.unwrap();
            assert!(matches!(begun, Begun::Existing(_)));
        })
        .await;
    assert_eq!(replay, (1, 3, "begin, rollback".to_owned()), "a replay");

    let busy = tapped
        .cost(async |store, id| {
            let unit = started(&other, &id).await;
            assert!(matches!(store.begin(&id).await.unwrap(), Begun::Busy));
            unit.roll_back().await.unwrap();
        })
        .await;
    assert_eq!(busy, (1, 3, "begin, rollback".to_owned()), "a duplicate");

    let refused = tapped
        .cost(async |store, id| {
            let unit = worked(store, &id).await;
            let settled = unit.refuse(&completion("no")).await.unwrap();
            assert_eq!(settled, Settled::Applied);
        })
        .await;
    let queries = "begin, rollback and chain, commit".to_owned();
    assert_eq!(refused, (3, 6, queries), "a refusal that is kept");

    let forgotten = tapped
        .cost(async |store, id| {
            let mut unit = started(store, &id).await;
            drop(shared(&mut *unit));
            unit.roll_back().await.unwrap();
        })
        .await;
    assert_eq!(forgotten, (1, 3, "begin, rollback".to_owned()), "an error");
}

#[tokio::test]
async fn of_what_joins_a_transaction() {
    let Some(mut tapped) = Tapped::create(Pooling::Session).await else {
        return;
    };
    let (other, plain) = (tapped.db.store.clone(), tapped.pool.clone());
    let completed = tapped
        .cost(async |store, id| {
            let lease = lease(&other, id).await;
            let mut transaction = plain.begin().await.unwrap();
            let done = completion("done");
            let fenced = store.complete_in(&mut transaction, &lease, &done).await;
            assert_eq!(fenced.unwrap(), Fenced::Applied);
            transaction.commit().await.unwrap();
        })
        .await;
    assert_eq!(completed, (1, 3, "begin, commit".to_owned()));

    let inbox = Inbox::new("mail");
    let received = tapped
        .cost(async |store, id| {
            let mut transaction = plain.begin().await.unwrap();
            let message = id.as_bytes();
            let _ = store
                .receive_in(&mut transaction, &inbox, message)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
        })
        .await;
    assert_eq!(received, (1, 3, "begin, commit".to_owned()));
}

/// Nothing is left in a session: one transaction for each statement, which is not named and so is
/// prepared each time, a round trip more.
#[tokio::test]
async fn behind_a_pooler_of_transactions() {
    let Some(mut tapped) = Tapped::create(Pooling::Transaction).await else {
        return;
    };
    let plain = tapped.pool.clone();
    let claim = tapped
        .cost(async |store, id| {
            let _: Claimed = store.claim(&Claim::new(id, MINUTE)).await.unwrap();
        })
        .await;
    assert_eq!(claim, (1, 4, "begin, commit".to_owned()));

    let unit = tapped
        .cost(async |store, id| {
            let mut unit = started(store, &id).await;
            drop(shared(&mut *unit));
            let settled = unit.commit(&completion("done")).await.unwrap();
            assert_eq!(settled, Settled::Applied);
        })
        .await;
    assert_eq!(unit, (2, 6, "begin, commit".to_owned()));

    let inbox = Inbox::new("mail").with_retention(Duration::MAX);
    let received = tapped
        .cost(async |store, id| {
            let mut transaction = plain.begin().await.unwrap();
            let message = id.as_bytes();
            let _ = store
                .receive_in(&mut transaction, &inbox, message)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
        })
        .await;
    assert_eq!(received, (1, 4, "begin, commit".to_owned()));
}

/// What only reads is given no transaction id, and so leaves no dead row and nothing to flush.
#[tokio::test]
async fn a_replay_writes_nothing() {
    let Some(db) = Db::with_connections(1).await else {
        return;
    };
    let id = id(1);
    let lease = lease(&db.store, id).await;
    let in_flight = Claim::new(id, MINUTE);
    let next = async || -> String {
        sqlx::query_scalar("select pg_snapshot_xmax(pg_current_snapshot())::text")
            .fetch_one(&db.pool)
            .await
            .unwrap()
    };
    // Another test may write meanwhile, in this server: some of the rounds are undisturbed.
    let mut undisturbed = false;
    for _ in 0..1_000 {
        let before = next().await;
        let _ = db.store.claim(&in_flight).await.unwrap();
        undisturbed |= before == next().await;
    }
    assert!(undisturbed);
    let _ = db
        .store
        .complete(&lease, &completion("done"))
        .await
        .unwrap();
    let row = async || -> (String, String, String) {
        sqlx::query_as("select xmin::text, xmax::text, ctid::text from purlin_idempotency_records")
            .fetch_one(&db.pool)
            .await
            .unwrap()
    };
    let before = row().await;
    for _ in 0..10 {
        let _ = db.store.claim(&in_flight).await.unwrap();
        assert!(matches!(
            db.store.begin(&id).await.unwrap(),
            Begun::Existing(_)
        ));
    }
    assert_eq!(row().await, before);
}
