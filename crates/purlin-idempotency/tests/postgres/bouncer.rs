//! Through PgBouncer in transaction mode, with two sessions for everybody.

use purlin_idempotency::store::{Begun, Claim, Claimed, Fenced, Settled, TransactionalStore as _};
use purlin_idempotency::{IdempotencyStore as _, Inbox, PostgresStore, Received};
use purlin_store::postgres::{Pooling, PostgresConfig};
use purlin_testkit::{PgBouncer, PostgresServer};
use sqlx::PgPool;

use crate::harness::{MINUTE, answer, completion, id, lease, shared};

struct Bounced {
    store: PostgresStore,
    pool: PgPool,
    _bouncer: PgBouncer,
    _server: PostgresServer,
}

async fn bounced() -> Option<Bounced> {
    let server = PostgresServer::start()?;
    let bouncer = PgBouncer::start(&server)?;
    let pool = PostgresConfig::new(&bouncer.url())
        .unwrap()
        .with_pooling(Pooling::Transaction)
        .with_max_connections(20)
        .with_acquire_timeout(MINUTE)
        .connect()
        .await
        .unwrap();
    let store = PostgresStore::new(pool.clone()).with_pooling(Pooling::Transaction);
    store.migrate().await.unwrap();
    Some(Bounced {
        store,
        pool,
        _bouncer: bouncer,
        _server: server,
    })
}

/// More clients than sessions, so that each call meets another session than the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_works_whatever_session_it_meets() {
    let Some(test) = bounced().await else {
        return;
    };
    let tasks: Vec<_> = (0..12)
        .map(|client| {
            let (store, pool) = (test.store.clone(), test.pool.clone());
            tokio::spawn(async move {
                for round in 0..10 {
                    let key = |what: &str| id(format!("{what}-{client}-{round}"));
                    let done = completion("done");
                    let first = lease(&store, key("lease")).await;
                    assert_eq!(store.extend(&first, MINUTE).await.unwrap(), Fenced::Applied);
                    assert_eq!(
                        store.complete(&first, &done).await.unwrap(),
                        Fenced::Applied
                    );
                    let again = store.claim(&Claim::new(first.id, MINUTE)).await.unwrap();
                    assert!(matches!(again, Claimed::Existing(_)));

                    let second = lease(&store, key("joined")).await;
                    // A handler's own statements through such a pooler are not named either.
                    let mut transaction = pool.begin().await.unwrap();
                    let fenced = store.complete_in(&mut transaction, &second, &done).await;
                    assert_eq!(fenced.unwrap(), Fenced::Applied);
                    let inbox = Inbox::new("mail");
                    let message = second.id.as_bytes();
                    for expected in [Received::First, Received::Duplicate] {
                        let received = store.receive_in(&mut transaction, &inbox, message).await;
                        assert_eq!(received.unwrap(), expected);
                    }
                    transaction.commit().await.unwrap();

                    let unit = key("unit");
                    let Begun::Started(mut begun) = store.begin(&unit).await.unwrap() else {
                        panic!("nobody else is there");
                    };
                    drop(shared(&mut *begun));
                    let settled = begun.commit(&done).await.unwrap();
                    assert_eq!(settled, Settled::Applied);
                    assert_eq!(answer(&store, &unit).await, Some("done".into()));
                    let refused = crate::harness::started(&store, &key("refused")).await;
                    assert_eq!(refused.refuse(&done).await.unwrap(), Settled::Applied);
                    assert_eq!(store.purge_expired(10).await.unwrap(), 0);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(test.store.erase_scope(&id(1).scope()).await.unwrap(), 480);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_claims_one_wins() {
    let Some(test) = bounced().await else {
        return;
    };
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let store = test.store.clone();
            tokio::spawn(async move {
                let claimed = store.claim(&Claim::new(id(1), MINUTE)).await.unwrap();
                u32::from(matches!(claimed, Claimed::Acquired(_)))
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += task.await.unwrap();
    }
    assert_eq!(won, 1);
}

/// One of the two sessions is the handler's.
#[tokio::test]
async fn duplicates_of_a_running_unit_of_work_are_told_at_once() {
    let Some(test) = bounced().await else {
        return;
    };
    let id = id(1);
    let mut unit = crate::harness::started(&test.store, &id).await;
    drop(shared(&mut *unit));
    for _ in 0..20 {
        assert!(matches!(test.store.begin(&id).await.unwrap(), Begun::Busy));
    }
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert!(matches!(
        test.store.begin(&id).await.unwrap(),
        Begun::Existing(_)
    ));
}
