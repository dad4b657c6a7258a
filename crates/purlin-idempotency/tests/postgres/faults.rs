//! Sessions that end, and answers that do not come.

use purlin_idempotency::store::{Begun, Settled, TransactionalStore as _};
use purlin_idempotency::{IdempotencyStore as _, PostgresStore};
use purlin_store::StoreErrorKind;
use purlin_testkit::{FaultProxy, PostgresServer};

use crate::harness::{
    Db, MINUTE, answer, completion, effects, id, lease, pool, shared, started, worked,
};

#[tokio::test]
async fn a_session_that_is_terminated_frees_its_key() {
    let Some(db) = Db::create().await else {
        return;
    };
    let id = id(1);
    let mut unit = worked(&db.store, &id).await;
    let session: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut *shared(&mut *unit))
        .await
        .unwrap();
    assert!(matches!(db.store.begin(&id).await.unwrap(), Begun::Busy));
    // Waits until it has ended.
    let ended: bool = sqlx::query_scalar("select pg_terminate_backend($1, 60000)")
        .bind(session)
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert!(ended);
    let next = worked(&db.store, &id).await;
    let error = unit.commit(&completion("dead")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    let settled = next.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    assert_eq!(db.effects(&id).await, 1);
    assert_eq!(answer(&db.store, &id).await, Some("done".into()));
}

/// The connection is cut in the answer to the record, or in that to `COMMIT`, which was executed.
#[tokio::test]
async fn whatever_answer_is_lost_work_and_record_go_together() {
    let Some(db) = Db::create().await else {
        return;
    };
    let url = db.database.url();
    let proxy = FaultProxy::before(&url).await;
    for (reply, committed) in [(1, false), (2, true)] {
        for refuse in [false, true] {
            let pool = pool(&proxy.url(&url), 1).await;
            let store = PostgresStore::new(pool).with_clock(db.clock.clone());
            let id = id(format!("{reply}-{refuse}"));
            let unit = worked(&store, &id).await;
            // To prepare a statement is a reply of its own; refusing begins with a rollback.
            proxy.cut_in_reply(reply + 1 + usize::from(refuse));
            let error = if refuse {
                unit.refuse(&completion("no")).await.unwrap_err()
            } else {
                unit.commit(&completion("done")).await.unwrap_err()
            };
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
            // The session has noticed only when its lock is gone.
            loop {
                match db.store.begin(&id).await.unwrap() {
                    Begun::Busy => {}
                    Begun::Existing(_) => break assert!(committed),
                    Begun::Started(_) => break assert!(!committed),
                }
            }
            assert_eq!(db.effects(&id).await, i64::from(committed && !refuse));
        }
    }
}

/// The same for a claim: the same nonce asks again and is given the lease that it has.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_asked_again() {
    let Some(db) = Db::create().await else {
        return;
    };
    let url = db.database.url();
    let proxy = FaultProxy::before(&url).await;
    let pool = pool(&proxy.url(&url), 1).await;
    let store = PostgresStore::new(pool.clone()).with_clock(db.clock.clone());
    lease(&store, id("prepared")).await;
    let claim = purlin_idempotency::store::Claim::new(id(1), MINUTE);
    while pool.num_idle() == 0 {
        tokio::task::yield_now().await;
    }
    // The first reply is that to the pool, which looks whether the connection is alive.
    proxy.cut_in_reply(2);
    let error = store.claim(&claim).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    assert!(db.store.get(&claim.id).await.unwrap().is_some());
    let lease = crate::harness::acquired(store.claim(&claim).await.unwrap());
    assert_eq!((lease.attempt, lease.nonce), (1, claim.nonce));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let Some(db) = Db::create().await else {
        return;
    };
    let url = db.database.url();
    let proxy = FaultProxy::before(&url).await;
    let limit = std::time::Duration::from_millis(50);
    let store = PostgresStore::new(pool(&proxy.url(&url), 1).await).with_timeout(limit);
    proxy.swallow();
    let error = store.get(&id(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout);
    let error = store.begin(&id(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout);
    assert!(
        error
            .to_string()
            .starts_with("postgres: begin: no answer in time")
    );
}

/// As by kill -9: what was committed is there afterwards, and nothing else.
#[tokio::test]
async fn a_server_that_is_killed() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let pool = pool(&server.url(), 2).await;
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.unwrap();
    sqlx::raw_sql("create table effects (id bytea not null)")
        .execute(&pool)
        .await
        .unwrap();
    let unit = worked(&store, &id(1)).await;
    let settled = unit.commit(&completion("done")).await.unwrap();
    assert_eq!(settled, Settled::Applied);
    let unit = worked(&store, &id(2)).await;

    server.kill();
    let error = unit.commit(&completion("done")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    let soon = store.with_timeout(std::time::Duration::from_millis(200));
    let error = soon.get(&id(1)).await.unwrap_err();
    assert!(
        matches!(
            error.kind(),
            StoreErrorKind::Unavailable | StoreErrorKind::Timeout
        ),
        "{error:?}"
    );

    server.restart();
    let pool = crate::harness::pool(&server.url(), 2).await;
    let store = PostgresStore::new(pool.clone());
    assert_eq!(answer(&store, &id(1)).await, Some("done".into()));
    assert_eq!(effects(&pool, &id(1)).await, 1);
    assert_eq!(effects(&pool, &id(2)).await, 0);
    started(&store, &id(2)).await.roll_back().await.unwrap();
}
