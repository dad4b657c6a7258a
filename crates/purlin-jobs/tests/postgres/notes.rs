//! Steps whose effect and record commit together.

use std::time::Duration;

use bytes::Bytes;
use purlin_jobs::store::{
    JobAdmin as _, Note, NoteKind, NoteStore as _, Noted, Outcome, Settled, Signalled, State,
};
use purlin_jobs::{
    Backoff, Emptied, Job, JobContext, JobError, JobStore as _, Jobs, PostgresStore,
    TransactionalJobStore as _, Worker, handler_fn,
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};

use crate::harness::{Db, HOUR, MINUTE, claim, done, job, leased, settlement, worker};

#[derive(Serialize, Deserialize)]
struct Charge;

impl Job for Charge {
    const KIND: &'static str = "charge";
}

/// Each attempt but the last is given up somewhere else.
async fn charge(store: PostgresStore, pool: PgPool, context: JobContext) -> Result<(), JobError> {
    let attempt = context.info().attempt;
    let mut work = pool.begin().await?;
    let take = async |work: &mut PgConnection| {
        let charged = sqlx::query_scalar("insert into charges values (default) returning number");
        Ok::<i32, JobError>(charged.fetch_one(work).await?)
    };
    let step = context.step_in(&store, &mut *work, "charge", take);
    let number = step.await?;
    if attempt == 1 {
        return Err(JobError::retry("before the commit"));
    }
    work.commit().await?;
    if attempt == 2 {
        return Err(JobError::retry("after the commit"));
    }
    context.keep_result(&number, HOUR)?;
    let mut work = pool.begin().await?;
    let settled = context.complete_in(&store, &mut *work).await?;
    assert_eq!(settled, Settled::Applied);
    Ok(work.commit().await?)
}

/// On a pool of one connection, which the handler holds.
#[tokio::test]
async fn the_effect_of_a_step_is_there_once() {
    let Some(db) = Db::with_connections(1).await else {
        return;
    };
    let sql = "create table charges (number serial)";
    sqlx::raw_sql(sql).execute(&db.pool).await.unwrap();
    let store = PostgresStore::new(db.pool.clone());
    let jobs = Jobs::new(store.clone());
    let id = jobs.enqueue(Charge).await.unwrap().id();
    let (inside, pool) = (store.clone(), db.pool.clone());
    let handler = move |_: Charge, context| charge(inside.clone(), pool.clone(), context);
    for _ in 0..3 {
        let worker = Worker::new(store.clone())
            .with_backoff(Backoff::from_fn(|_| Duration::ZERO))
            .register(handler_fn(handler.clone()));
        let emptied = worker.run_until_empty(MINUTE).await.unwrap();
        assert_eq!(emptied, Emptied::Empty);
    }
    let charges: Vec<i32> = sqlx::query_scalar("select number from charges")
        .fetch_all(&db.pool)
        .await
        .unwrap();
    // The first number is that of the charge that was rolled back.
    assert_eq!(charges, [2]);
    assert_eq!(jobs.result::<i32>(id).await.unwrap(), Some(2));
    assert_eq!(store.recall(id).await.unwrap(), None);
}

/// Those of the same lease are settled meanwhile.
#[tokio::test]
async fn a_step_in_a_transaction_holds_up_no_other_job() {
    let Some(db) = Db::create().await else {
        return;
    };
    let store = &db.store;
    let own = worker(store).await;
    store.enqueue(&[job(), job()]).await.unwrap();
    let (lease, claimed) = claim(store, own, 2).await;
    let ids: Vec<_> = claimed.iter().map(|job| job.id).collect();
    let step = Note {
        kind: NoteKind::Step,
        name: "charge".to_owned(),
        value: None,
        due_in: None,
    };
    let mut work = db.pool.begin().await.unwrap();
    let noted = store.note_in(&mut work, lease, ids[0], &step).await;
    assert_eq!(noted.unwrap(), Noted::Kept);
    let settled = store.settle(lease, &done([ids[1]])).await.unwrap();
    assert_eq!(settled, [Settled::Applied]);
    work.commit().await.unwrap();
    let settled = store.settle(lease, &done([ids[0]])).await.unwrap();
    assert_eq!(settled, [Settled::Applied]);
}

/// As by a promotion whose connection is cut before it commits.
#[tokio::test]
async fn a_signal_outlasts_whoever_moves_the_job_and_gives_up() {
    let Some(db) = Db::create().await else {
        return;
    };
    let store = &db.store;
    let (lease, id) = leased(store, job()).await;
    let wait = Note {
        kind: NoteKind::Wait,
        name: "approved".to_owned(),
        value: None,
        due_in: Some(HOUR),
    };
    store.note(lease, id, &wait).await.unwrap();
    let (up_to, signals) = (HOUR, 0);
    let parked = settlement(id, Outcome::Await { up_to, signals });
    store.settle(lease, &parked).await.unwrap();

    let mut other = db.pool.begin().await.unwrap();
    let moved = sqlx::query("delete from purlin_jobs_scheduled");
    assert_eq!(moved.execute(&mut *other).await.unwrap().rows_affected(), 1);
    let inside = store.clone();
    let signal = async move { inside.signal(id, "approved", &Bytes::new()).await };
    let signal = tokio::spawn(signal);
    while store.recall(id).await.unwrap().unwrap().signals == 0 {
        tokio::task::yield_now().await;
    }
    other.rollback().await.unwrap();
    assert_eq!(signal.await.unwrap().unwrap(), Signalled::Sent);
    let awake = store.get(id).await.unwrap().unwrap();
    assert_eq!(awake.state, State::Ready);
}
